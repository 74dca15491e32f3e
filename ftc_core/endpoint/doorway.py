"""The way of a ClientHello: through the cookie gate, into the queue of those who wait, to a handshake.

Joins the gate, which knows who is there, to the admission, which knows whose turn it is. No socket and no
clock: datagrams and times come in, answers and proven peers come out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ftc_core.dtls.cookie import CookieGate, Proven, Reply
from ftc_core.dtls.record import is_plaintext_handshake
from ftc_core.endpoint.admission import Admission, Place, Shed, network_of
from ftc_core.endpoint.udp import Datagram, Origin
from ftc_core.limits import HELLO_MAX_BYTES
from ftc_core.observability.counts import EndpointCounts

__all__ = ["Doorway", "Entrant", "PeerKey"]

PeerKey = tuple[int, Origin]
"""Tells peers apart: the number of the socket that heard them, and their address."""


class Entrant(NamedTuple):
    """Who is let in: its ClientHello with OpenSSL's connection, and the datagrams that came behind it."""

    key: PeerKey
    proven: Proven
    place: Place
    followers: list[bytes]


class Doorway:
    """Takes ClientHellos as they come and gives them back one by one, as they may begin their handshakes."""

    def __init__(self, gate: CookieGate, admission: Admission[PeerKey], counts: EndpointCounts) -> None:
        self._gate = gate
        self._admission = admission
        self._counts = counts
        self._closed = False

    def close(self) -> None:
        """Let nobody in from now on."""
        self._closed = True

    @property
    def waiting(self) -> int:
        """How many have proven themselves and wait."""
        return 0 if self._closed else self._admission.waiting

    def hear(self, key: PeerKey, datagram: Datagram, now: float) -> bool:
        """Take a ClientHello, or drop one that is too long; False if it brings no good cookie, and is for
        `challenge`.
        """
        if self._closed:
            self._counts.shed[Shed.DRAINING] += 1
            return True
        origin = datagram.origin
        if len(datagram.payload) > HELLO_MAX_BYTES:
            self._counts.hellos["rejected"] += 1
            return True
        if not self._gate.recognises(datagram.payload, _address(origin), now):
            return False
        network = network_of(origin.host)
        if not self._admission.enqueue(key, network, datagram.payload, datagram.received_at, now):
            self._counts.hellos["turned_away"] += 1
        return True

    def expects(self, key: PeerKey, datagram: Datagram) -> bool:
        """Whether something from the address of an association is for `follow`: a handshake record in
        plaintext, while a ClientHello of that address waits to replace the association.
        """
        return self._admission.waits(key) and is_plaintext_handshake(datagram.payload)

    def follow(self, key: PeerKey, datagram: Datagram) -> None:
        """Something else came from somebody without an association: kept if its ClientHello waits."""
        self._admission.follow(key, datagram.payload)

    def challenge(self, datagram: Datagram, now: float, *, known: bool) -> tuple[bytes, ...]:
        """What to answer to a ClientHello without a good cookie; nothing is kept of it.

        `known` says that its address has an association, which a new one would replace.
        """
        origin = datagram.origin
        if not self._admission.may_challenge(
            network_of(origin.host), datagram.received_at, now, replacing=known
        ):
            return ()
        match self._gate.receive(datagram.payload, _address(origin), now):
            case Reply(datagrams):
                self._counts.hellos["challenged"] += 1
                return datagrams
            case _:  # recognised by OpenSSL alone is none: it will be sent again
                self._counts.hellos["rejected"] += 1
                return ()

    def enter(self, now: float, place_of: Callable[[PeerKey], Place | None]) -> Entrant | None:
        """The next one to be let in. `place_of` gives the place of the association that it would replace."""
        while not self._closed and (hello := self._admission.next_hello(now)) is not None:
            proven = self._gate.receive(hello.datagram, _address(hello.key[1]), now)
            if isinstance(proven, Proven):
                place = self._admission.admit(hello, place_of(hello.key))
                if place is not None:
                    return Entrant(hello.key, proven, place, hello.followers)
                self._counts.hellos["turned_away"] += 1
                continue
            # Its cookie was good and OpenSSL finds fault with the rest, or the cookie's time ended just now.
            self._admission.turn_away(hello)
            self._counts.hellos["rejected"] += 1
        return None

    def handshake_ended(self, place: Place, *, issuing_ca: bytes | None, refused: bool) -> None:
        """A handshake was completed with a certificate of `issuing_ca`, or ended in vain."""
        if issuing_ca is not None:
            self._admission.handshake_completed(place, issuing_ca)
        else:
            self._admission.handshake_failed(place, refused=refused)

    def leave(self, place: Place) -> None:
        """A peer is gone."""
        self._admission.leave(place)


def _address(origin: Origin) -> bytes:
    """What a cookie is bound to."""
    return f"{origin.host}|{origin.port}".encode()
