"""`ftc check`: whether an instance's data is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from ftc_core.application.check import check_instance
from ftc_core.cli.progress import stage_bar
from ftc_core.cli.settings_options import settings_options
from ftc_core.cli.terminal import print_json, say
from ftc_core.domain.integrity import ACTIONS, CheckReport, Finding
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings

__all__ = ["register", "told_in_a_line"]

_TOLD: Final = {
    "accounts": ("account", "accounts"),
    "certificates": ("trusted certificate", "trusted certificates"),
    "enrollments": ("enrollment", "enrollments"),
    "devices": ("device", "devices"),
    "ledger": ("change of ownership", "changes of ownership"),
    "checkpoints": ("checkpoint", "checkpoints"),
    "transfers": ("transfer", "transfers"),
    "bulk_jobs": ("operation", "operations"),
    "blocks": ("block", "blocks"),
    "denials": ("denial", "denials"),
    "events": ("event", "events"),
}
"""Tables that are counted in the summary, and what one row is, and several are."""


@click.command()
@settings_options("data_dir")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def check(settings: Settings, *, as_json: bool) -> None:
    """Check that an instance's data is whole: every record, index, count, history, key and secret.

    Each fault is a line: what kind, where, what is expected, what is found; the exit status is 1 if there is
    any. It writes nothing and may run beside `ftc serve`, on a snapshot. The store of one that is stopped is
    proven page by page first.

    \b
    Examples:
      ftc check
      ftc check --data-dir /var/lib/ftc --json
    """
    report = _run(settings.data_dir, settings.storage_url)
    if as_json:
        print_json(_as_object(report))
    else:
        _print(report)
    if not report.passed:
        faults = "1 fault" if report.findings_count == 1 else f"{report.findings_count:,} faults"
        raise FtcError(Reason.INSTANCE_NOT_WHOLE, f"{settings.data_dir} is not whole: {faults}")


def told_in_a_line(report: CheckReport) -> str:
    """What was looked at, and how it was."""
    counts = ((report.counts.get(table, 0), words) for table, words in _TOLD.items())
    rows = ", ".join(f"{count:,} {words[count != 1]}" for count, words in counts if count)
    proven = ", every page of the file" if report.pages_proven else ""
    verdict = "no fault found" if report.passed else f"faults found: {report.findings_count:,}"
    return f"checked at revision {report.revision:,}: {rows or 'no record'}{proven}; {verdict}"


def _run(data_dir: Path, storage_url: str | None) -> CheckReport:
    with stage_bar(counted=True) as progress:
        return check_instance(
            data_dir,
            storage_url=storage_url,
            progress=lambda stage, done, total: progress(f"checking {stage}", done, total),
        )


def _print(report: CheckReport) -> None:
    for finding in report.findings:
        say(finding.text)
    hidden = report.findings_count - len(report.findings)
    if hidden:
        say(f"and {hidden:,} more, which are not named")
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        say(f"what to do about {kind}: {ACTIONS[kind]}")
    for note in report.notes:
        say(f"note: {note.text} / {ACTIONS[note.kind]}", err=True)
    say(told_in_a_line(report))


def _as_object(report: CheckReport) -> dict[str, Any]:
    return {
        "whole": report.passed,
        "revision": report.revision,
        "pages_proven": report.pages_proven,
        "counts": report.counts,
        "findings_count": report.findings_count,
        "findings": [_finding_object(finding) for finding in report.findings],
        "notes": [_finding_object(note) for note in report.notes],
    }


def _finding_object(finding: Finding) -> dict[str, str]:
    return {
        "kind": finding.kind.value,
        "where": finding.where,
        "record": finding.record,
        "expected": finding.expected,
        "found": finding.found,
        "action": ACTIONS[finding.kind],
    }


def register(root: click.Group) -> None:
    """Add the command."""
    root.add_command(check)
