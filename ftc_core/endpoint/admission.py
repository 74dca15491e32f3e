"""Whom to let in when more devices come than can be served: pure rules, with the time passed in.

A handshake costs public-key work, and one that is begun in vain is lost work, so the choice is made before
it, between peers that have proven their addresses and wait for an answer (`waiting_hellos`):

- Fleets take turns. A fleet is the devices of one issuing CA. A ClientHello does not say which one it is of:
  taken is what the last handshake from its network showed. A network is a /24 of IPv4 or a /56 of IPv6, a
  size in which one site or one carrier's pool lives. Networks that showed nothing yet are a fleet of their
  own, and so are those whose last handshake was refused, and those that only ever left theirs unfinished.
- Places are bounded and shared (`fair_share`): those of peers on their way (waiting or in their handshake),
  and those of associations.
- Whoever waits may be answered late: the device sends the same ClientHello again and again (after 1, 2, 4 s,
  RFC 6347 §4.2.4.1), keeps its place by that, and is answered once. Who falls silent is forgotten. The wait
  itself is bounded at its beginning: an address is asked to prove itself only if half of a device's patience
  is enough for those in front of it. So there is always work at hand for some seconds, which the back-off of
  those who were not heard cannot leave idle.

Nothing is kept of an address that has not proven itself, and of a network no more than its fleet, after a
handshake. Every refusal here is silence: the device's own retransmission, then its back-off, bring it back.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from ftc_core.endpoint.fair_share import FairShare
from ftc_core.endpoint.waiting_hellos import WaitingHello, WaitingHellos
from ftc_core.limits import (
    APPROACHING_MAX,
    ASSOCIATIONS_MAX,
    HELLO_FOLLOWERS_MAX,
    HELLO_MAX_BYTES,
    HELLO_PATIENCE_S,
    HELLO_STALE_S,
    NETWORKS_KNOWN_MAX,
)

__all__ = ["Admission", "Place", "Shed", "network_of"]

Key = TypeVar("Key", bound=Hashable)

_NEWCOMERS = b"newcomers"
_REFUSED = b"refused"
_UNFINISHED = b"unfinished"
"""Fleets beside those of issuing CAs, whose names are fingerprints of 32 bytes."""


class Shed(StrEnum):
    """Why a ClientHello was dropped in silence: label `cause` of `ftc_shed_total`."""

    BUSY = "busy"
    """Not asked for a proof of its address: others of its network or fleet wait for long."""
    SHARE = "share"
    """Proven, but its network, its fleet, or all together have as many peers on their way as they may."""
    STALE = "stale"
    """Read so late that the next one is on its way, or of a device that fell silent while it waited."""
    ASSOCIATIONS = "associations"
    """There is no room for another association."""
    DRAINING = "draining"
    """The server is about to stop."""


def network_of(host: str) -> str:
    """The /24 or /56 of a numeric address, in a form of its own; an IPv4-mapped one counts as IPv4."""
    return _ipv6_network(host) if ":" in host else host.rpartition(".")[0]


@lru_cache(maxsize=4_096)
def _ipv6_network(host: str) -> str:
    address = ipaddress.IPv6Address(host)
    if address.ipv4_mapped is not None:
        return network_of(str(address.ipv4_mapped))
    return address.packed[:7].hex()


@dataclass(slots=True)
class Place:
    """What one peer takes up, from its handshake to its end. In whose names: `fleet` as of then."""

    fleet: bytes
    network: str
    shaking_hands: bool = True
    taken: bool = True


class Admission(Generic[Key]):
    """Decides for one server in one process. Counts in `shed` what it drops.

    `max_associations` bounds peers, `max_approaching` those that wait or are in their handshake,
    `max_networks` those whose fleet is remembered; `patience_s` is the silence after which a device is
    taken to have given up.
    """

    def __init__(
        self,
        shed: Counter[str],
        *,
        max_associations: int = ASSOCIATIONS_MAX,
        max_approaching: int = APPROACHING_MAX,
        patience_s: float = HELLO_PATIENCE_S,
        max_networks: int = NETWORKS_KNOWN_MAX,
    ) -> None:
        self._shed = shed
        self._patience_s = patience_s
        self._max_networks = max_networks
        self._associations = FairShare(max_associations)
        self._approaching = FairShare(max_approaching)
        self._waiting: WaitingHellos[Key] = WaitingHellos()
        self._fleet_of: OrderedDict[str, bytes] = OrderedDict()
        # How long the last one of each fleet waited that came from a network of which nobody waited, and when
        # it was taken from the queue.
        self._last_wait: dict[bytes, tuple[float, float]] = {}

    @property
    def waiting(self) -> int:
        """ClientHellos that wait for their turn."""
        return len(self._waiting)

    @property
    def approaching(self) -> int:
        """Peers that wait or are in their handshake."""
        return len(self._approaching)

    def may_challenge(self, network: str, heard_at: float, now: float, *, replacing: bool = False) -> bool:
        """Whether to ask a peer of `network`, heard at `heard_at`, for a proof of its address. No is counted.

        `replacing` says that it has an association, which a new one would replace.
        """
        if now - heard_at > HELLO_STALE_S:
            self._shed[Shed.STALE] += 1
            return False
        fleet = self._fleet(network)
        if not replacing and not self._associations.has_room(fleet, network):
            self._shed[Shed.ASSOCIATIONS] += 1
            return False
        if not self._approaching.has_room(fleet, network) or self._congested(fleet, network, now):
            self._shed[Shed.BUSY] += 1
            return False
        return True

    def enqueue(self, key: Key, network: str, datagram: bytes, heard_at: float, now: float) -> bool:
        """Let a proven ClientHello, heard at `heard_at`, wait for its turn; False (counted) if it may not.

        Of one peer only the newest waits.
        """
        if (waiting := self._waiting.get(key)) is not None:
            self._waiting.refresh(waiting, datagram, heard_at)
            return True
        self._forget_silent(now)
        fleet = self._fleet(network)
        if not self._approaching.has_room(fleet, network):
            self._shed[Shed.SHARE] += 1
            return False
        self._approaching.take(fleet, network)
        self._waiting.add(WaitingHello(key, datagram, fleet, network, heard_at, heard_at))
        return True

    def waits(self, key: Key) -> bool:
        """Whether a ClientHello of this peer waits."""
        return self._waiting.get(key) is not None

    def follow(self, key: Key, datagram: bytes) -> None:
        """A later datagram of a peer that waits: the rest of a ClientHello in fragments. Bounded."""
        hello = self._waiting.get(key)
        if hello is None or len(hello.followers) == HELLO_FOLLOWERS_MAX:
            return
        if hello.size + len(datagram) <= HELLO_MAX_BYTES:
            hello.followers.append(datagram)

    def next_hello(self, now: float) -> WaitingHello[Key] | None:
        """Take the ClientHello whose turn it is. Then call `admit` or `turn_away`, once."""
        self._forget_silent(now)
        hello = self._waiting.pop()
        if hello is not None:
            self._note_wait(hello, now)
        return hello

    def admit(self, hello: WaitingHello[Key], replaced: Place | None = None) -> Place | None:
        """The place of a peer that begins its handshake, maybe in that of its own former association.

        None (and counted, and `replaced` stands) if there is no room for another association.
        """
        fleet, network = hello.fleet, hello.network
        if replaced is not None:
            self.leave(replaced)
        elif not self._associations.has_room(fleet, network):
            self._shed[Shed.ASSOCIATIONS] += 1
            self.turn_away(hello)
            return None
        self._associations.take(fleet, network)
        return Place(fleet, network)

    def turn_away(self, hello: WaitingHello[Key]) -> None:
        """A ClientHello that was taken did not become a peer."""
        self._approaching.give_back(hello.fleet, hello.network)

    def handshake_completed(self, place: Place, issuing_ca: bytes) -> None:
        """A peer is authenticated: its network's fleet is that of `issuing_ca`, a fingerprint."""
        self._end_handshake(place, issuing_ca)

    def handshake_failed(self, place: Place, *, refused: bool) -> None:
        """A handshake ended in vain: we refused the peer, or it gave up."""
        self._end_handshake(place, _REFUSED if refused else _UNFINISHED)

    def leave(self, place: Place) -> None:
        """A peer is gone. Idempotent."""
        if place.shaking_hands:
            place.shaking_hands = False
            self._approaching.give_back(place.fleet, place.network)
        if place.taken:
            place.taken = False
            self._associations.give_back(place.fleet, place.network)

    def _end_handshake(self, place: Place, fleet: bytes) -> None:
        if not place.shaking_hands:
            return
        place.shaking_hands = False
        self._approaching.give_back(place.fleet, place.network)
        # One lost device says nothing of a network that has shown its fleet.
        if fleet is not _UNFINISHED or place.network not in self._fleet_of:
            self._fleet_of[place.network] = fleet
            self._fleet_of.move_to_end(place.network)
            if len(self._fleet_of) > self._max_networks:
                self._fleet_of.popitem(last=False)

    def _fleet(self, network: str) -> bytes:
        return self._fleet_of.get(network, _NEWCOMERS)

    def _congested(self, fleet: bytes, network: str, now: float) -> bool:
        """Whether half of the patience would be spent by waiting behind others.

        Behind those of the same network, if it has any; else as long as the last one who came like this, for
        its fleet has so many networks.
        """
        much = self._patience_s / 2
        if (first := self._waiting.first_came_at(fleet, network)) is not None:
            return now - first > much
        waited, at = self._last_wait.get(fleet, (0.0, now))
        return waited > much and now - at < self._patience_s

    def _note_wait(self, hello: WaitingHello[Key], now: float) -> None:
        if not self._waiting.has_fleet(hello.fleet):
            self._last_wait.pop(hello.fleet, None)
        elif hello.alone:
            self._last_wait[hello.fleet] = (now - hello.came_at, now)

    def _forget_silent(self, now: float) -> None:
        while (hello := self._waiting.pop_silent(now - self._patience_s)) is not None:
            self._shed[Shed.STALE] += 1
            self._note_wait(hello, now)
            self.turn_away(hello)
