"""A bounded number of places, shared so that nobody can take the last of them from the others.

The rule is the dynamic threshold with which switches share their buffers (Choudhury and Hahne, 1998): whoever
wants one more place must hold fewer than GREED times those that are free. One greedy holder alone ends at
GREED ÷ (GREED + 1) of all places, n of them at GREED ÷ (n · GREED + 1) each, and some places stay free for
whoever comes next, without a reservation for anybody. Where holders have holders within them (a fleet its
networks), the same rule holds again, on what is left to the wider one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

__all__ = ["GREED", "FairShare"]

GREED = 4
"""One holder alone may have 4 places in 5; of two, each 4 in 9."""


class FairShare:
    """`limit` places. Each is held in the names of one or more holders, the widest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._held: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return self._taken

    def held(self, holder: Hashable) -> int:
        """Places that `holder` has."""
        return self._held[holder]

    def has_room(self, *holders: Hashable) -> bool:
        """Whether one more place may be taken in these names."""
        room = self._limit - self._taken
        for holder in holders:
            room = GREED * room - self._held[holder]
            if room <= 0:
                return False
        return True

    def take(self, *holders: Hashable) -> None:
        """Take a place; whoever calls has asked `has_room`, or gives one back for it."""
        self._taken += 1
        for holder in holders:
            self._held[holder] += 1

    def give_back(self, *holders: Hashable) -> None:
        """Give back a place that was taken in these names."""
        self._taken -= 1
        for holder in holders:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
