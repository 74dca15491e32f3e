"""Deadlines in one heap, with moved and dropped ones left behind until they surface."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

__all__ = ["Deadlines", "Timed"]


class Timed(Protocol):
    """Something with at most one deadline, in monotonic seconds; None if it has none."""

    deadline: float | None


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """The armed deadlines of many items.

    The item's own `deadline` is the truth: setting it to None disarms, and no search is needed, because an
    entry that disagrees with its item is dropped when it comes to the top.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._armed = 0

    def arm(self, item: T, deadline: float) -> None:
        """Give the item this deadline, in place of any other."""
        item.deadline = deadline
        self._armed += 1  # equal deadlines fall due in the order of arming
        heapq.heappush(self._heap, (deadline, self._armed, item))

    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap:
            deadline, _, item = heap[0]
            if item.deadline == deadline:
                return deadline
            heapq.heappop(heap)
        return None

    def pop_due(self, now: float) -> T | None:
        """The item that is due first, disarmed, or None if nothing is due at `now`."""
        deadline = self.next()
        if deadline is None or deadline > now:
            return None
        _, _, item = heapq.heappop(self._heap)
        item.deadline = None
        return item
