"""The contexts of one server, one after the other: each has ticket keys of its own, made with it at random.

    generation 0   |══ seals ══|── opens ──|
    generation 1               |══ seals ══|── opens ──|
    generation 2                           |══ seals ══|── opens ──|
                   └── half a ──┴── half ───┘
                       key's life

Keys seal tickets for half of their life and open them for all of it. A ticket is good for half a key's life
at most (RESUMPTION_LIFETIME_MAX_S), so a change of keys ends none before its time, and no keys are used for
longer than their life (RFC 9325 §3.4). Which generation sealed a ticket is told by the name that begins it.

Which generation it is depends on the clock alone. So processes that were forked with the same generations in
their memory, and look at the same clock, change over at the same moment and open each other's tickets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from OpenSSL import SSL

from ftc_core.limits import TICKET_KEY_LIFETIME_S

__all__ = ["NamedContext", "TicketGenerations"]


@dataclass(frozen=True, slots=True)
class NamedContext:
    """A `server_context`, and the name of its ticket keys; b"" if it gives no tickets."""

    context: SSL.Context
    key_name: bytes


class TicketGenerations:
    """The contexts that seal now and in the `ahead` generations after it, and the one that sealed before.

    `make` gives a new one. Times are seconds, from 0 on, on a clock that all processes of the host share
    (CLOCK_MONOTONIC). Raises what `make` raises.
    """

    def __init__(
        self,
        make: Callable[[], NamedContext],
        now: float,
        *,
        ahead: int = 0,
        key_lifetime_s: float = TICKET_KEY_LIFETIME_S,
    ) -> None:
        self._make: Callable[[], NamedContext] | None = make
        self._ahead = ahead
        self._span_s = key_lifetime_s / 2
        self._made: dict[int, NamedContext] = {}
        self.advance(now)

    def advance(self, now: float) -> None:
        """Forget what is past and, unless `close` was called, make what is missing."""
        number = self._number(now)
        for past in [made for made in self._made if made < number - 1]:
            del self._made[past]
        if self._make is not None:
            for wanted in range(number, number + self._ahead + 1):
                if wanted not in self._made:
                    self._made[wanted] = self._make()

    def close(self) -> None:
        """Make no more: for a process whose keys are to be those of others."""
        self._make = None

    def sealing(self, now: float) -> SSL.Context:
        """What new associations begin under; the last there is, if that for `now` is not there."""
        return self._made[min(self._number(now), max(self._made))].context

    def opening(self) -> Mapping[bytes, SSL.Context]:
        """Those whose tickets are opened, by the names of their keys."""
        return {made.key_name: made.context for made in self._made.values() if made.key_name}

    def next_change(self, now: float) -> float:
        """When another context begins to seal."""
        return (self._number(now) + 1) * self._span_s

    def last_span(self) -> tuple[float, float]:
        """From when until when the last context that was made seals."""
        return max(self._made) * self._span_s, (max(self._made) + 1) * self._span_s

    def _number(self, now: float) -> int:
        return int(now // self._span_s)
