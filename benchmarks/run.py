"""`make bench`: every benchmark of the repository, one table, all in one run.

Absolute times are this machine's of this moment; what counts are the ratios, each measured side by side.
"""

from __future__ import annotations

import argparse
import statistics

from rich.console import Console
from rich.table import Table

from benchmarks import bulk, onboarding
from benchmarks.api import batch, beside_bulk, unary
from benchmarks.micro import coap_exchange, lmdb_lookup

__all__ = ["main"]


def main() -> None:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small sizes: does it run at all")
    smoke = parser.parse_args().smoke

    rounds = onboarding.run(devices=60, rounds=1) if smoke else onboarding.run()
    lookup = lmdb_lookup.run(rows=20_000 if smoke else 1_000_000)
    coap = coap_exchange.run()
    creates = unary.run(calls=300, rounds=1) if smoke else unary.run()
    batches = batch.run(batches=2, rounds=1) if smoke else batch.run()
    uploads = bulk.run(rows=20_000 if smoke else 1_000_000)
    beside = beside_bulk.run(devices=60, rows=60_000, rounds=1) if smoke else beside_bulk.run()

    table = Table("what", "measured", "target", title="First-to-Claim benchmarks")
    ratio = statistics.median(result.ratio for result in rounds)
    server = statistics.median(result.server_us for result in rounds)
    floor = statistics.median(result.floor_us for result in rounds)
    table.add_row(
        "server CPU per full onboarding ÷ public-key floor",
        f"{ratio:.2f}× ({server:.0f} µs ÷ {floor:.0f} µs)",
        "≤ 4.5×",
    )
    table.add_row(
        "onboarding seen by one device alone",
        f"{statistics.median(result.one_at_a_time_ms for result in rounds):.1f} ms median",
        "",
    )
    table.add_row(
        "CreateDeviceEnrollment ÷ bare grpc.aio echo, server CPU",
        f"{statistics.median(each.cpu_ratio for each in creates):.2f}×"
        f" ({statistics.median(each.create_us for each in creates):.0f} µs ÷"
        f" {statistics.median(each.echo_us for each in creates):.0f} µs)",
        "≤ 1.6×",
    )
    table.add_row(
        "the same, time on the wall with 64 calls in flight",
        f"{statistics.median(each.time_ratio for each in creates):.2f}×"
        f" ({statistics.median(each.create_per_s for each in creates):,.0f}/s,"
        f" {statistics.median(each.echo_per_s for each in creates):,.0f}/s)",
        "",
    )
    table.add_row(
        "BatchCreateDeviceEnrollments of 1,000",
        f"{statistics.median(each.api_per_s for each in batches):,.0f} rows/s,"
        f" {statistics.median(each.ratio for each in batches):.2f}× the store's time",
        "≥ 25,000 rows/s, or ≤ 1.5×",
    )
    table.add_row(
        f"bulk CSV of {uploads.rows:,} rows ÷ raw LMDB inserts",
        f"{uploads.ratio:.2f} ({uploads.bulk_per_s:,.0f}/s ÷ {uploads.raw_per_s:,.0f}/s),"
        f" {uploads.peak_mib:.0f} MiB",
        "≥ 0.5, < 300 MiB",
    )
    table.add_row(
        "bootstraps lost beside a bulk job",
        f"{statistics.median(each.lost for each in beside):.0%}"
        f" (of {statistics.median(each.alone_per_s for each in beside):.0f}/s;"
        f" the job {statistics.median(each.rows_per_s for each in beside):,.0f} rows/s)",
        "< 20 %",
    )
    for name, value in lookup.items():
        table.add_row(f"LMDB: {name}", f"{value:,.2f}", "")
    for name, value in coap.items():
        table.add_row(f"CoAP: {name}", f"{value:,.2f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
