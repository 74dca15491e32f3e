"""`make bench`: every benchmark of the repository, one table, all in one run.

Absolute times are this machine's of this moment; what counts are the ratios, each measured side by side.
"""

from __future__ import annotations

import argparse
import statistics

from rich.console import Console
from rich.table import Table

from benchmarks import onboarding
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
    for name, value in lookup.items():
        table.add_row(f"LMDB: {name}", f"{value:,.2f}", "")
    for name, value in coap.items():
        table.add_row(f"CoAP: {name}", f"{value:,.2f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
