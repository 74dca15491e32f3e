"""A DTLS peer whose datagrams and CoAP bytes are the test's own choice: a blocking socket, no CoAP layer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aiocoap.message import Message
from aiocoap.numbers.types import Type
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from ftc_core.dtls.association import ApplicationData, Association, Closed
from ftc_core.dtls.context import SUITES, client_context
from ftc_core.dtls.trust import TrustEvaluator, fixed_anchors
from ftc_core.limits import DTLS_MTU_BYTES
from ftc_core.lwm2m.messages import dotted
from tests.certificates import PrivateKey

__all__ = ["DELETE", "GET", "POST", "PUT", "RawPeer", "coap_request", "uri"]

GET, POST, PUT, DELETE = 1, 2, 3, 4
URI_PATH, URI_QUERY = 11, 15
PATIENCE_S = 10.0
SILENCE_S = 0.1
_READ_BYTES = 65_535


def uri(path: str, *query: bytes) -> list[tuple[int, bytes]]:
    """The options of `/path` with these query options, which may hold any bytes."""
    segments = [(URI_PATH, segment.encode()) for segment in path.strip("/").split("/")]
    return segments + [(URI_QUERY, value) for value in query]


def coap_request(code: int, options: list[tuple[int, bytes]], mid: int, payload: bytes = b"") -> bytes:
    """A confirmable request (RFC 7252 §3), its token the message ID; `options` in the order of numbers."""
    token = mid.to_bytes(2, "big")
    encoded, last = bytes((0x42, code)) + token + token, 0
    for number, value in options:
        delta, length, extended = number - last, len(value), b""
        nibble = length
        if length >= 269:
            nibble, extended = 14, (length - 269).to_bytes(2, "big")
        elif length >= 13:
            nibble, extended = 13, bytes((length - 13,))
        assert delta < 13
        encoded += bytes((delta << 4 | nibble,)) + extended + value
        last = number
    return encoded + (b"\xff" + payload if payload else b"")


class RawPeer:
    """One UDP socket, and the newest DTLS association over it.

    `address` is the server's; certificate and key are the device's; `server_ca` is DER. `suites` narrows what
    is offered; with `tickets`, `resume` can follow.
    """

    def __init__(
        self,
        address: tuple[str, int],
        certificate: x509.Certificate,
        key: PrivateKey,
        server_ca: bytes,
        *,
        intermediates: Sequence[x509.Certificate] = (),
        suites: Sequence[str] = SUITES,
        tickets: bool = False,
        mtu: int = DTLS_MTU_BYTES,
    ) -> None:
        self._context = client_context([certificate, *intermediates], key, suites=suites, tickets=tickets)
        self._mtu = mtu
        self._evaluator = TrustEvaluator(
            fixed_anchors([server_ca]), purpose=ExtendedKeyUsageOID.SERVER_AUTH, pin_leaf=True
        )
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(address)
        self.association = self.new_association()
        self.events: list[object] = []
        self._mid = 0

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.association.close()
        for datagram in self.association.datagrams_to_send():
            self.sock.send(datagram)
        self.sock.close()

    def new_association(self, session: SSL.Session | None = None) -> Association:
        """The beginning of another handshake, which may resume `session`; nothing is sent."""
        return Association.connect(
            self._context,
            lambda chain: self._evaluator.evaluate(chain, datetime.now(UTC)),
            time.monotonic(),
            mtu=self._mtu,
            session=session,
        )

    def resume(self) -> None:
        """End the association that stands, and begin another one that resumes its session."""
        session = self.association.session
        assert session is not None
        self.association.close()
        for datagram in self.association.datagrams_to_send():
            self.sock.send(datagram)
        self.events.clear()
        self.association = self.new_association(session)

    def first_flight(self, association: Association) -> bytes:
        """The datagram that the association wants to send first."""
        (datagram,) = association.datagrams_to_send()
        return datagram

    def receive(self, patience_s: float = PATIENCE_S) -> bytes | None:
        """The next datagram, or None if there is silence."""
        self.sock.settimeout(patience_s)
        try:
            return self.sock.recv(_READ_BYTES)
        except TimeoutError:
            return None

    def is_silent(self) -> bool:
        """Whether nothing comes for a while."""
        return self.receive(SILENCE_S) is None

    def pump(self, until: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> bool:
        """Carry datagrams between socket and association until `until`; False if it does not come."""
        deadline = time.monotonic() + patience_s
        while True:
            self._note_events()
            for datagram in self.association.datagrams_to_send():
                self.sock.send(datagram)
            if until():
                return True
            left = deadline - time.monotonic()
            arrived = self.receive(min(left, 0.5)) if left > 0 else None
            if arrived is not None:
                self.association.receive_datagram(arrived, time.monotonic())
            elif left <= 0.5:
                return False

    def connect(self) -> RawPeer:
        """Complete the handshake, which must succeed."""
        assert self.pump(lambda: self.association.established), self.events
        return self

    def closed(self) -> Closed:
        """How the association ended, which it must."""
        self.pump(lambda: any(isinstance(event, Closed) for event in self.events))
        return next(event for event in self.events if isinstance(event, Closed))

    def record(self, plaintext: bytes) -> bytes:
        """One encrypted datagram, not sent."""
        self.association.send(plaintext)
        (datagram,) = self.association.datagrams_to_send()
        return datagram

    def ask(
        self, code: int, options: list[tuple[int, bytes]], payload: bytes = b"", *, mid: int | None = None
    ) -> Message:
        """The answer to a request, piggy-backed or separate."""
        answer = self.try_to_ask(code, options, payload, mid=mid)
        assert answer is not None, "no answer"
        return answer

    def try_to_ask(
        self,
        code: int,
        options: list[tuple[int, bytes]],
        payload: bytes = b"",
        *,
        mid: int | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Message | None:
        """The answer to a request, or None."""
        if mid is None:
            self._mid += 1
            mid = self._mid
        self.association.send(coap_request(code, options, mid, payload))
        answers: list[Message] = []

        def answered() -> bool:
            while self.events:
                event = self.events.pop(0)
                if isinstance(event, ApplicationData):
                    message = Message.decode(event.data)
                    if message.token == mid.to_bytes(2, "big") and not message.code.is_request():
                        answers.append(message)
            return bool(answers)

        self.pump(answered, patience_s=patience_s)
        if not answers:
            return None
        if answers[0].mtype is Type.ACK:
            assert answers[0].mid == mid
        return answers[0]

    def still_works(self) -> bool:
        """Whether the association still carries a request and its answer: GET is not a method of ours."""
        answer = self.try_to_ask(GET, uri("/bs"), patience_s=2.0)
        return answer is not None and dotted(answer) == "4.05"

    def _note_events(self) -> None:
        while (event := self.association.next_event()) is not None:
            self.events.append(event)
