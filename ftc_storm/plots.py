"""Plots of a storm. Needs matplotlib (benchmarks/requirements.txt), which nothing else here does."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ftc_storm.observation import SIMULATOR
from ftc_storm.report import Report, cpu_shares

__all__ = ["draw_picture", "draw_plots"]

_GREY, _GREEN, _ORANGE, _BLUE, _RED = "#777777", "#0b6e4f", "#c05621", "#2b6cb0", "#9b2c2c"
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "ftc", "font.size": 10}
_MIB = 2**20


def draw_plots(report: Report) -> dict[str, str]:
    """Title → SVG."""
    plots: dict[str, Callable[[Any, Report], None]] = {
        "Arrivals and onboarded devices": _progress,
        "Goodput": _goodput,
        "Latency by the second of onboarding": _latency,
        "Queue and associations": _queue,
        "CPU": _cpu,
        "Memory": _memory,
        "Handshakes, refusals, ClientHellos shed": _verdicts,
    }
    drawn = {}
    with mpl.rc_context(_STYLE):
        for title, plot in plots.items():
            figure = Figure(figsize=(9, 3), layout="constrained")
            axes = figure.subplots()
            plot(axes, report)
            _tidy(axes)
            out = StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
            drawn[title] = out.getvalue()[out.getvalue().index("<svg") :]
    return drawn


def draw_picture(report: Report, file: Path) -> None:
    """Arrivals, onboarded devices and the workers' CPU in one picture; `file` ends in .svg or .png."""
    with mpl.rc_context({**_STYLE, "font.size": 11}):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _progress(above, report)
        latency, last = report.latency, report.last_onboarded_s
        waits = (
            "" if latency is None else f" (wait: median {latency.p50:.1f} s, longest {latency.longest:.1f} s)"
        )
        total = sum(report.timeline.onboarded)
        workers = "one worker" if report.workers == 1 else f"{report.workers} workers"
        above.set_title(
            f"{total:,} devices onboarded after {last or 0.0:.1f} s{waits}, {workers}",
            loc="left",
            fontsize=10,
        )
        above.set_xlabel("")
        _cpu(below, report)
        for axes in (above, below):
            _tidy(axes)
        file.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, metadata=metadata)


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _seconds(report: Report) -> range:
    return range(1, len(report.timeline.arrivals) + 1)


def _progress(axes: Any, report: Report) -> None:
    line = report.timeline
    seconds = [0, *_seconds(report)]
    axes.step(seconds, [0, *accumulate(line.arrivals)], where="pre", color=_GREY, label="powered on")
    axes.plot(seconds, [0, *accumulate(line.bootstrapped)], color=_BLUE, label="bootstrapped")
    done = [0, *accumulate(line.onboarded)]
    axes.plot(seconds, done, color=_GREEN, linewidth=2, label="registered")
    axes.fill_between(seconds, done, color=_GREEN, alpha=0.12)
    axes.set_ylabel("devices")
    axes.set_xlabel("seconds since the first arrival")


def _goodput(axes: Any, report: Report) -> None:
    axes.step(_seconds(report), report.timeline.arrivals, color=_GREY, label="arrivals")
    axes.step(_seconds(report), report.timeline.onboarded, color=_GREEN, label="onboarded")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylabel("devices per second")
    axes.set_xlabel("seconds since the first arrival")


def _latency(axes: Any, report: Report) -> None:
    found = [
        (second, values)
        for second, values in zip(_seconds(report), report.timeline.latency, strict=True)
        if values is not None
    ]
    times = [second for second, _ in found]
    axes.plot(times, [values.longest for _, values in found], color=_RED, label="longest", linewidth=1)
    axes.plot(times, [values.p99 for _, values in found], color=_ORANGE, label="p99")
    axes.plot(times, [values.p50 for _, values in found], color=_BLUE, label="median")
    axes.set_ylabel("seconds")
    axes.set_xlabel("seconds since the first arrival")


def _queue(axes: Any, report: Report) -> None:
    times = [sample.at_s for sample in report.samples]
    axes.plot(
        times, [sample.queued_bytes / 1024 for sample in report.samples], color=_ORANGE, label="queue, KiB"
    )
    for server, color in (("bootstrap", _BLUE), ("lwm2m", _GREEN)):
        held = [sample.associations.get(server, 0.0) for sample in report.samples]
        axes.plot(times, held, color=color, label=f"associations, {server}")
    axes.set_xlabel("seconds")


def _cpu(axes: Any, report: Report) -> None:
    for number, (name, shares) in enumerate(cpu_shares(report.samples).items()):
        times, used = zip(*shares, strict=True)
        style = "--" if name == SIMULATOR else "-"
        axes.plot(times, [100 * share for share in used], style, color=f"C{number}", label=name, linewidth=1)
    axes.set_ylabel("CPU, %")
    axes.set_ylim(0, 130)
    axes.set_xlabel("seconds since the first arrival")


def _memory(axes: Any, report: Report) -> None:
    times = [sample.at_s for sample in report.samples]
    for name in report.samples[-1].processes:
        resident = [
            sample.processes[name].resident / _MIB if name in sample.processes else float("nan")
            for sample in report.samples
        ]
        axes.plot(times, resident, "--" if name == SIMULATOR else "-", label=name)
    axes.set_ylabel("MiB resident")
    axes.set_xlabel("seconds")


def _verdicts(axes: Any, report: Report) -> None:
    server = report.server
    bars = {
        "handshakes completed": server.handshakes_completed,
        "… wasted": server.handshakes_wasted,
        "… begun, not completed": server.handshakes_abandoned,
        **{f"refused: {reason}": count for reason, count in server.refusals.items()},
        **{f"shed: {cause}": count for cause, count in server.shed.items()},
    }
    names = list(bars)[::-1]
    drawn = axes.barh(names, [bars[name] for name in names], color=_BLUE)
    axes.bar_label(drawn, padding=3)
    axes.margins(x=0.1)
