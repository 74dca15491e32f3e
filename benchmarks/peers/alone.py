"""What our server takes by itself: memory, resumption, a second worker. All in one run, in turns.

python -m benchmarks.peers.alone [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import uvloop

from benchmarks.peers.devices import Device, Manufacturer
from benchmarks.peers.governor import governed
from benchmarks.peers.load import Bootstrap, Load, one_request, silence, unproven
from benchmarks.peers.servers import worker_of
from ftc_core.domain.identity import fingerprint_of
from ftc_storm.instance import Instance, own_bytes, running_instance
from ftc_storm.site import Site, open_site

__all__ = ["main"]

_CONCURRENCY = 32
_MEMORY_DEVICES = 1_000
_DEVICES = 300
_SHARE = 0.15
"""Of a core for each worker: the devices, on the same machine, are not to be what runs short."""
_SETTLING_S = 0.3


@dataclass
class _Figures:
    session_kib: float = 0.0
    unproven_kib: float = 0.0
    again_us: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    """Re-bootstraps: µs each, full and resumed."""
    request_us: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    per_s: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    """Onboardings a second by workers."""


class _Bench:
    def __init__(self, instance: Instance, site: Site, manufacturer: Manufacturer) -> None:
        self._instance = instance
        self._site = site
        self._manufacturer = manufacturer
        self.server = worker_of(instance)

    async def enrolled(self, count: int) -> list[Device]:
        devices = self._manufacturer.make(count)
        await self._site.enroll([fingerprint_of(device.identity.certificate_der) for device in devices])
        return devices

    async def onboard(self, devices: Sequence[Device]) -> float:
        return await Load(self.server, Bootstrap(), "2.04", devices[0]).closed_loop(devices, _CONCURRENCY)

    async def memory(self, figures: _Figures) -> None:
        """Before all else, and of the first worker."""
        await self.onboard(await self.enrolled(_DEVICES))
        await unproven(self.server, self._manufacturer.make(100))
        devices = self._manufacturer.make(_MEMORY_DEVICES)
        before = self._own_bytes()
        answered = await unproven(self.server, devices)
        figures.unproven_kib = (self._own_bytes() - before) / answered / 1024
        before = self._own_bytes()
        held = await Load(self.server, silence, "established", devices[0]).hold(devices, _CONCURRENCY)
        await asyncio.sleep(_SETTLING_S)
        figures.session_kib = (self._own_bytes() - before) / len(held) / 1024
        for connection in held:
            connection.close()
        await asyncio.sleep(_SETTLING_S)

    async def come_again(self, figures: _Figures) -> None:
        """The same devices without a ticket and with one; the visit that gives it is not counted."""
        devices = await self.enrolled(_DEVICES)
        for conversation, good, taken in (
            (Bootstrap(self._site.account_id), "2.04", figures.again_us),
            (one_request, "4.04", figures.request_us),
        ):
            full = Load(self.server, conversation, good, devices[0])
            resuming = Load(self.server, conversation, good, devices[0], tickets=True)
            await resuming.closed_loop(devices, _CONCURRENCY)
            for load in (full, resuming):
                used = self.server.cpu_seconds()
                await load.closed_loop(devices, _CONCURRENCY)
                await asyncio.sleep(_SETTLING_S)
                spent = self.server.cpu_seconds() - used
                taken[load is resuming].append(spent / len(devices) * 1e6)
            if resuming.resumed != len(devices):
                raise RuntimeError(f"{resuming.resumed} of {len(devices)} sessions resumed")

    async def throughput(self, figures: _Figures) -> None:
        workers = [pid for name, pid in self._instance.processes.items() if name.startswith("bootstrap-")]
        devices = await self.enrolled(_DEVICES)
        with ExitStack() as governors:
            for pid in workers:
                governors.enter_context(governed(pid, _SHARE))
            seconds = await self.onboard(devices)
        figures.per_s[len(workers)].append(len(devices) / seconds)

    def _own_bytes(self) -> int:
        return own_bytes(self.server.pid)


async def _measure(one: Instance, two: Instance, rounds: int) -> _Figures:
    manufacturer, figures = Manufacturer(), _Figures()
    async with open_site(one.data_dir) as site_one, open_site(two.data_dir) as site_two:
        benches = [_Bench(one, site_one, manufacturer), _Bench(two, site_two, manufacturer)]
        for site in (site_one, site_two):
            await site.trust(manufacturer.authority.certificate_pem)
        await benches[0].memory(figures)
        await benches[1].onboard(await benches[1].enrolled(_DEVICES))
        for _ in range(rounds):
            await benches[0].come_again(figures)
            for bench in benches:
                await bench.throughput(figures)
    return figures


def _ratios(values: Sequence[float], others: Sequence[float]) -> str:
    ratios = sorted(value / other for value, other in zip(values, others, strict=True))
    return f"{statistics.median(ratios):.2f} (median of {len(ratios)}, {ratios[0]:.2f} to {ratios[-1]:.2f})"


def _print(figures: _Figures) -> None:
    print(f"memory: {figures.session_kib:.1f} KiB per established association, of {_MEMORY_DEVICES:,}")
    print(f"memory: {figures.unproven_kib:.2f} KiB per peer that was sent a cookie, of {_MEMORY_DEVICES:,}")
    for name, taken in (("re-bootstrap", figures.again_us), ("one request", figures.request_us)):
        full, resumed = statistics.median(taken[False]), statistics.median(taken[True])
        print(
            f"{name}: resumed ÷ full {_ratios(taken[True], taken[False])}; {resumed:.0f} µs ÷ {full:.0f} µs"
        )
    single, double = statistics.median(figures.per_s[1]), statistics.median(figures.per_s[2])
    print(
        f"two workers ÷ one, {_SHARE:.0%} of a core each: {_ratios(figures.per_s[2], figures.per_s[1])};"
        f" {double:.0f}/s ÷ {single:.0f}/s"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with running_instance(workers=1) as one, running_instance(workers=2) as two:
        _print(uvloop.run(_measure(one, two, rounds)))


if __name__ == "__main__":
    main()
