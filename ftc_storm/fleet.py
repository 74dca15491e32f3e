"""The fleet: thousands of devices on one event loop, through the weather, over a few sockets.

One agenda holds all that is due: arrivals, retries, timers, datagrams under way and datagrams that came. A
wake-up does a bounded part of it, then lets the sockets be read. Reading is cheap, and hands nothing to a
device: a simulator that is behind must know of all that came, to do first what is soonest done (`agenda`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from time import monotonic

from ftc_core.device.opening import server_address
from ftc_core.endpoint.udp import Origin
from ftc_storm.agenda import Agenda, Rank
from ftc_storm.device import Attempt, Stage, StormDevice
from ftc_storm.network import DeviceAddress, LoopbackNetwork
from ftc_storm.plan import StormPlan
from ftc_storm.weather import Direction

__all__ = ["Fleet", "Tally"]

_TIMER_SLACK_S = 0.002
_AT_A_TIME = 64
"""Things of the agenda done per wake-up, some of which cost half a millisecond."""
_DATAGRAMS_AT_A_TIME = 32
"""Read of each socket per wake-up, some microseconds each: more than can be answered meanwhile."""


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
        """The longest time that a datagram waited until its device heard it: the devices are that slow."""
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
        self._agenda: Agenda[Callable[[], None]] = Agenda()
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
            at = began + device.plan.at_s
            self._agenda.add(at, Rank.POWERING_ON, partial(self._power_on, device, at))
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
        del self._attempts[attempt.key]
        attempt.release()
        if self._waiting:
            self._begin_at(monotonic(), self._waiting.popleft())

    def _conclude(self, attempt: Attempt, now: float) -> None:
        device = attempt.device
        settled, stage = device.settled, device.stage
        if not attempt.peer.closed:
            attempt.gave_up = attempt.outcome is None
            attempt.peer.close(now)
            self._send_all(attempt, now)
        wait = device.conclude(attempt, now, self._plan.backoff_first_s, self._random)
        self._end(attempt)
        if device.failures:
            self.tally.refusals[device.refusal] += 1
        elif stage is Stage.BOOTSTRAPPING:
            self.tally.bootstrapped += 1
            self._bootstrapped(self.tally.bootstrapped)
        else:
            self.tally.onboarded += 1
        if wait is not None:
            self.tally.retries += wait > 0
            self._begin_at(now + wait, device)
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
        self._begin_at(now + self._plan.reboot_s, device)
        return True

    # --- datagrams ---------------------------------------------------------------------------------

    def _readable(self, index: int) -> None:
        for datagram in self._network.sockets[index].receive(_DATAGRAMS_AT_A_TIME):
            key = (index, datagram.origin)
            attempt = self._attempts.get(key)
            if attempt is None:
                continue  # for an association that has ended
            device = attempt.device
            for delay in self._fate(device, Direction.TO_DEVICE, device.datagrams_in):
                at = datagram.received_at + delay
                if delay <= 0:
                    self._arrive(key, datagram.payload, at)
                else:
                    self._agenda.add(at, Rank.NETWORK, partial(self._arrive, key, datagram.payload, at))
            device.datagrams_in += 1
        self._arm()

    def _arrive(self, key: tuple[int, Origin], payload: bytes, at: float) -> None:
        """A datagram is at its device, which hears it when its turn comes."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return
        if not attempt.inbox:
            self._agenda.add(at, attempt.rank, partial(self._attend, attempt))
        attempt.inbox.append((payload, at))

    def _hear(self, attempt: Attempt, now: float) -> bool:
        """Whatever has come for a device; False if that was its end."""
        while attempt.inbox and not attempt.over:
            payload, arrived_at = attempt.inbox.popleft()
            self.tally.lag_s = max(self.tally.lag_s, now - arrived_at)
            if self._befall(attempt, now):
                return False
            attempt.hear(payload, now)
            self._send_all(attempt, now)
        return True

    def _send_all(self, attempt: Attempt, now: float) -> None:
        device, (index, origin) = attempt.device, attempt.key
        sock = self._network.sockets[index]
        for payload in attempt.peer.take_datagrams():
            for delay in self._fate(device, Direction.TO_SERVER, device.datagrams_out):
                if delay <= 0:
                    sock.send(payload, origin)
                else:
                    self._agenda.add(now + delay, Rank.NETWORK, partial(sock.send, payload, origin))
            device.datagrams_out += 1

    def _fate(self, device: StormDevice, direction: Direction, number: int) -> tuple[float, ...]:
        weather = self._plan.weather
        if weather.calm:
            return (0.0,)
        fate = weather.fate(self._plan.seed, device.plan.index, direction, number)
        self.tally.lost += not fate
        return fate

    # --- time --------------------------------------------------------------------------------------

    def _attend(self, attempt: Attempt) -> None:
        """A device's turn: it hears what has come before it looks at the clock, as a device does.

        What falls due for it through the simulator's lateness alone is so not sent again in vain.
        """
        if self._attempts.get(attempt.key) is not attempt:
            return
        now = monotonic()
        if attempt.armed is not None and attempt.armed[1] <= now + _TIMER_SLACK_S:
            attempt.armed = None
        elif not attempt.inbox:
            return  # it had its turn meanwhile
        if not self._hear(attempt, now):
            return
        due = attempt.peer.get_timer(now + _TIMER_SLACK_S)
        if due is not None and due <= now + _TIMER_SLACK_S:
            attempt.peer.handle_timer(now + _TIMER_SLACK_S)
        self._settle(attempt, now)

    def _settle(self, attempt: Attempt, now: float) -> None:
        """After an event: send, conclude, or wait."""
        self._send_all(attempt, now)
        if attempt.over or now >= attempt.deadline:
            self._conclude(attempt, now)
            return
        due = min(attempt.peer.get_timer(now) or attempt.deadline, attempt.deadline)
        # An entry earlier than needed fires for nothing, cheaply: only an earlier or a better one is made.
        rank, armed = attempt.rank, attempt.armed
        if armed is None or rank < armed[0] or due < armed[1]:
            attempt.armed = (rank, due)
            self._agenda.add(due, rank, partial(self._attend, attempt))
            self._arm()

    def _begin_at(self, due: float, device: StormDevice) -> None:
        self._agenda.add(due, device.next_rank, partial(self._begin, device))
        self._arm()

    def _arm(self) -> None:
        due = self._agenda.next_due
        if due is None or self._ended.done():
            return
        if self._timer is None or due < self._timer[0]:
            if self._timer is not None:
                self._timer[1].cancel()
            self._timer = (due, self._loop.call_at(due, self._act))

    def _act(self) -> None:
        self._timer = None
        for _ in range(_AT_A_TIME):
            work = self._agenda.pop(monotonic() + _TIMER_SLACK_S)
            if work is None:
                break
            work()
        self._arm()
