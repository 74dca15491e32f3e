"""The plan of a storm: which devices there are, when each powers on, and what befalls it on the way.

Everything is decided here, from the seed alone, before the first datagram. What the run adds is the real
world's: time, and the answers of a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from ftc_core.device.retry import BACKOFF_FIRST_S
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S
from ftc_storm.arrivals import Curve, arrival_times
from ftc_storm.weather import Weather

__all__ = ["CALM", "DeviceKind", "PlannedDevice", "StormPlan", "plan_devices"]

CALM = Weather()
"""A network that does nothing to anything."""


class DeviceKind(StrEnum):
    """What the server knows of a device."""

    NEW = "new"
    """Enrolled, never seen: it is to be claimed."""
    AGAIN = "again"
    """Claimed before, by the same account: it gets fresh credentials."""
    UNKNOWN = "unknown"
    """Of a trusted CA, but on nobody's list."""
    WRONG_CA = "wrong-ca"
    """Of a CA that nobody uploaded."""
    BLOCKED = "blocked"
    """Enrolled, and blocked by the operator."""

    @property
    def welcome(self) -> bool:
        """Whether it is to be onboarded; all others are to be refused, however often they come."""
        return self in (DeviceKind.NEW, DeviceKind.AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPlan:
    """The parameters of a storm; ValueError for a mixture that cannot be.

    `mixture` are the shares of all kinds but NEW, which is the rest. Of the welcome devices `deaths` lose
    their power in the middle of their first attempt, without a word, and come back after `reboot_s`;
    `rebindings` get another address from their NAT there, and do not know it. A device gives an attempt up
    after `patience_s` without an end, and waits `backoff_first_s` (doubled for each further failure in a row,
    `device.retry`) before the next. `limit_s` ends the storm. Times are in seconds, shares from 0 to 1.
    """

    devices: int
    seed: int = 1
    curve: Curve = Curve.AT_ONCE
    rate_per_s: float = 100.0
    load: float = 1.0
    mixture: Mapping[DeviceKind, float] = field(default_factory=dict)
    weather: Weather = CALM
    deaths: float = 0.0
    reboot_s: float = 3.0
    rebindings: float = 0.0
    patience_s: float = BOOTSTRAP_SESSION_TIMEOUT_S
    backoff_first_s: float = BACKOFF_FIRST_S
    limit_s: float = 600.0

    def __post_init__(self) -> None:
        """Check."""
        if self.devices < 1:
            raise ValueError("a storm needs a device")
        shares = list(self.mixture.values())
        if any(share < 0 for share in shares) or sum(shares) > 1 or DeviceKind.NEW in self.mixture:
            raise ValueError("the shares of the kinds other than new must lie between 0 and 1 together")
        if not (self.deaths >= 0 and self.rebindings >= 0 and self.deaths + self.rebindings <= 1):
            raise ValueError("deaths and rebindings are shares that lie between 0 and 1 together")
        if min(self.patience_s, self.backoff_first_s, self.limit_s, self.reboot_s) <= 0:
            raise ValueError("patience, back-off, reboot and limit must be positive")


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """One device. `index` numbers it from 0 in the order of its arrival, `at_s` is when it powers on.

    It dies, or is rebound, upon the so-manieth datagram that it receives in its first attempt.
    """

    index: int
    kind: DeviceKind
    at_s: float
    dies_upon: int | None = None
    rebinds_upon: int | None = None


_ADVENTURES = range(1, 12)
"""Datagrams that a device receives while it bootstraps without loss: from the cookie's to Finish."""


def plan_devices(plan: StormPlan) -> list[PlannedDevice]:
    """The devices in the order of their arrival; the same for the same plan."""
    random = Random(plan.seed)  # noqa: S311 - a simulation
    times = arrival_times(plan.curve, plan.devices, rate_per_s=plan.rate_per_s, random=random, load=plan.load)
    kinds = [kind for kind, share in plan.mixture.items() for _ in range(round(plan.devices * share))]
    kinds += [DeviceKind.NEW] * (plan.devices - len(kinds))
    kinds = kinds[: plan.devices]
    random.shuffle(kinds)
    devices = []
    for index, (kind, at_s) in enumerate(zip(kinds, times, strict=True)):
        adventure, moment = random.random(), random.choice(_ADVENTURES)
        dies = kind.welcome and adventure < plan.deaths
        rebinds = kind.welcome and plan.deaths <= adventure < plan.deaths + plan.rebindings
        devices.append(
            PlannedDevice(index, kind, at_s, moment if dies else None, moment if rebinds else None)
        )
    return devices
