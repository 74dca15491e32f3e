"""`make peers`: our server beside libcoap's, Leshan's and a bare one, the same devices, in turns, in one run.

Absolute figures are this machine's of this moment; what counts are the ratios. Leshan is left out where Java
and Maven are not at hand.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from collections.abc import Sequence
from contextlib import ExitStack

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import floor
from benchmarks.peers.contest import Contender, Sizes
from benchmarks.peers.devices import Device, Manufacturer
from benchmarks.peers.load import Bootstrap, one_request
from benchmarks.peers.servers import (
    Server,
    leshan_built,
    running_bare,
    running_leshan,
    running_libcoap,
    worker_of,
)
from ftc_core.domain.identity import fingerprint_of
from ftc_storm.instance import Instance, running_instance
from ftc_storm.site import open_site

__all__ = ["main"]

_SMOKE = Sizes(warm_up=40, devices=80, rounds=1, overload_s=1.5, held=100)
_DESCRIPTORS = 16_384
"""Open files wanted: a socket for each device that waits."""
_JIT_WARM_UP = 2_000


async def _contest(
    ours: Instance, others: Sequence[Server], leshan: Server | None, manufacturer: Manufacturer, sizes: Sizes
) -> tuple[list[Contender], list[float]]:
    """The contenders with their figures, the first the one to compare with; and the floor of each round."""
    async with open_site(ours.data_dir) as site:
        await site.trust(manufacturer.authority.certificate_pem)

        async def any_devices(count: int) -> list[Device]:
            return manufacturer.make(count)

        async def enrolled(count: int) -> list[Device]:
            devices = manufacturer.make(count)
            await site.enroll([fingerprint_of(device.identity.certificate_der) for device in devices])
            return devices

        request = "handshake + one request"
        worker = worker_of(ours)
        contenders = [Contender(request, server, one_request, "2.05", any_devices) for server in others]
        contenders.append(Contender(request, worker, one_request, "4.04", any_devices))
        contenders.append(Contender("full onboarding", worker, Bootstrap(), "2.04", enrolled))
        if leshan is not None:
            warm_up = _JIT_WARM_UP if sizes.rounds > 1 else 0
            contenders.append(Contender("bootstrap", leshan, Bootstrap(), "2.04", any_devices, warm_up))
        for contender in contenders:
            await contender.warm(sizes)
            if contender.server is not worker or contender.unit != request:
                await contender.measure_memory(sizes)
        floors = []
        for _ in range(sizes.rounds):
            for contender in contenders:
                await contender.measure_cpu(sizes)
            floors.append(floor.run(repeats=3))
        for _ in range(sizes.rounds):
            for contender in contenders:
                await contender.measure_overload(sizes)
        return contenders, floors


def _spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _over(values: Sequence[float], others: Sequence[float]) -> str:
    return _spread([value / other for value, other in zip(values, others, strict=True)], ".2f")


def _table(contenders: Sequence[Contender], floors: Sequence[float], sizes: Sizes) -> Table:
    reference = contenders[0]
    table = Table(
        "server",
        "unit",
        "CPU, µs",
        f"÷ {reference.server.name}",
        "÷ floor",
        f"peak/s of {sizes.share:.0%} of a core",
        "goodput at 4× ÷ peak",
        "KiB/session",
        title=f"Medians of {sizes.rounds} rounds in turns (lowest–highest);"
        f" public-key floor {statistics.median(floors):.0f} µs",
    )
    for contender in contenders:
        figures = contender.figures
        table.add_row(
            contender.server.name,
            contender.unit,
            _spread(figures.cpu_us, ",.0f"),
            _over(figures.cpu_us, reference.figures.cpu_us),
            _over(figures.cpu_us, floors),
            _spread(figures.peak_per_s, ",.0f"),
            _spread(figures.overload, ".2f"),
            f"{figures.session_bytes / 1024:.0f}" if figures.session_bytes else "",
        )
    return table


def main() -> None:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small sizes: does it run at all")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    arguments = parser.parse_args()
    sizes = _SMOKE if arguments.smoke else Sizes(rounds=arguments.rounds or Sizes.rounds)

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), most))
    manufacturer = Manufacturer()
    with ExitStack() as servers:
        ours = servers.enter_context(running_instance(workers=1))
        others = [
            servers.enter_context(running_libcoap("gnutls", manufacturer)),
            servers.enter_context(running_libcoap("openssl", manufacturer)),
            servers.enter_context(running_bare(manufacturer)),
        ]
        leshan = servers.enter_context(running_leshan(manufacturer)) if leshan_built() else None
        contenders, floors = uvloop.run(_contest(ours, others, leshan, manufacturer, sizes))
    Console(width=180).print(_table(contenders, floors, sizes))


if __name__ == "__main__":
    main()
