"""What a simulator does next that cannot do everything at once. Pure: the time is an argument.

Its devices share one core. Served in the order in which their work falls due, thousands that the server has
let in each get a little of it, and none comes to its end in time; so what is soonest done is done first, as
the server does on its side (`ftc_core.endpoint.datagram`). Devices with a CPU of their own need none of this.
"""

from __future__ import annotations

import heapq
import itertools
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["EVERY", "Agenda", "Rank"]

Work = TypeVar("Work")

EVERY = 128
"""One in so many turns is of what has been due for the longest, whatever its rank. In a storm that is a
device to be powered on, and each takes some twenty turns to its end: much oftener, and they would come in
more quickly than others get out.
"""


class Rank(IntEnum):
    """How near its end a piece of work brings a device. The lower, the sooner it is done."""

    NETWORK = 0
    """A datagram that was under way has arrived: no device's work, and microseconds."""
    REGISTERING = 1
    BOOTSTRAPPING = 2
    SHAKING_HANDS = 3
    """The server has answered."""
    KNOCKING = 4
    """The first ClientHello is out."""
    POWERING_ON = 5
    """For the first time, or for another attempt."""


class Agenda(Generic[Work]):
    """Pieces of work, each due at a time in seconds on the clock of `now`.

    Of those that are due the lowest rank comes first, and within a rank what was due first. So that nothing
    waits for ever, each EVERY-th turn is of what was due first of all: behind n such pieces of work, one is
    done after (n + 1) × EVERY turns at the latest, whatever comes meanwhile.
    """

    def __init__(self) -> None:
        self._queues: tuple[list[tuple[float, int, Work]], ...] = tuple([] for _ in Rank)
        self._numbers = itertools.count()
        self._turns = itertools.count(1)

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    @property
    def next_due(self) -> float | None:
        """When there is something to do, or was; None if there never will be."""
        return min((queue[0][0] for queue in self._queues if queue), default=None)

    def add(self, due: float, rank: Rank, work: Work) -> None:
        """Note work; of the same rank and time, what was noted first is done first."""
        heapq.heappush(self._queues[rank], (due, next(self._numbers), work))

    def pop(self, now: float) -> Work | None:
        """Take what is to be done now; None if nothing is due."""
        due = [queue for queue in self._queues if queue and queue[0][0] <= now]
        if not due:
            return None
        oldest_first = next(self._turns) % EVERY == 0
        queue = min(due, key=lambda queue: queue[0][:2]) if oldest_first else due[0]
        return heapq.heappop(queue)[2]
