"""A device of Izuma's family in the test's hand, to Bootstrap-Finish and on; blocking, as `RawPeer` is."""

from __future__ import annotations

from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.codec import decode
from ftc_core.dtls.events import ApplicationData
from ftc_core.lwm2m.messages import dotted
from tests.raw_peer import POST, RawPeer, coap_request, uri

__all__ = ["ACCEPT", "CONTENT_FORMAT", "EstPeer"]

CONTENT_FORMAT, ACCEPT = 12, 17
_GOOD_ANSWERS = {Code.DELETE: Code.DELETED, Code.PUT: Code.CHANGED, Code.POST: Code.CHANGED}


class EstPeer:
    """Speaks over `peer`, whose handshake is complete; `written` are the server's requests."""

    def __init__(self, peer: RawPeer) -> None:
        self._peer = peer
        self.written: list[Message] = []

    def bootstrap(self, endpoint_name: str) -> EstPeer:
        """Send a Bootstrap-Request, which must be granted, and take all that is written."""
        request = coap_request(POST, uri("/bs", b"ep=" + endpoint_name.encode()), 0x7000)
        # A token of four bytes, by which the server takes it for one of that family, and asks for nothing.
        self._peer.association.send(b"\x44" + request[1:4] + bytes(4) + request[6:])
        assert self._peer.pump(self._finished), self.written
        return self

    @property
    def device_id(self) -> str:
        """As Bootstrap-Finish tells it."""
        (query,) = self.written[-1].opt.uri_query
        return query.removeprefix("iep=")

    @property
    def security(self) -> Message:
        """The Bootstrap-Write of the LwM2M account."""
        return next(message for message in self.written if message.opt.uri_path == ("0", "0"))

    def enroll(self, csr: bytes, *, accept: int | None = None, path: str = "/est/sen") -> Message:
        """The answer to a certificate request."""
        options = uri(path)
        if accept is not None:
            options.append((ACCEPT, accept.to_bytes(2, "big")))
        return self._peer.ask(POST, options, csr)

    def told(self, csr: bytes, *, accept: int | None = None) -> str:
        """The code and the text of a refusal."""
        answer = self.enroll(csr, accept=accept)
        return f"{dotted(answer)} {answer.payload.decode()}"

    def _finished(self) -> bool:
        """Answer the requests that have come; whether Bootstrap-Finish was among them."""
        finished = False
        while self._peer.events:
            event = self._peer.events.pop(0)
            if not isinstance(event, ApplicationData):
                continue
            message = decode(event.data)
            if message.code not in _GOOD_ANSWERS:
                continue
            self.written.append(message)
            code = _GOOD_ANSWERS[message.code]
            answer = bytes((0x60 | len(message.token), code)) + message.mid.to_bytes(2, "big") + message.token
            self._peer.sock.send(self._peer.record(answer))
            finished = message.code is Code.POST
        return finished
