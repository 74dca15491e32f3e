"""A client association and a server (cookie gate and association) in one process, joined without sockets.

`Pair.run` carries datagrams until both sides are silent. What the network does to them is the test's choice:
`network` gets each datagram with its direction and number, and gives those that arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from ftc_core.dtls.association import ApplicationData, Association, Closed, Event, HandshakeCompleted
from ftc_core.dtls.context import PrivateKey, client_context, server_context
from ftc_core.dtls.cookie import CookieGate, Proven, Rejected, Reply
from ftc_core.dtls.record import is_client_hello
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathVerifier, TrustEvaluator, fixed_anchors
from ftc_core.limits import DTLS_MTU_BYTES
from tests.certificates import Credential, Manufacturer

__all__ = [
    "ADDRESS",
    "SECRET",
    "Network",
    "Pair",
    "client_for",
    "device_verifier",
    "fragments",
    "gate",
    "server_credential",
    "wait_until_done",
]

ADDRESS = b"192.0.2.1|40000"
SECRET = bytes(range(32))

RETRANSMISSION_ROUNDS = 3
"""After 1, 2 and 4 seconds; one loss takes one round, or two if the retransmission raced its twin."""

Direction = Literal["to server", "to client"]
Network = Callable[[Direction, int, bytes], Iterable[bytes]]


def perfect(_direction: Direction, _number: int, datagram: bytes) -> Iterable[bytes]:
    """Delivers everything once."""
    return (datagram,)


@cache
def server_authority() -> Manufacturer:
    """The CA that clients trust for servers; one for the whole run."""
    return Manufacturer("Test Server CA")


@cache
def server_credential() -> Credential:
    """The server's own P-256 identity."""
    return server_authority().device("server", key=ec.generate_private_key(ec.SECP256R1()))


@cache
def standard_server_context() -> SSL.Context:
    """A server context with `server_credential`."""
    credential = server_credential()
    return server_context([credential.certificate], credential.private_key)


def gate(secret: bytes = SECRET) -> CookieGate:
    """A fresh gate of the standard server."""
    return CookieGate(standard_server_context(), secret)


def client_for(device: Credential, suites: Sequence[str] | None = None) -> SSL.Context:
    """A client context that presents `device` with its intermediates."""
    chain = [device.certificate, *device.intermediates]
    if suites is None:
        return client_context(chain, device.private_key)
    return client_context(chain, device.private_key, suites=suites)


def device_verifier(*authorities: Manufacturer) -> PathVerifier:
    """What the server does: trust these CAs for devices."""
    evaluator = TrustEvaluator(fixed_anchors(authority.der for authority in authorities))
    return lambda chain: evaluator.evaluate(chain, datetime.now(UTC))


def server_verifier() -> PathVerifier:
    """What a client does: trust the test server CA for servers."""
    evaluator = TrustEvaluator(
        fixed_anchors([server_authority().der]), purpose=ExtendedKeyUsageOID.SERVER_AUTH
    )
    return lambda chain: evaluator.evaluate(chain, datetime.now(UTC))


def fragments(hello: bytes, size: int) -> list[bytes]:
    """A ClientHello's record cut into records with `size` bytes of its body each (RFC 6347 §4.2.3)."""
    number, message, body = int.from_bytes(hello[5:11], "big"), hello[13:25], hello[25:]
    cut: list[bytes] = []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        record_number = (number + len(cut)).to_bytes(6, "big")
        place = start.to_bytes(3, "big") + len(part).to_bytes(3, "big")
        length = (len(message) + len(part)).to_bytes(2, "big")
        cut.append(hello[:5] + record_number + length + message[:6] + place + part)
    return cut


class Pair:
    """Both ends of one UDP 4-tuple; the server end follows the edge's rule for ClientHellos."""

    def __init__(
        self,
        client: SSL.Context,
        verify_device: PathVerifier,
        *,
        verify_server: PathVerifier | None = None,
        server: SSL.Context | None = None,
        network: Network = perfect,
        now: float | None = None,
        session: SSL.Session | None = None,
        chains: PresentedChains | None = None,
        mtu: int = DTLS_MTU_BYTES,
        identity: tuple[x509.Certificate, PrivateKey] | None = None,
    ) -> None:
        self.now = time.monotonic() if now is None else now
        self.gate = CookieGate(server or standard_server_context(), SECRET, mtu=mtu)
        self.network = network
        self.sent: list[tuple[Direction, bytes]] = []
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.server: Association | None = None
        self.client = Association.connect(
            client,
            verify_server or server_verifier(),
            self.now,
            mtu=mtu,
            session=session,
            identity=identity,
        )
        self._verify_device = verify_device
        self._chains = chains
        self._replies: list[bytes] = []

    def run(self) -> Pair:
        """Carry datagrams until nobody has any."""
        while self._carry("to server", self.client.datagrams_to_send()) or self._carry(
            "to client", self._from_server()
        ):
            pass
        self._note_events()
        return self

    def fire_timers(self) -> None:
        """Let both ends look at the real clock."""
        self.now = time.monotonic()
        self.client.handle_timer(self.now)
        if self.server is not None:
            self.server.handle_timer(self.now)

    def to_server(self, datagram: bytes) -> Rejected | Reply | Proven | None:
        """One datagram at the server's edge, from the client's address."""
        if is_client_hello(datagram) and not (self.server and self.server.owns_client_hello(datagram)):
            outcome = self.gate.receive(datagram, ADDRESS, self.now)
            if isinstance(outcome, Reply):
                self._replies += outcome.datagrams
            elif isinstance(outcome, Proven):
                self.server = Association.accept(outcome, self._verify_device, self.now, chains=self._chains)
            return outcome
        if self.server is not None:
            self.server.receive_datagram(datagram, self.now)
        self._note_events()
        return None

    @property
    def accepted(self) -> Association:
        """The server's association, which must exist."""
        assert self.server is not None
        return self.server

    @property
    def completed(self) -> bool:
        """Whether both ends completed the handshake."""
        return self.client.established and self.server is not None and self.server.established

    def client_closed(self) -> Closed:
        """The client's last event, which must be Closed."""
        assert isinstance(self.client_events[-1], Closed), self.client_events
        return self.client_events[-1]

    def server_closed(self) -> Closed:
        """The server's last event, which must be Closed."""
        assert isinstance(self.server_events[-1], Closed), self.server_events
        return self.server_events[-1]

    def server_handshake(self) -> HandshakeCompleted:
        """The server's first event, which must be HandshakeCompleted."""
        assert isinstance(self.server_events[0], HandshakeCompleted), self.server_events
        return self.server_events[0]

    def server_received(self) -> list[bytes]:
        """All application data that the server got."""
        return [event.data for event in self.server_events if isinstance(event, ApplicationData)]

    def client_received(self) -> list[bytes]:
        """All application data that the client got."""
        return [event.data for event in self.client_events if isinstance(event, ApplicationData)]

    def _from_server(self) -> list[bytes]:
        datagrams, self._replies = self._replies, []
        return datagrams + (self.server.datagrams_to_send() if self.server else [])

    def _carry(self, direction: Direction, datagrams: list[bytes]) -> bool:
        for datagram in datagrams:
            number = sum(1 for sent, _ in self.sent if sent == direction)
            self.sent.append((direction, datagram))
            for arriving in self.network(direction, number, datagram):
                if direction == "to server":
                    self.to_server(arriving)
                else:
                    self.client.receive_datagram(arriving, self.now)
        return bool(datagrams)

    def _note_events(self) -> None:
        while (event := self.client.next_event()) is not None:
            self.client_events.append(event)
        while self.server is not None and (event := self.server.next_event()) is not None:
            self.server_events.append(event)


def wait_until_done(pairs: list[Pair]) -> None:
    """Run what can run; then, as often as needed, wait for the earliest timers and fire all that are due."""
    for pair in pairs:
        pair.run()
    until = time.monotonic() + 2**RETRANSMISSION_ROUNDS
    while waiting := [pair for pair in pairs if not pair.completed]:
        assert time.monotonic() < until, [pair.sent for pair in waiting]
        now = time.monotonic()
        ends = [end for pair in waiting for end in (pair.client, pair.server) if end is not None]
        timers = [timer for end in ends if (timer := end.get_timer(now)) is not None]
        time.sleep(max(0.0, min(timers) - now) + 0.02)
        for pair in waiting:
            pair.fire_timers()
            pair.run()
