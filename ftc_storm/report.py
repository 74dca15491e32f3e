"""The numbers of a storm, from the devices' own times, the samples and the counters of the instance.

Open loop: a device's latency counts from the moment at which the plan had it powered on, whether or not the
server, or the simulator, was ready for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from ftc_storm.audit import Audit
from ftc_storm.device import StormDevice
from ftc_storm.fleet import Tally
from ftc_storm.observation import SIMULATOR, Sample, ServerCounters
from ftc_storm.plan import DeviceKind, StormPlan

__all__ = ["KindCounts", "Percentiles", "Report", "ServerSide", "Timeline", "make_report", "percentiles"]

_SESSIONS_MIN = 200
"""Associations at the peak below which memory per session says nothing."""
_BOOTSTRAP_PROCESS = "bootstrap-"


class Percentiles(msgspec.Struct, frozen=True):
    """Of a set of durations, seconds."""

    p50: float
    p90: float
    p99: float
    longest: float


class KindCounts(msgspec.Struct, frozen=True):
    """Devices of one kind: how many there were, were onboarded, were refused at least once."""

    devices: int
    onboarded: int
    refused: int


class ServerSide(msgspec.Struct, frozen=True, kw_only=True):
    """What the storm cost the instance. CPU is of all processes by name, user and kernel, seconds."""

    cpu_s: dict[str, float]
    cpu_per_onboarding_us: float | None
    """All processes of the instance, refusals and retries included, by onboarded device."""
    memory_per_session_kib: float | None
    """Growth of the bootstrap workers' own memory up to the moment of the most associations, by association;
    None if they were too few to tell."""
    associations_most: int
    queued_most_bytes: int
    """In the bootstrap sockets' receive buffers."""
    datagrams_dropped: int
    """By the kernel, because those buffers were full."""
    handshakes_completed: int
    handshakes_wasted: int
    """Completed by the bootstrap servers, and followed by neither a whole bootstrap nor a refusal."""
    handshakes_abandoned: int
    """Of proven devices, begun and never completed: their public-key work was for nothing, too."""
    refusals: dict[str, int]
    """By reason of the catalogue, or by alert."""
    shed: dict[str, int]
    """ClientHellos that the bootstrap servers dropped in silence, by cause (docs/metrics.md)."""
    lag_most_s: float
    """The longest time for which a datagram waited until a bootstrap server read it."""
    restarts: int
    counters: dict[str, dict[str, float]]

    @property
    def wasted_share(self) -> float:
        """Of the completed handshakes."""
        return self.handshakes_wasted / self.handshakes_completed if self.handshakes_completed else 0.0


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Second by second since the first arrival; latencies are those of the devices onboarded in that second,
    None where there was none."""

    arrivals: tuple[int, ...]
    bootstrapped: tuple[int, ...]
    onboarded: tuple[int, ...]
    latency: tuple[Percentiles | None, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Times are seconds from the first arrival."""

    machine: dict[str, str]
    plan: dict[str, object]
    workers: int
    ended_s: float
    last_onboarded_s: float | None
    audit: Audit
    kinds: dict[str, KindCounts]
    latency: Percentiles | None
    """From the planned arrival to the registration."""
    bootstrap_latency: Percentiles | None
    """From the planned arrival to the end of the bootstrap that counted."""
    goodput_per_s: float
    """Onboarded devices by the time until the last of them."""
    goodput_best_per_s: int
    """In the best second."""
    fleet: dict[str, float]
    failures_seen: dict[str, int]
    """Failed attempts by what the device saw."""
    server: ServerSide
    timeline: Timeline
    samples: tuple[Sample, ...]


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """None of nothing; each is a value that occurred (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    return Percentiles(rank(0.5), rank(0.9), rank(0.99), ordered[-1])


def make_report(
    *,
    machine: Mapping[str, str],
    plan: StormPlan,
    workers: int,
    devices: Sequence[StormDevice],
    began: float,
    ended: float,
    tally: Tally,
    judged: Audit,
    samples: Sequence[Sample],
    counters: ServerCounters,
) -> Report:
    """`began` and `ended` are on the clock of the devices' times."""
    first = began + min(device.plan.at_s for device in devices)
    onboarded = [
        (device.onboarded_at - first, device.onboarded_at - began - device.plan.at_s)
        for device in devices
        if device.onboarded_at is not None
    ]
    bootstrapped = [
        (device.bootstrapped_at - first, device.bootstrapped_at - began - device.plan.at_s)
        for device in devices
        if device.bootstrapped_at is not None
    ]
    timeline = _timeline([began + device.plan.at_s - first for device in devices], bootstrapped, onboarded)
    last = max((at for at, _ in onboarded), default=None)
    return Report(
        machine=dict(machine),
        plan=msgspec.to_builtins(plan),
        workers=workers,
        ended_s=ended - first,
        last_onboarded_s=last,
        audit=judged,
        kinds=_kinds(devices),
        latency=percentiles([latency for _, latency in onboarded]),
        bootstrap_latency=percentiles([latency for _, latency in bootstrapped]),
        goodput_per_s=len(onboarded) / last if last else 0.0,
        goodput_best_per_s=max(timeline.onboarded, default=0),
        fleet={
            "retries": tally.retries,
            "deaths": tally.deaths,
            "rebindings": tally.rebindings,
            "datagrams_lost_by_weather": tally.lost,
            "datagrams_dropped_at_fleet": max((sample.dropped_here for sample in samples), default=0),
            "associations_most": tally.active_most,
            "held_back": tally.held_back,
            "lateness_most_s": tally.lateness_s,
            "lag_most_s": tally.lag_s,
        },
        failures_seen=dict(tally.refusals.most_common()),
        server=_server_side(samples, counters, len(onboarded)),
        timeline=timeline,
        samples=tuple(samples),
    )


def _kinds(devices: Sequence[StormDevice]) -> dict[str, KindCounts]:
    counts = {}
    for kind in DeviceKind:
        these = [device for device in devices if device.plan.kind is kind]
        if these:
            onboarded = sum(device.onboarded_at is not None for device in these)
            refused = sum(device.refused_at is not None for device in these)
            counts[kind.value] = KindCounts(len(these), onboarded, refused)
    return counts


def _timeline(
    arrivals: Sequence[float],
    bootstrapped: Sequence[tuple[float, float]],
    onboarded: Sequence[tuple[float, float]],
) -> Timeline:
    latest = max((*arrivals, *(at for at, _ in bootstrapped), *(at for at, _ in onboarded)))
    seconds = range(int(latest) + 1)
    came, claimed = Counter(map(int, arrivals)), Counter(int(at) for at, _ in bootstrapped)
    latencies: dict[int, list[float]] = {}
    for at, latency in onboarded:
        latencies.setdefault(int(at), []).append(latency)
    return Timeline(
        arrivals=tuple(came[second] for second in seconds),
        bootstrapped=tuple(claimed[second] for second in seconds),
        onboarded=tuple(len(latencies.get(second, ())) for second in seconds),
        latency=tuple(percentiles(latencies.get(second, ())) for second in seconds),
    )


def _server_side(samples: Sequence[Sample], counters: ServerCounters, onboarded: int) -> ServerSide:
    last = samples[-1].processes
    cpu = {name: process.cpu_s for name, process in sorted(last.items()) if name != SIMULATOR}
    handshakes = counters.values.get("ftc_handshakes_total", {})
    completed = counters.get("ftc_handshakes_total", "bootstrap", "completed", "")
    bootstraps = counters.values.get("ftc_bootstraps_total", {})
    answered = sum(
        count for labels, count in bootstraps.items() if labels.startswith(("completed ", "refused "))
    )
    refusals = {
        labels.split()[1]: int(n) for labels, n in bootstraps.items() if labels.startswith("refused ")
    }
    abandoned = 0.0
    for labels, count in handshakes.items():
        server, outcome, alert = labels.split(" ")
        if server != "bootstrap" or outcome == "completed":
            continue
        if outcome == "alert_sent":
            refusals[f"alert {alert}"] = int(count)
        else:
            abandoned += count
    return ServerSide(
        cpu_s=cpu,
        cpu_per_onboarding_us=sum(cpu.values()) / onboarded * 1e6 if onboarded else None,
        memory_per_session_kib=_memory_per_session(samples),
        associations_most=int(max(sample.associations.get("bootstrap", 0.0) for sample in samples)),
        queued_most_bytes=max(sample.queued_bytes for sample in samples),
        datagrams_dropped=samples[-1].dropped,
        handshakes_completed=int(completed),
        handshakes_wasted=max(0, int(completed - answered)),
        handshakes_abandoned=int(abandoned),
        refusals=refusals,
        shed={
            labels.partition(" ")[2]: int(count)
            for labels, count in counters.values.get("ftc_shed_total", {}).items()
            if labels.startswith("bootstrap ")
        },
        lag_most_s=max(sample.lag_s.get("bootstrap", 0.0) for sample in samples),
        restarts=int(sum(counters.values.get("ftc_process_restarts_total", {}).values())),
        counters=counters.values,
    )


def _memory_per_session(samples: Sequence[Sample]) -> float | None:
    def own(sample: Sample) -> int:
        return sum(each.own for name, each in sample.processes.items() if name.startswith(_BOOTSTRAP_PROCESS))

    fullest = max(samples, key=lambda sample: sample.associations.get("bootstrap", 0.0))
    held = fullest.associations.get("bootstrap", 0.0)
    return (own(fullest) - own(samples[0])) / held / 1024 if held >= _SESSIONS_MIN else None


def cpu_shares(samples: Sequence[Sample]) -> dict[str, list[tuple[float, float]]]:
    """By process: (seconds since the start, share of one CPU since the sample before)."""
    shares: dict[str, list[tuple[float, float]]] = {}
    for before, after in pairwise(samples):
        elapsed = after.at_s - before.at_s
        for name, process in after.processes.items():
            if name in before.processes and elapsed > 0:
                used = process.cpu_s - before.processes[name].cpu_s
                shares.setdefault(name, []).append((after.at_s, used / elapsed))
    return shares
