"""A fleet powers on faster than one bootstrap worker can claim; drawn for people.

Real DTLS and CoAP over loopback, the devices simulated in this process on the machine's other core. They
wait and retransmit as their protocols say; nobody restarts them. Open loop: a device comes when it is its
turn, and its wait counts from then. Needs matplotlib (benchmarks/requirements.txt; `make power-on`).
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import uvloop
from matplotlib import pyplot as plt

from benchmarks.fleet import Fleet
from benchmarks.instance import Instance, running_instance

__all__ = ["PowerOn", "run"]

_WORKER = "bootstrap-0"
_SAMPLE_S = 0.05
_DESCRIPTORS = 8_192
"""Open files wanted: one socket per device."""


@dataclass
class PowerOn:
    """Seconds since the start: each device's turn and claim; samples of the worker's CPU time and memory."""

    turns_s: list[tuple[float, float]] = field(default_factory=list)
    sampled_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)


def run(devices: int, over_s: float) -> PowerOn:
    """Power `devices` on over `over_s` seconds, wait for the last. RuntimeError if any is refused."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), most))
    with running_instance(workers=1) as instance:
        return uvloop.run(_power_on(instance, devices, over_s))


async def _power_on(instance: Instance, devices: int, over_s: float) -> PowerOn:
    await (await Fleet.enrolled(instance, 20)).onboard(4)  # both sides warm
    fleet = await Fleet.enrolled(instance, devices)
    result = PowerOn()
    sampler = asyncio.create_task(_sample(instance, result, time.perf_counter()))
    result.turns_s = await fleet.power_on(over_s)
    sampler.cancel()
    return result


async def _sample(instance: Instance, result: PowerOn, started: float) -> None:
    before = instance.cpu_seconds(_WORKER)
    while True:
        result.sampled_s.append(time.perf_counter() - started)
        result.cpu_s.append(instance.cpu_seconds(_WORKER) - before)
        result.resident_mib.append(instance.resident_bytes(_WORKER) / 2**20)
        await asyncio.sleep(_SAMPLE_S)


def draw(result: PowerOn, file: Path) -> None:
    """Write the plot."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ftc", "font.size": 11})
    figure, (claims, load) = plt.subplots(
        2, 1, sharex=True, figsize=(9, 4.8), height_ratios=(3, 1), layout="constrained"
    )
    planned = [turn for turn, _ in result.turns_s]
    done = sorted(claimed for _, claimed in result.turns_s)
    count, end = len(done), done[-1]
    waits = sorted(claimed - turn for turn, claimed in result.turns_s)
    claims.plot([*planned, end], [*range(1, count + 1), count], color="#777777", label="powered on")
    claims.plot([0.0, *done], range(count + 1), color="#0b6e4f", linewidth=2, label="claimed")
    claims.fill_between([0.0, *done], range(count + 1), color="#0b6e4f", alpha=0.12)
    claims.set_ylabel("devices")
    claims.legend(loc="lower right", frameon=False)
    claims.set_title(
        f"{count:,} devices power on in {planned[-1]:.1f} s: all claimed after {end:.1f} s"
        f" (wait: median {waits[count // 2]:.2f} s, longest {waits[-1]:.2f} s), one worker",
        loc="left",
        fontsize=10,
    )
    times, cpu = result.sampled_s, result.cpu_s
    share = [
        100 * (b - a) / (t - s) for a, b, s, t in zip(cpu, cpu[1:], times, times[1:], strict=False) if t > s
    ]
    load.plot(times[1 : len(share) + 1], share, color="#c05621")
    load.set_ylabel("worker CPU, %")
    load.set_ylim(0, 130)
    load.set_xlabel("seconds since power-on")
    for axes in (claims, load):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--over", type=float, default=2.0, help="seconds")
    parser.add_argument("--out", type=Path, default=Path("docs/images/power-on.svg"))
    arguments = parser.parse_args()
    result = run(arguments.devices, arguments.over)
    draw(result, arguments.out)
    waits = sorted(claimed - turn for turn, claimed in result.turns_s)
    print(
        f"{len(waits)} devices, powered on over {arguments.over} s, all claimed;"
        f" wait median {waits[len(waits) // 2]:.2f} s, p99 {waits[int(len(waits) * 0.99)]:.2f} s;"
        f" worker {result.cpu_s[-1]:.2f} s CPU, at most {max(result.resident_mib):.0f} MiB"
    )


if __name__ == "__main__":
    main()
