"""The report for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from ftc_storm.report import Percentiles, Report

__all__ = ["headline", "report_table", "rows"]


def headline(report: Report) -> str:
    """The outcome in one line."""
    audit = report.audit
    if audit.passed:
        others = f"; none of {audit.unwelcome:,} others let in" if audit.unwelcome else ""
        return f"every one of {audit.welcome:,} devices onboarded, none twice, none lost{others}; data whole"
    return (
        f"{audit.onboarded:,} of {audit.welcome:,} devices onboarded: {audit.lost:,} lost,"
        f" {audit.twice:,} twice, {audit.let_in:,} of {audit.unwelcome:,} others let in,"
        f" {audit.counted:,} counted; {audit.not_whole:,} faults in the data"
    )


def rows(report: Report) -> Iterator[tuple[str, str]]:
    """What was measured, and how much of it."""
    server, fleet = report.server, report.fleet
    kinds = ", ".join(f"{count.devices:,} {kind}" for kind, count in report.kinds.items())
    yield "devices", kinds
    yield "planned arrivals within", _arrived_within(report)
    if report.last_onboarded_s is not None:
        yield "last onboarded after", f"{report.last_onboarded_s:.1f} s"
    yield "goodput", f"{report.goodput_per_s:,.0f}/s, {report.goodput_best_per_s:,}/s in the best second"
    yield "planned arrival to registration", _latencies(report.latency)
    yield "planned arrival to bootstrapped", _latencies(report.bootstrap_latency)
    yield (
        "server CPU per onboarding",
        ""
        if server.cpu_per_onboarding_us is None
        else f"{server.cpu_per_onboarding_us:,.0f} µs"
        f" ({', '.join(f'{name} {cpu_s:.1f} s' for name, cpu_s in server.cpu_s.items())})",
    )
    yield (
        "handshakes wasted",
        f"{server.handshakes_wasted:,} of {server.handshakes_completed:,} completed"
        f" ({server.wasted_share:.1%}), {server.handshakes_abandoned:,} more begun and not completed",
    )
    yield "associations at once", f"{server.associations_most:,} (bootstrap servers)"
    if server.memory_per_session_kib is not None:
        yield "memory per session", f"{server.memory_per_session_kib:.0f} KiB"
    yield (
        "queue",
        f"{server.queued_most_bytes / 1024:,.0f} KiB at most, waiting up to {server.lag_most_s:.2f} s,"
        f" {server.datagrams_dropped:,} datagrams dropped",
    )
    yield "shed", ", ".join(f"{n:,} {cause}" for cause, n in server.shed.items()) or "none"
    yield "refusals", ", ".join(f"{n:,} {reason}" for reason, n in server.refusals.items()) or "none"
    seen = ", ".join(f"{n:,} {what}" for what, n in report.failures_seen.items())
    yield "failed attempts, as devices saw them", seen or "none"
    yield (
        "the simulator",
        f"{fleet['associations_most']:,.0f} associations at once, {fleet['held_back']:,.0f} held back,"
        f" powered on {fleet['lateness_most_s']:.2f} s late at most, devices heard datagrams after"
        f" {fleet['lag_most_s']:.2f} s at most, {fleet['datagrams_dropped_at_fleet']:,.0f} of them dropped",
    )


def report_table(report: Report) -> Table:
    """All rows."""
    table = Table("what", "measured", title=headline(report), title_justify="left")
    for row in rows(report):
        table.add_row(*row)
    return table


def _latencies(values: Percentiles | None) -> str:
    if values is None:
        return "none"
    return (
        f"median {values.p50:.2f} s, p90 {values.p90:.2f} s, p99 {values.p99:.2f} s,"
        f" longest {values.longest:.2f} s"
    )


def _arrived_within(report: Report) -> str:
    last = max(second for second, count in enumerate(report.timeline.arrivals) if count)
    return f"{last + 1} s"
