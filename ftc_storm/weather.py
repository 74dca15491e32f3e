"""What a network does to datagrams: loss, duplication, reordering, delay.

A pure function of seed, device, direction and the datagram's number: the same datagram of the same device
meets the same fate in every run, whatever the others do meanwhile.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Direction", "Weather"]

_KEY = struct.Struct("<qIBI")
_DRAWS = struct.Struct("<5I")
_SCALE = 2.0**-32


class Direction(IntEnum):
    """Which way a datagram goes."""

    TO_SERVER = 0
    TO_DEVICE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Shares (0 to 1) of the datagrams of either direction, and times in seconds.

    `loss` are dropped. Of the others `duplication` arrive twice, and `reordering` are held back for
    `reordering_delay_s` more, so that later ones overtake them. Each copy takes `delay_s`, and up to
    `jitter_s` on top. Raises ValueError for a share or a time that cannot be.
    """

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_delay_s: float = 0.05
    delay_s: float = 0.0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        """Check."""
        if not all(0.0 <= share <= 1.0 for share in (self.loss, self.duplication, self.reordering)):
            raise ValueError("loss, duplication and reordering are shares from 0 to 1")
        if min(self.reordering_delay_s, self.delay_s, self.jitter_s) < 0:
            raise ValueError("a datagram cannot arrive before it was sent")

    @property
    def calm(self) -> bool:
        """Whether nothing happens to any datagram."""
        return not (self.loss or self.duplication or self.reordering or self.delay_s or self.jitter_s)

    def fate(self, seed: int, device: int, direction: Direction, number: int) -> tuple[float, ...]:
        """The delays, in seconds, after which copies of this datagram arrive; none if it is lost.

        `number` counts the device's datagrams in this direction from 0.
        """
        key = _KEY.pack(seed, device, direction, number)
        draws = _DRAWS.unpack(hashlib.blake2b(key, digest_size=_DRAWS.size).digest())
        lost, held_back, doubled, first, second = (draw * _SCALE for draw in draws)
        if lost < self.loss:
            return ()
        delay = self.delay_s + (self.reordering_delay_s if held_back < self.reordering else 0.0)
        if doubled < self.duplication:
            return (delay + first * self.jitter_s, self.delay_s + second * self.jitter_s)
        return (delay + first * self.jitter_s,)
