"""Refusals on their way to the store: coalesced as they come, taken in small portions, bounded.

To note one costs microseconds and no I/O, so it may be done in the very step that refuses. A device that is
refused again before its last refusal was taken adds a number, not an entry. Who proved his certificate's key
comes first and has half of the room to himself: however many strangers knock, they crowd nobody out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime

from ftc_core.domain.denial import Refusal, cause_key
from ftc_core.limits import DENIALS_PENDING_MAX

__all__ = ["DenialCollector", "Gathered"]


@dataclass(slots=True)
class Gathered:
    """Refusals of one device for one cause: the last of them, the times (aware) of both ends, how many."""

    refusal: Refusal
    first_at: datetime
    last_at: datetime
    count: int


class DenialCollector:
    """Refusals that were not yet taken, of `limit` devices and causes at most."""

    def __init__(self, limit: int = DENIALS_PENDING_MAX) -> None:
        self._limit = limit
        self._proven: dict[bytes, Gathered] = {}
        self._strangers: dict[bytes, Gathered] = {}

    def __len__(self) -> int:
        return len(self._proven) + len(self._strangers)

    def note(self, refusal: Refusal, at: datetime) -> bool:
        """Add a refusal; False if there is no room for it."""
        key = cause_key(refusal)
        waiting = self._proven if refusal.proven else self._strangers
        if (entry := waiting.get(key)) is not None:
            entry.refusal, entry.last_at = refusal, max(at, entry.last_at)
            entry.count += 1
            return True
        if len(self) >= self._limit or (not refusal.proven and len(waiting) >= self._limit // 2):
            return False
        waiting[key] = Gathered(refusal, at, at, 1)
        return True

    def take(self, limit: int) -> list[Gathered]:
        """Up to `limit` entries, those of proven devices first, in the order in which they came."""
        taken: list[Gathered] = []
        for waiting in (self._proven, self._strangers):
            keys = list(itertools.islice(waiting, limit - len(taken)))
            taken += [waiting.pop(key) for key in keys]
        return taken
