"""What is measured of one server under one conversation."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.peers.devices import Device
from benchmarks.peers.governor import governed
from benchmarks.peers.load import Conversation, Load, silence
from benchmarks.peers.servers import Server

__all__ = ["Contender", "Figures", "Sizes"]

_CONCURRENCY = 32
_OVERLOAD = 4.0
_SETTLING_S = 0.3
"""The last commits and closes belong to the work."""


@dataclass(frozen=True)
class Sizes:
    """How much of each: devices, rounds, share of a core, seconds of overload, associations held open."""

    warm_up: int = 300
    devices: int = 600
    rounds: int = 3
    share: float = 0.1
    overload_s: float = 10.0
    held: int = 1_000


@dataclass
class Figures:
    """Of each round: CPU in µs per unit; units per second at the share; goodput at overload ÷ that peak."""

    cpu_us: list[float] = field(default_factory=list)
    peak_per_s: list[float] = field(default_factory=list)
    overload: list[float] = field(default_factory=list)
    session_bytes: float = 0.0


@dataclass(frozen=True)
class Contender:
    """A server and a conversation that it answers with `good`; `make` gives new devices that it knows."""

    unit: str
    server: Server
    conversation: Conversation
    good: str
    make: Callable[[int], Awaitable[Sequence[Device]]]
    warm_up: int = 0
    """Devices besides the usual, before anything is measured: a Java machine compiles as it goes."""
    figures: Figures = field(default_factory=Figures)

    async def warm(self, sizes: Sizes) -> None:
        """Let it work; not measured."""
        await self._closed_loop(await self.make(sizes.warm_up + self.warm_up))

    async def measure_memory(self, sizes: Sizes) -> None:
        """Memory for each association that is established and says nothing."""
        devices = await self.make(sizes.held + 1)
        load = Load(self.server, silence, "established", devices[0])
        before = self.server.memory_bytes()
        held = await load.hold(devices[1:], _CONCURRENCY)
        await asyncio.sleep(_SETTLING_S)
        self.figures.session_bytes = (self.server.memory_bytes() - before) / len(held)
        for connection in held:
            connection.close()
        await asyncio.sleep(_SETTLING_S)

    async def measure_cpu(self, sizes: Sizes) -> None:
        """CPU for each unit, at full speed."""
        devices = await self.make(sizes.devices)
        used = self.server.cpu_seconds()
        await self._closed_loop(devices)
        await asyncio.sleep(_SETTLING_S)
        self.figures.cpu_us.append((self.server.cpu_seconds() - used) / len(devices) * 1e6)

    async def measure_overload(self, sizes: Sizes) -> None:
        """Units per second of a share of a core: its most, and with four times that arriving."""
        expected = sizes.share / statistics.median(self.figures.cpu_us) * 1e6
        devices = await self.make(round(expected * sizes.overload_s / 2))
        with governed(self.server.pid, sizes.share):
            peak = len(devices) / await self._closed_loop(devices)
        rate = _OVERLOAD * peak
        devices = await self.make(round(rate * sizes.overload_s))
        load = self._load(devices)
        with governed(self.server.pid, sizes.share):
            done = await load.open_loop(devices, rate)
        settled = sizes.overload_s / 3
        goodput = sum(at >= settled for at in done) / (sizes.overload_s - settled)
        self.figures.peak_per_s.append(peak)
        self.figures.overload.append(goodput / peak)
        await asyncio.sleep(1.0)

    async def _closed_loop(self, devices: Sequence[Device]) -> float:
        return await self._load(devices).closed_loop(devices, _CONCURRENCY)

    def _load(self, devices: Sequence[Device]) -> Load:
        return Load(self.server, self.conversation, self.good, devices[0])
