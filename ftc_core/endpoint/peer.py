"""One peer: its DTLS association, the CoAP layer over it, and the LwM2M session over that.

A peer is driven by events (`receive_datagram`, `handle_timer`, `resume` after a commit), never by a task of
its own; after each of them `take_datagrams` gives what is to be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import Event
from ftc_core.dtls.alert import Alert, alert_name
from ftc_core.dtls.association import ApplicationData, Association, Closed, HandshakeCompleted
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.admission import Place
from ftc_core.endpoint.udp import Origin

__all__ = ["CoapFactory", "Peer", "Session", "SessionFactory"]

_NAMED_ALERTS = frozenset(Alert)


class Session(Protocol):
    """What a peer's LwM2M conversation must be able to do; one per association, after its handshake."""

    @property
    def finished(self) -> bool:
        """Whether the association is to be closed: all is said and acknowledged."""
        ...

    def handle_event(self, event: Event, now: float) -> None:
        """One event of the CoAP layer."""
        ...

    def get_timer(self) -> float | None:
        """When `handle_timer` is due, or None."""
        ...

    def handle_timer(self, now: float) -> None:
        """A deadline passed."""
        ...

    def association_closed(self, now: float) -> None:
        """The association is gone; nothing can be sent any more."""
        ...


CoapFactory = Callable[[int], BlockwiseLayer]
"""Makes the CoAP layer of an association that carries messages of at most so many bytes."""


class SessionFactory(Protocol):
    """Makes the session of a peer whose handshake is complete.

    `wake` must be called (on the loop's thread) whenever the session has something to send outside of an
    event: after a commit.
    """

    def __call__(
        self, path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        """The session of the peer at `origin`, whose certificate has `path`."""
        ...


class Peer:
    """The state of one proven address."""

    def __init__(
        self,
        origin: Origin,
        association: Association,
        new_coap: CoapFactory,
        new_session: SessionFactory,
        wake: Callable[[Peer], None],
    ) -> None:
        self.origin = origin
        self.association = association
        self.closed_cause: Closed | None = None
        self.place: Place | None = None
        """What it takes up at the server that let it in."""
        self.issuing_ca: bytes | None = None
        """Fingerprint of the CA that its certificate comes from, once its handshake is complete."""
        self._new_coap = new_coap
        self._new_session = new_session
        self._wake = wake
        self._coap: BlockwiseLayer | None = None
        self._session: Session | None = None
        self._established = False

    @property
    def closed(self) -> bool:
        """Whether the association has ended."""
        return self.closed_cause is not None

    @property
    def established(self) -> bool:
        """Whether the handshake completed."""
        return self._established

    @property
    def handshake_failure(self) -> tuple[str, str] | None:
        """How a handshake ended that did not complete: its cause, and the alert's name or ""."""
        if self.established or self.closed_cause is None:
            return None
        alert = self.closed_cause.alert
        # A peer may send any number: those without a name are one.
        name = "" if alert is None else alert_name(alert) if alert in _NAMED_ALERTS else "other"
        return self.closed_cause.cause.lower(), name

    def receive_datagram(self, payload: bytes, now: float) -> None:
        """One datagram from this peer's address."""
        self.association.receive_datagram(payload, now)
        self._advance(now)

    def handle_timer(self, now: float) -> None:
        """Some deadline of the association, the exchange layer or the session has passed."""
        self.association.handle_timer(now)
        if self._coap is not None:
            self._coap.handle_timer(now)
        if self._session is not None:
            self._session.handle_timer(now)
        self._advance(now)

    def resume(self, now: float) -> None:
        """The session has something to send."""
        self._advance(now)

    def close(self, now: float) -> None:
        """Send close_notify and end."""
        self.association.close()
        self._advance(now)

    def abandon(self, now: float) -> None:
        """The device began again from this address: end without a word, for nobody listens any more."""
        if not self.closed:
            self._leave(now)

    def take_datagrams(self) -> list[bytes]:
        """The datagrams to send now."""
        return self.association.datagrams_to_send()

    def get_timer(self, now: float) -> float | None:
        """The earliest of all deadlines."""
        earliest = self.association.get_timer(now)
        for layer in (self._coap, self._session):
            if layer is not None:
                deadline = layer.get_timer()
                if deadline is not None and (earliest is None or deadline < earliest):
                    earliest = deadline
        return earliest

    def _advance(self, now: float) -> None:
        self._take_events(now)
        if self._converse(now):
            self._take_events(now)

    def _take_events(self, now: float) -> None:
        while (event := self.association.next_event()) is not None:
            match event:
                case ApplicationData(data):
                    if self._coap is not None:
                        self._coap.receive_datagram(data, now)
                case HandshakeCompleted(path=path):
                    self._established = True
                    self.issuing_ca = path.issuing_cas[0]
                    self._coap = self._new_coap(self.association.max_plaintext_bytes)
                    self._session = self._new_session(
                        path, self.origin, self._coap, lambda: self._wake(self), now
                    )
                case Closed():
                    self._end(event, now)

    def _converse(self, now: float) -> bool:
        """Let the layers above speak; whether that was the end of the association."""
        coap, session = self._coap, self._session
        if coap is None or session is None or not self.association.established:
            return False
        while (event := coap.next_event()) is not None:
            session.handle_event(event, now)
        for datagram in coap.datagrams_to_send():
            self.association.send(datagram)
        if session.finished:
            self.association.close()
        return session.finished

    def _end(self, cause: Closed, now: float) -> None:
        if self.closed_cause is None:
            self.closed_cause = cause
            self._leave(now)

    def _leave(self, now: float) -> None:
        """Part from the session, which knows us by its `wake`: a closed peer's memory goes at once."""
        session, self._session, self._coap = self._session, None, None
        if session is not None:
            session.association_closed(now)
