"""The edge of a bootstrap session, for tests that play the device."""

from __future__ import annotations

from itertools import count

from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.lwm2m.bootstrap import BootstrapEffect, BootstrapSession
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.messages import request, response
from ftc_core.lwm2m.sequence import BootstrapGrant

__all__ = ["GRANT", "Edge"]

GRANT = BootstrapGrant(
    account_id="a" * 32,
    device_id="d" * 32,
    endpoint_name="dev-1",
    lwm2m_uri="coaps://[2001:db8::1]:5684",
    lwm2m_server_certificate=b"lwm2m ca",
    lwm2m_end_entity_certificate=b"lwm2m server",
    client_certificate=b"client certificate",
    client_key=b"client key",
    bootstrap_uri="coaps://bootstrap.example:5784",
    bootstrap_server_certificate=b"bootstrap ca",
    device_certificate=b"device certificate",
    short_server_id=7,
    lifetime=3600,
    binding="UQ",
)


class Edge:
    """Performs a session's effects as an endpoint does, and remembers them."""

    def __init__(self) -> None:
        self.session = BootstrapSession()
        self.now = 100.0
        self.numbers = count(1)
        self.in_flight: dict[int, Message] = {}
        self.answered: dict[int, Message] = {}
        self.effects: list[BootstrapEffect] = []
        self.token = bytes(4)
        """Of the device's requests; Izuma's family has four bytes."""
        self.accept: int | None = None

    def settle(self) -> list[BootstrapEffect]:
        """Perform what is due and return it."""
        performed: list[BootstrapEffect] = []
        while (effect := self.session.next_effect()) is not None:
            performed.append(effect)
            if isinstance(effect, SendRequest):
                exchange = next(self.numbers)
                self.in_flight[exchange] = effect.message
                self.session.request_sent(effect.label, exchange)
            elif isinstance(effect, Respond):
                assert effect.exchange not in self.answered
                self.answered[effect.exchange] = effect.message
            elif isinstance(effect, Cancel):
                self.in_flight.pop(effect.exchange, None)
        self.effects += performed
        return performed

    def ask(self, *query: str, path: tuple[str, ...] = ("bs",), code: Code = Code.POST) -> int:
        """The device sends a request."""
        exchange = next(self.numbers)
        message = request(code, path, query=query or ("ep=dev-1",), accept=self.accept)
        message.token = self.token
        self.session.request_received(exchange, message, self.now)
        return exchange

    def grant(self, grant: BootstrapGrant = GRANT) -> list[BootstrapEffect]:
        self.now += 1.0
        self.session.claim_granted(grant, self.now)
        return self.settle()

    def answer(
        self, code: Code, payload: bytes = b"", *, content_format: int | None = None, after_s: float = 1.0
    ) -> list[BootstrapEffect]:
        """The device answers the one request in flight, `after_s` seconds after its last input."""
        ((exchange, _),) = self.in_flight.items()
        del self.in_flight[exchange]
        self.now += after_s
        answer = response(code, content_format=content_format, payload=payload)
        self.session.response_received(exchange, answer, self.now)
        return self.settle()

    def asked(self) -> Message:
        """The one request in flight."""
        ((_, message),) = self.in_flight.items()
        return message
