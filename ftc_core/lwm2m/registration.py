"""The server's side of the registration interface, as a state machine without I/O.

Theory of operation
===================
There is one `RegistrationSession` per DTLS association, made with the identity that the client certificate
proved. Each request is judged against that identity first; what passes becomes a `Register`, `Update` or
`Deregister` effect, and the edge answers it by the exchange's number, with `registered`, `updated`,
`deregistered` or `refused`. The session keeps nothing between requests but the exchanges that wait for such
an answer: the registration itself lives in the store, and survives the association. How many exchanges can
wait is bounded by the exchange layer (COAP_PENDING_REQUESTS_MAX).

::

    what is wrong                                       the device gets           what it does then
    no device or account ID in the certificate,         4.03 CREDENTIALS_RELEASED drops its LwM2M credentials
    another endpoint name, another account (aid)                                  and bootstraps again
    the location of another device                      4.04 REGISTRATION_NOT_FOUND registers again
    the application refuses (released, transferred …)   that error's code

Sources: LwM2M 1.0.2 TS §5.3 and §8.2.3, PRODUCT contract §2. Inputs never raise, whatever the peer sends;
an answer for an exchange that does not wait for one of its kind is ignored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m import request as parsed
from ftc_core.lwm2m.effects import Respond
from ftc_core.lwm2m.messages import refusal, response

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "Deregister",
    "DeviceIdentity",
    "Register",
    "RegistrationEffect",
    "RegistrationSession",
    "Update",
]


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What the subject of a client certificate of ours says; "" for a part that is missing.

    CN is the endpoint name, L the device ID, OU the account ID (PRODUCT §2).
    """

    endpoint_name: str
    device_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Register:
    """Register the session's device, then answer with `registered` or `refused`."""

    exchange: int
    identity: DeviceIdentity
    request: parsed.Register


@dataclass(frozen=True, slots=True)
class Update:
    """Update the registration of the session's device, then answer with `updated` or `refused`."""

    exchange: int
    identity: DeviceIdentity
    request: parsed.Update


@dataclass(frozen=True, slots=True)
class Deregister:
    """End the registration of the session's device, then answer with `deregistered` or `refused`."""

    exchange: int
    identity: DeviceIdentity


RegistrationEffect = Respond | Register | Update | Deregister
_Operation = Register | Update | Deregister


class RegistrationSession:
    """One device's registration requests over one association; see the module's theory of operation."""

    def __init__(self, identity: DeviceIdentity) -> None:
        self._identity = identity
        self._effects: deque[RegistrationEffect] = deque()
        self._waiting: dict[int, type[_Operation]] = {}

    def next_effect(self) -> RegistrationEffect | None:
        """The next thing to do, or None."""
        return self._effects.popleft() if self._effects else None

    # --- inputs ----------------------------------------------------------------------------------

    def request_received(self, exchange: int, message: Message) -> None:
        """The device sent a request, of whatever kind."""
        try:
            operation = self._judge(exchange, parsed.parse_registration_request(message))
        except FtcError as error:
            self._effects.append(Respond(exchange, refusal(error), error))
            return
        self._waiting[exchange] = type(operation)
        self._effects.append(operation)

    def registered(self, exchange: int, device_id: str, account_id: str) -> None:
        """A Register took effect: 2.01 with the location `/rd/<account id>/<device id>`."""
        self._answer(exchange, Register, response(Code.CREATED, location=("rd", account_id, device_id)))

    def updated(self, exchange: int) -> None:
        """An Update took effect: 2.04."""
        self._answer(exchange, Update, response(Code.CHANGED))

    def deregistered(self, exchange: int) -> None:
        """A De-register took effect: 2.02."""
        self._answer(exchange, Deregister, response(Code.DELETED))

    def refused(self, exchange: int, error: FtcError) -> None:
        """The application refused a request."""
        if self._waiting.pop(exchange, None) is not None:
            self._effects.append(Respond(exchange, refusal(error), error))

    # --- inside ----------------------------------------------------------------------------------

    def _judge(self, exchange: int, request: parsed.RegistrationRequest) -> _Operation:
        identity = self._identity
        if not (identity.endpoint_name and identity.device_id and identity.account_id):
            raise FtcError(Reason.CREDENTIALS_RELEASED)
        match request:
            case parsed.Register():
                if request.endpoint_name != identity.endpoint_name:
                    raise FtcError(Reason.CREDENTIALS_RELEASED)
                if request.account_id not in (None, identity.account_id):
                    raise FtcError(Reason.CREDENTIALS_RELEASED)
                return Register(exchange, identity, request)
            case parsed.Update() | parsed.Deregister():
                if (request.account_id, request.device_id) != (identity.account_id, identity.device_id):
                    raise FtcError(Reason.REGISTRATION_NOT_FOUND)
                if isinstance(request, parsed.Update):
                    return Update(exchange, identity, request)
                return Deregister(exchange, identity)

    def _answer(self, exchange: int, kind: type[_Operation], message: Message) -> None:
        if self._waiting.get(exchange) is kind:
            del self._waiting[exchange]
            self._effects.append(Respond(exchange, message))
