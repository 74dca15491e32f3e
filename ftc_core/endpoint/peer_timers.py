"""When to look at which peer again: one deadline stands for each, the earliest that was asked for.

An entry that is earlier than needed fires for nothing, cheaply, so a deadline that moves away moves nothing
here. What an earlier deadline makes void stays in the heap until there is as much void as valid, and then all
of it goes: a peer that is told to wait for a day leaves nothing behind at each of its messages.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["PeerTimers"]

Key = TypeVar("Key", bound=Hashable)

_VOID_MIN = 64
"""Void entries that are not worth a rebuild."""


class PeerTimers(Generic[Key]):
    """Keys and the monotonic time, in seconds, at which each is due. Holds keys alone, not what they name."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._standing: dict[Key, tuple[float, int]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """Entries that take up memory, valid and void."""
        return len(self._heap)

    @property
    def earliest(self) -> float | None:
        """When something may be due; None if nothing stands."""
        return self._heap[0][0] if self._heap else None

    def ask(self, key: Key, at: float) -> bool:
        """See that `key` is due at `at` or before; whether that is earlier than what stood."""
        standing = self._standing.get(key)
        if standing is not None and standing[0] <= at:
            return False
        entry = self._standing[key] = (at, next(self._numbers))
        heapq.heappush(self._heap, (*entry, key))
        if len(self._heap) > 2 * len(self._standing) + _VOID_MIN:
            self._heap = [(*entry, key) for key, entry in self._standing.items()]
            heapq.heapify(self._heap)
        return True

    def forget(self, key: Key) -> None:
        """It is never due. Idempotent."""
        self._standing.pop(key, None)

    def pop_due(self, now: float) -> Key | None:
        """Take the key that has been due for longest at `now`, and has no deadline then; None if none is."""
        while self._heap and self._heap[0][0] <= now:
            at, number, key = heapq.heappop(self._heap)
            if self._standing.get(key) == (at, number):
                del self._standing[key]
                return key
        return None
