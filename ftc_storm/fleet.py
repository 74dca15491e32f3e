"""The fleet: thousands of devices on one event loop, through the weather, over a few sockets.

One agenda (a heap) holds all that is due: arrivals, retries, timers, datagrams under way. A wake-up does a
bounded part of it, then lets the sockets be read, so that a simulator that is busy stays fair to both.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic
from typing import Any

from ftc_core.device.opening import server_address
from ftc_core.endpoint.udp import Origin
from ftc_storm.device import Attempt, Stage, StormDevice
from ftc_storm.network import DeviceAddress, LoopbackNetwork
from ftc_storm.plan import StormPlan
from ftc_storm.weather import Direction

__all__ = ["Fleet", "Tally"]

_TIMER_SLACK_S = 0.002
_AT_A_TIME = 64
"""Things of the agenda done per wake-up; a new attempt among them costs 0.2 ms."""
_DATAGRAMS_AT_A_TIME = 8
"""Read of each socket per wake-up: together four times as many. When the simulator falls behind, devices that
are on their way come first, lest they time out through its fault; others are powered on late, and their wait
counts."""


class Tally:
    """What has happened so far, for people who watch, and for the report."""

    def __init__(self) -> None:
        self.powered_on = 0
        self.bootstrapped = 0
        self.onboarded = 0
        self.retries = 0
        self.deaths = 0
        self.rebindings = 0
        self.held_back = 0
        """Attempts that waited because as many were open as there may be."""
        self.lateness_s = 0.0
        """The most by which the simulator was behind its plan at an arrival."""
        self.lag_s = 0.0
        """The longest time that a datagram waited until the simulator read it: its devices are that slow."""
        self.active_most = 0
        self.lost = 0
        """Datagrams, of either direction, that the weather took."""
        self.refusals: Counter[str] = Counter()
        """Failed attempts by what the device saw."""


class Fleet:
    """Devices that power on as planned, and go on until they are onboarded.

    At most `active_max` associations are open at a time, each some 100 KB; more devices wait for their turn,
    which counts as their latency, and is told (`Tally.held_back`). `bootstrapped` is told the count at each
    bootstrap that succeeds.
    """

    def __init__(
        self,
        plan: StormPlan,
        devices: Sequence[StormDevice],
        network: LoopbackNetwork,
        *,
        active_max: int,
        bootstrapped: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.tally = Tally()
        self._plan = plan
        self._devices = devices
        self._network = network
        self._active_max = active_max
        self._bootstrapped = bootstrapped
        self._random = Random(plan.seed)  # noqa: S311 - a simulation
        self._attempts: dict[tuple[int, Origin], Attempt] = {}
        self._addresses: dict[int, DeviceAddress] = {}
        """Of devices that have moved."""
        self._waiting: deque[StormDevice] = deque()
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._unsettled = len(devices)
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()

    @property
    def active(self) -> int:
        """Associations that are open now."""
        return len(self._attempts)

    async def run(self) -> float:
        """Power on, and wait until every device is settled or the plan's limit has come.

        Gives when it began, on the clock of `monotonic`.
        """
        began = monotonic()
        for index, sock in enumerate(self._network.sockets):
            self._loop.add_reader(sock.fileno(), self._readable, index)
        for device in self._devices:
            self._at(began + device.plan.at_s, self._power_on, device, began + device.plan.at_s)
        self._arm()
        try:
            await asyncio.wait([self._ended], timeout=self._plan.limit_s)
        finally:
            for sock in self._network.sockets:
                self._loop.remove_reader(sock.fileno())
            if self._timer is not None:
                self._timer[1].cancel()
            self._ended.cancel()
        return began

    # --- attempts ----------------------------------------------------------------------------------

    def _power_on(self, device: StormDevice, planned: float) -> None:
        self.tally.powered_on += 1
        self.tally.lateness_s = max(self.tally.lateness_s, monotonic() - planned)
        self._begin(device)

    def _begin(self, device: StormDevice) -> None:
        if len(self._attempts) >= self._active_max:
            self.tally.held_back += 1
            self._waiting.append(device)
            return
        now = monotonic()
        address = self._addresses.get(device.plan.index) or self._network.home(device.plan)
        key = self._network.key(address, server_address(device.server_uri())[1])
        attempt = device.begin(key, now, self._plan.patience_s)
        self._attempts[key] = attempt
        self.tally.active_most = max(self.tally.active_most, len(self._attempts))
        self._settle(attempt, now)

    def _end(self, attempt: Attempt) -> None:
        if self._attempts.pop(attempt.key, None) is not None and self._waiting:
            self._at(monotonic(), self._begin, self._waiting.popleft())
            self._arm()

    def _conclude(self, attempt: Attempt, now: float) -> None:
        device = attempt.device
        settled, stage = device.settled, device.stage
        if not attempt.peer.closed:
            attempt.gave_up = attempt.outcome is None
            attempt.peer.close(now)
            self._send_all(attempt, now)
        self._end(attempt)
        wait = device.conclude(attempt, now, self._plan.backoff_first_s, self._random)
        if device.failures:
            self.tally.refusals[device.refusal] += 1
        elif stage is Stage.BOOTSTRAPPING:
            self.tally.bootstrapped += 1
            self._bootstrapped(self.tally.bootstrapped)
        else:
            self.tally.onboarded += 1
        if wait is not None:
            self.tally.retries += wait > 0
            self._at(now + wait, self._begin, device)
            self._arm()
        if device.settled and not settled:
            self._unsettled -= 1
            if not self._unsettled and not self._ended.done():
                self._ended.set_result(None)

    def _befall(self, attempt: Attempt, now: float) -> bool:
        """What the plan has for a device at this datagram of its first attempt; True if it is now off."""
        device = attempt.device
        device.heard += 1
        if device.attempts != 1:
            return False
        if device.heard == device.plan.rebinds_upon:
            self.tally.rebindings += 1
            address = self._network.rebound(device.plan)
            self._addresses[device.plan.index] = address
            del self._attempts[attempt.key]
            attempt.key = self._network.key(address, attempt.key[1].port)
            self._attempts[attempt.key] = attempt
        if device.heard != device.plan.dies_upon:
            return False
        self.tally.deaths += 1
        self._end(attempt)
        device.power_lost()
        self._at(now + self._plan.reboot_s, self._begin, device)
        return True

    # --- datagrams ---------------------------------------------------------------------------------

    def _readable(self, index: int) -> None:
        now = monotonic()
        for datagram in self._network.sockets[index].receive(_DATAGRAMS_AT_A_TIME):
            key = (index, datagram.origin)
            self.tally.lag_s = max(self.tally.lag_s, now - datagram.received_at)
            attempt = self._attempts.get(key)
            if attempt is None:
                continue  # for an association that has ended
            device = attempt.device
            for delay in self._fate(device, Direction.TO_DEVICE, device.datagrams_in):
                if delay <= 0:
                    self._deliver(key, datagram.payload)
                else:
                    self._at(now + delay, self._deliver, key, datagram.payload)
            device.datagrams_in += 1
        self._arm()

    def _deliver(self, key: tuple[int, Origin], payload: bytes) -> None:
        attempt = self._attempts.get(key)
        if attempt is None:
            return
        now = monotonic()
        if self._befall(attempt, now):
            return
        attempt.peer.receive_datagram(payload, now)
        self._settle(attempt, now)

    def _send_all(self, attempt: Attempt, now: float) -> None:
        device, (index, origin) = attempt.device, attempt.key
        sock = self._network.sockets[index]
        for payload in attempt.peer.take_datagrams():
            for delay in self._fate(device, Direction.TO_SERVER, device.datagrams_out):
                if delay <= 0:
                    sock.send(payload, origin)
                else:
                    self._at(now + delay, sock.send, payload, origin)
            device.datagrams_out += 1

    def _fate(self, device: StormDevice, direction: Direction, number: int) -> tuple[float, ...]:
        weather = self._plan.weather
        if weather.calm:
            return (0.0,)
        fate = weather.fate(self._plan.seed, device.plan.index, direction, number)
        self.tally.lost += not fate
        return fate

    # --- time --------------------------------------------------------------------------------------

    def _settle(self, attempt: Attempt, now: float) -> None:
        """After an event: send, conclude, or wait."""
        self._send_all(attempt, now)
        if attempt.over or now >= attempt.deadline:
            self._conclude(attempt, now)
            return
        due = min(attempt.peer.get_timer(now) or attempt.deadline, attempt.deadline)
        # An entry earlier than needed fires for nothing, cheaply: only an earlier deadline makes a new one.
        if attempt.armed is None or due < attempt.armed:
            attempt.armed = due
            self._at(due, self._attempt_due, attempt)
            self._arm()

    def _attempt_due(self, attempt: Attempt) -> None:
        if self._attempts.get(attempt.key) is not attempt:
            return
        now = monotonic() + _TIMER_SLACK_S
        if attempt.armed is not None and attempt.armed <= now:
            attempt.armed = None
        due = attempt.peer.get_timer(now)
        if due is not None and due <= now:
            attempt.peer.handle_timer(now)
        self._settle(attempt, now)

    def _at(self, due: float, action: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._agenda, (due, next(self._numbers), action, arguments))

    def _arm(self) -> None:
        if not self._agenda or self._ended.done():
            return
        due = self._agenda[0][0]
        if self._timer is None or due < self._timer[0]:
            if self._timer is not None:
                self._timer[1].cancel()
            self._timer = (due, self._loop.call_at(due, self._act))

    def _act(self) -> None:
        self._timer = None
        now = monotonic() + _TIMER_SLACK_S
        for _ in range(_AT_A_TIME):
            if not self._agenda or self._agenda[0][0] > now:
                break
            _, _, action, arguments = heapq.heappop(self._agenda)
            action(*arguments)
        self._arm()
