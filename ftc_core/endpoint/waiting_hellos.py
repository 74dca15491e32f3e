"""The ClientHellos that have proven their address and wait for a handshake, and whose turn it is.

Fleets take turns; within a fleet its networks take turns; within a network the first to come is the first to
be served. So a fleet that sends ten times as many, or from a thousand networks, waits longer by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["WaitingHello", "WaitingHellos"]

Key = TypeVar("Key")
"""What tells peers apart: address, port, and where they were heard."""


@dataclass(slots=True)
class WaitingHello(Generic[Key]):
    """One of them. `came_at` is when the peer began to wait, `heard_at` when it last said so, seconds.

    `alone` if nobody of its network waited when it came; `followers` are what came behind it from the peer.
    """

    key: Key
    datagram: bytes
    fleet: bytes
    network: str
    came_at: float
    heard_at: float
    alone: bool = True
    followers: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return len(self.datagram) + sum(map(len, self.followers))


class WaitingHellos(Generic[Key]):
    """A queue of queues of queues: fleets, their networks, their hellos. Every step takes constant time."""

    def __init__(self) -> None:
        self._by_silence: OrderedDict[Key, WaitingHello[Key]] = OrderedDict()
        self._fleets: OrderedDict[bytes, OrderedDict[str, OrderedDict[Key, WaitingHello[Key]]]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._by_silence)

    def get(self, key: Key) -> WaitingHello[Key] | None:
        """What waits for this peer."""
        return self._by_silence.get(key)

    def has_fleet(self, fleet: bytes) -> bool:
        """Whether anything of `fleet` waits."""
        return fleet in self._fleets

    def add(self, hello: WaitingHello[Key]) -> None:
        """Let `hello`, of a peer for which nothing waits, wait for its turn."""
        self._by_silence[hello.key] = hello
        networks = self._fleets.setdefault(hello.fleet, OrderedDict())
        hello.alone = hello.network not in networks
        networks.setdefault(hello.network, OrderedDict())[hello.key] = hello

    def refresh(self, hello: WaitingHello[Key], datagram: bytes, heard_at: float) -> None:
        """The peer of `hello` sent another, or the same once more: it keeps its place in the queue."""
        hello.datagram, hello.heard_at = datagram, heard_at
        hello.followers.clear()
        self._by_silence.move_to_end(hello.key)

    def first_came_at(self, fleet: bytes, network: str) -> float | None:
        """When the first in the queue of this network came; None if nobody waits there."""
        networks = self._fleets.get(fleet)
        queue = None if networks is None else networks.get(network)
        return None if queue is None else next(iter(queue.values())).came_at

    def pop(self) -> WaitingHello[Key] | None:
        """Take the one whose turn it is; its network and its fleet go to the end of their queues."""
        if not self._fleets:
            return None
        networks = next(iter(self._fleets.values()))
        hello = next(iter(next(iter(networks.values())).values()))
        self.remove(hello)
        if hello.network in networks:
            networks.move_to_end(hello.network)
        if hello.fleet in self._fleets:
            self._fleets.move_to_end(hello.fleet)
        return hello

    def pop_silent(self, since: float) -> WaitingHello[Key] | None:
        """Take the one that was silent for the longest, if it was `since` then, whosever turn it is."""
        silent = next(iter(self._by_silence.values()), None)
        if silent is None or silent.heard_at >= since:
            return None
        self.remove(silent)
        return silent

    def remove(self, hello: WaitingHello[Key]) -> None:
        """Take this one."""
        del self._by_silence[hello.key]
        networks = self._fleets[hello.fleet]
        queue = networks[hello.network]
        del queue[hello.key]
        if not queue:
            del networks[hello.network]
            if not networks:
                del self._fleets[hello.fleet]
