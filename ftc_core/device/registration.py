"""The device's side of the registration interface, as a state machine without I/O.

Inputs and effects as in `device.client`; one request is under way at a time. The location that a Register
gave belongs to the association's session here, but is the same for every session of one device (PRODUCT §2:
`/rd/<account id>/<device id>`).

Sources: LwM2M 1.0.2 TS §5.3 and §8.2.3; the query is that of a widely used client [I], which says the
account both as `d` and, from its server URI, as `aid`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.device.effects import UNANSWERED
from ftc_core.device.retry import Reaction, after_registration
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.messages import diagnostic_of, dotted, refusal, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocoap.message import Message

    from ftc_core.coap.events import FailureCause

__all__ = [
    "Operation",
    "OperationDone",
    "OperationFailed",
    "RegistrationClient",
    "RegistrationClientEffect",
]

_LINK_FORMAT = 40
"""Content-Format of application/link-format (RFC 6690)."""


class Operation(StrEnum):
    """What was asked for."""

    REGISTER = "Register"
    UPDATE = "Update"
    DEREGISTER = "De-register"


_ACCEPTED = {
    Operation.REGISTER: Code.CREATED,
    Operation.UPDATE: Code.CHANGED,
    Operation.DEREGISTER: Code.DELETED,
}


@dataclass(frozen=True, slots=True)
class OperationDone:
    """The server granted it. `location` is the registration's path, () once it was ended."""

    operation: Operation
    location: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationFailed:
    """The server refused it with `code` and `text`, or did not answer (`code` is "").

    The reaction BOOTSTRAP_AGAIN says that the credentials were refused; RETRY means to register afresh.
    """

    operation: Operation
    code: str
    text: str
    reaction: Reaction


RegistrationClientEffect = SendRequest | Respond | OperationDone | OperationFailed


class RegistrationClient:
    """One device's registration, over one association. Inputs never raise, whatever the server sends.

    `endpoint_name` is the CN of the client certificate, `account_id` the `aid` of the server's URI,
    `lifetime` in seconds. `location` is that of a registration which an earlier session made, if any.
    """

    def __init__(
        self,
        endpoint_name: str,
        account_id: str,
        *,
        lifetime: int = 86_400,
        binding: str = "U",
        client_version: str = "",
        lwm2m_version: str = "1.0",
        object_links: str = "</1/0>,</3/0>",
        location: Sequence[str] = (),
    ) -> None:
        query = [f"ep={endpoint_name}", f"lt={lifetime}", f"lwm2m={lwm2m_version}"]
        query += [f"d={account_id}", f"b={binding}"]
        query.append(f"aid={account_id}")
        if client_version:
            query.append(f"mccv={client_version}")
        self._register_query = tuple(query)
        self._object_links = object_links.encode()
        self._location = tuple(location)
        self._effects: deque[RegistrationClientEffect] = deque()
        self._operation: Operation | None = None
        self._label = 0
        self._in_flight: int | None = None

    @property
    def location(self) -> tuple[str, ...]:
        """The registration's path, () while there is none."""
        return self._location

    def next_effect(self) -> RegistrationClientEffect | None:
        """The next thing to do, or None."""
        return self._effects.popleft() if self._effects else None

    # --- what the owner asks for -----------------------------------------------------------------

    def register(self) -> None:
        """Send a Register. Raises RuntimeError if another request is under way."""
        message = request(
            Code.POST,
            ("rd",),
            query=self._register_query,
            content_format=_LINK_FORMAT,
            payload=self._object_links,
        )
        self._begin(Operation.REGISTER, message)

    def update(self, *, lifetime: int | None = None) -> None:
        """Send an Update. Raises RuntimeError if a request is under way, or there is no registration."""
        query = () if lifetime is None else (f"lt={lifetime}",)
        self._begin(Operation.UPDATE, request(Code.POST, self._registered(), query=query))

    def deregister(self) -> None:
        """Send a De-register. Raises RuntimeError as `update` does."""
        self._begin(Operation.DEREGISTER, request(Code.DELETE, self._registered()))

    # --- inputs ----------------------------------------------------------------------------------

    def request_sent(self, label: int, exchange: int) -> None:
        """The request was sent; its answer will come under this number."""
        if label == self._label and self._operation is not None:
            self._in_flight = exchange

    def response_received(self, exchange: int, message: Message) -> None:
        """The server answered."""
        operation = self._end(exchange)
        if operation is None:
            return
        if message.code != _ACCEPTED[operation]:
            self._fail(operation, dotted(message), diagnostic_of(message))
            return
        if operation is Operation.REGISTER:
            self._location = message.opt.location_path
        elif operation is Operation.DEREGISTER:
            self._location = ()
        self._effects.append(OperationDone(operation, self._location))

    def exchange_failed(self, exchange: int, cause: FailureCause) -> None:
        """The server did not answer."""
        operation = self._end(exchange)
        if operation is not None:
            self._fail(operation, "", UNANSWERED[cause])

    def request_received(self, exchange: int, message: Message) -> None:
        """The server sent a request: this device has no objects that it could ask for."""
        del message
        error = FtcError(Reason.PATH_NOT_FOUND)
        self._effects.append(Respond(exchange, refusal(error), error))

    def association_closed(self) -> None:
        """The association is gone."""
        operation, self._operation, self._in_flight = self._operation, None, None
        if operation is not None:
            self._fail(operation, "", "the association was closed")

    # --- inside ----------------------------------------------------------------------------------

    def _registered(self) -> tuple[str, ...]:
        if not self._location:
            raise RuntimeError("not registered")
        return self._location

    def _begin(self, operation: Operation, message: Message) -> None:
        if self._operation is not None:
            raise RuntimeError(f"{self._operation} is under way")
        self._operation = operation
        self._label += 1
        self._effects.append(SendRequest(self._label, message))

    def _end(self, exchange: int) -> Operation | None:
        if exchange != self._in_flight:
            return None
        operation, self._operation, self._in_flight = self._operation, None, None
        return operation

    def _fail(self, operation: Operation, code: str, text: str) -> None:
        if code:
            # The server knows no such registration, or will not have it: the next step begins afresh.
            self._location = ()
        self._effects.append(OperationFailed(operation, code, text, after_registration(code)))
