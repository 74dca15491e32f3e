"""Server CPU of one full onboarding, against the bare public-key floor of the same run.

A real instance with one bootstrap worker; a fleet in this process over real DTLS on loopback. What is
counted is the whole worker process: handshake with cookie, path check, claim with its durable commit,
credential, all writes, Finish, close_notify; user and kernel time of all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from dataclasses import dataclass

import uvloop

from benchmarks import floor
from benchmarks.fleet import Fleet
from ftc_storm.instance import Instance, running_instance

__all__ = ["Onboarding", "run"]

_WORKER = "bootstrap-0"


@dataclass(frozen=True)
class Onboarding:
    """CPU in microseconds per onboarding; latencies in milliseconds, as the devices saw them."""

    floor_us: float
    server_us: float
    one_at_a_time_ms: float
    median_ms: float
    p99_ms: float
    concurrency: int

    @property
    def ratio(self) -> float:
        """Server CPU ÷ floor."""
        return self.server_us / self.floor_us


def run(devices: int = 1_000, concurrency: int = 32, rounds: int = 3) -> list[Onboarding]:
    """`rounds` measurements of `devices` onboardings each, the floor measured before and after each round."""
    with running_instance(workers=1) as instance:
        return uvloop.run(_rounds(instance, devices, concurrency, rounds))


async def _rounds(instance: Instance, devices: int, concurrency: int, rounds: int) -> list[Onboarding]:
    warm_up = await Fleet.enrolled(instance, min(devices, 50))
    alone = await warm_up.onboard(1)
    results = []
    for _ in range(rounds):
        fleet = await Fleet.enrolled(instance, devices)
        before = floor.run(repeats=3)
        used = instance.cpu_seconds(_WORKER)
        seconds = sorted(await fleet.onboard(concurrency))
        await asyncio.sleep(0.2)  # the last commits and closes belong to it
        used = instance.cpu_seconds(_WORKER) - used
        results.append(
            Onboarding(
                floor_us=statistics.mean((before, floor.run(repeats=3))),
                server_us=used / devices * 1e6,
                one_at_a_time_ms=statistics.median(alone) * 1e3,
                median_ms=statistics.median(seconds) * 1e3,
                p99_ms=seconds[int(len(seconds) * 0.99)] * 1e3,
                concurrency=concurrency,
            )
        )
    return results


def main() -> None:
    """Print each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for result in run(arguments.devices, arguments.concurrency, arguments.rounds):
        print(
            f"server {result.server_us:5.0f} µs CPU per onboarding ÷ floor {result.floor_us:4.0f} µs"
            f" = {result.ratio:.2f}×; {result.one_at_a_time_ms:.1f} ms alone,"
            f" {result.median_ms:.0f} ms median, {result.p99_ms:.0f} ms p99 at {result.concurrency} at once"
        )


if __name__ == "__main__":
    main()
