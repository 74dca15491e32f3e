"""When the devices of a fleet power on: planned times in seconds from the start, in rising order.

The times are the plan of an open loop: a device comes when it is its turn, however the server fares.
"""

from __future__ import annotations

from enum import StrEnum
from math import sqrt
from random import Random

__all__ = ["AZURE_DELAY_MIN_S", "Curve", "arrival_times"]

AZURE_DELAY_MIN_S = 1.0
"""The least delay of Azure's formula (`min_retry_delay_msec`)."""


class Curve(StrEnum):
    """How the arrivals are spread."""

    AT_ONCE = "at-once"
    """All in the same moment: power comes back."""
    EVEN = "even"
    """One after the other at a constant rate."""
    POISSON = "poisson"
    """At random, independently of each other, at a constant mean rate."""
    RAMP = "ramp"
    """At a rate that rises in a straight line from nothing to twice its mean."""
    AZURE = "azure"
    """As Azure's Device Provisioning Service asks devices to spread themselves: each waits for a random time
    from 1 s to T / load, where T = N / cps, N devices at a server that takes cps of them a second
    (https://learn.microsoft.com/azure/iot-dps/concepts-deploy-at-scale, "Retry operations")."""


def arrival_times(
    curve: Curve, count: int, *, rate_per_s: float, random: Random, load: float = 1.0
) -> list[float]:
    """`count` times. `rate_per_s` is the mean rate, for AZURE the cps of its formula; AT_ONCE ignores it.

    `load` is AZURE's factor. ValueError unless rate and load are positive.
    """
    if rate_per_s <= 0 or load <= 0:
        raise ValueError("rate and load must be positive")
    span = count / rate_per_s
    match curve:
        case Curve.AT_ONCE:
            return [0.0] * count
        case Curve.EVEN:
            return [index / rate_per_s for index in range(count)]
        case Curve.RAMP:
            # At rate 2rt/span the number of arrivals until t is rt²/span; solved for t.
            return [span * sqrt(index / count) for index in range(count)]
        case Curve.POISSON:
            now, times = 0.0, []
            for _ in range(count):
                now += random.expovariate(rate_per_s)
                times.append(now)
            return times
        case Curve.AZURE:
            longest = max(span / load, AZURE_DELAY_MIN_S)
            return sorted(random.uniform(AZURE_DELAY_MIN_S, longest) for _ in range(count))
