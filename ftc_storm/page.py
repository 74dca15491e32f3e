"""The report as one HTML file that needs nothing else: the verdict, the numbers, the plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from ftc_storm.report import Report
from ftc_storm.tables import headline, rows

__all__ = ["render_page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.passed { color: #0b6e4f } .failed { color: #9b2c2c }
table { border-collapse: collapse } td, th { border-bottom: 1px solid #ddd; padding: .3rem .8rem .3rem 0;
text-align: left; vertical-align: top } svg { width: 100%; height: auto } pre { white-space: pre-wrap }
"""


def render_page(report: Report, plots: Mapping[str, str]) -> str:
    """The page. `plots` are titles and SVG; without any, the page says how to get them."""
    verdict = "passed" if report.audit.passed else "failed"
    figures = "".join(f"<h2>{escape(title)}</h2>\n{svg}\n" for title, svg in plots.items())
    if not plots:
        figures = (
            "<p>No plots: matplotlib is not installed"
            " (<code>pip install -r benchmarks/requirements.txt</code>).</p>\n"
        )
    faults = "".join(f"<li>{escape(fault)}</li>" for fault in report.audit.faults)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>ftc storm</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>A storm of {_devices(report):,} devices</h1>\n"
        f'<p class="{verdict}"><strong>{escape(headline(report))}</strong></p>\n'
        + (f"<ul>{faults}</ul>\n" if faults else "")
        + _table(rows(report))
        + figures
        + "<h2>Plan</h2>\n"
        + _table((key, str(value)) for key, value in report.plan.items())
        + "<h2>Machine</h2>\n"
        + _table(report.machine.items())
        + "</body></html>\n"
    )


def _devices(report: Report) -> int:
    return sum(kind.devices for kind in report.kinds.values())


def _table(lines: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in lines)
    return f"<table>{body}</table>\n"
