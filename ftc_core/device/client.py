"""The device's side of bootstrap and registration, as state machines without I/O.

Theory of operation
===================
Both clients take inputs and give effects as the server's sessions do (`lwm2m.effects`). Unless its
`ClientModel` says otherwise, the device behaves as a widely used client does [I], where LwM2M 1.0 leaves room
and where that client departs from it:

::

    REQUESTING ── 2.xx ──▶ WRITING ── POST /bs ──▶ FINISHING ── its 2.04 acknowledged, ──▶ DONE
      │   ▲ DELETE and       │  ▲ DELETE: 2.02     │           or close_notify
      │   └ PUT are ignored  │  └ PUT: 2.04        │ 2.04 lost
      ▼                      ▼                     ▼
      └─ refused, no answer ─┴─ a write is bad ────┴──▶ FAILED

If the account has security mode EST, ENROLLING comes before DONE: the device makes its key, asks for the
certificate on the same association, and is DONE with the answer, or else FAILED.

- The Bootstrap-Request repeats the query of the bootstrap URI, and says `iep` and `mccv` only if there is
  one: a device that was never claimed sends `ep` alone, and a proof if it has a claim secret.
- What overtakes the answer to the Bootstrap-Request is ignored.
- A bad write is answered with 4.00 and ends the bootstrap.
- Bootstrap-Finish is answered by an empty acknowledgement and a separate confirmable 2.04; the bootstrap has
  succeeded once that was acknowledged, or the server closed the association.
- A GET is ignored.

A client by the book (LwM2M 1.0 to 1.2) answers Discover and Read, and Finish at once; it has succeeded when
the server closes, or has not asked again for FINISH_LINGER_S. One that `packs` asks for a Bootstrap-Pack
first, which is all that it needs; if it is refused, or cannot use it, it sends a Bootstrap-Request. It knows
EST from 1.1 on.

How the outcome is kept, and when the next attempt starts, is the business of `device.bundle` and
`device.retry`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiocoap.numbers.codes import Code

from ftc_core.device.effects import UNANSWERED, Ignore, RespondSeparately
from ftc_core.device.enrolment import Enrolment, SigningRequest, make_signing_request
from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.device.objects import AccountObjects, RefusedError
from ftc_core.device.retry import asked_wait_s
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S, EST_ENROLMENT_TIMEOUT_S
from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.messages import diagnostic_of, dotted, refusal, request, response
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance
from ftc_core.lwm2m.request import CLAIM_PROOF_PARAMETER
from ftc_core.lwm2m.timeline import Step, Timeline

if TYPE_CHECKING:
    from aiocoap.message import Message

    from ftc_core.coap.events import FailureCause

__all__ = [
    "BootstrapClient",
    "BootstrapClientEffect",
    "BootstrapFailed",
    "BootstrapOutcome",
    "Succeeded",
]


@dataclass(frozen=True, slots=True)
class BootstrapOutcome:
    """What the server wrote, in `lwm2m` with a certificate and key that the device has made itself (EST).

    `device_id` is the `iep` of its Bootstrap-Finish, "" if it said none.
    """

    lwm2m: SecurityInstance
    server: ServerInstance
    bootstrap: SecurityInstance
    device_id: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The bootstrap is complete."""

    outcome: BootstrapOutcome
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class BootstrapFailed:
    """The bootstrap ended. `code` is that of a refused request of the device, else ""; `text` says why.

    `retry_after_s` are the seconds to wait at least, as the server asked: 0 if it did not.
    """

    code: str
    text: str
    steps: tuple[Step, ...]
    retry_after_s: int = 0


BootstrapClientEffect = SendRequest | Respond | RespondSeparately | Ignore | Succeeded | BootstrapFailed


class _State(Enum):
    IDLE = auto()
    REQUESTING = auto()
    WRITING = auto()
    FINISHING = auto()
    ENROLLING = auto()
    DONE = auto()
    FAILED = auto()


_UNDER_WAY = frozenset({_State.REQUESTING, _State.WRITING, _State.FINISHING, _State.ENROLLING})
_ASKING = frozenset({_State.REQUESTING, _State.ENROLLING})
_LINK_FORMAT = 40
FINISH_LINGER_S = 4.0
"""Seconds after the answer to Bootstrap-Finish: had it been lost, it would have been asked for again."""


class BootstrapClient:
    """One attempt to bootstrap, over one association.

    `bootstrap` is the account to start from, with the device's own certificate and key: its URI's query is
    repeated in the request. `device_id` is the one that an earlier bootstrap gave, or "". `model` says which
    client it is. `sign` makes a key and a certificate request for an endpoint name, device ID and account ID.
    `now` is monotonic seconds. Inputs never raise, whatever the server sends.
    """

    def __init__(
        self,
        endpoint_name: str,
        bootstrap: SecurityInstance,
        *,
        device_id: str = "",
        client_version: str = "",
        model: ClientModel = IZUMA,
        sign: Callable[[str, str, str], SigningRequest] = make_signing_request,
    ) -> None:
        self._model = model
        self._enrolment = Enrolment(endpoint_name, model, sign)
        self._query = _bootstrap_query(endpoint_name, bootstrap.server_uri, device_id, client_version)
        self._objects = AccountObjects(bootstrap, model)
        self._state = _State.IDLE
        self._effects: deque[BootstrapClientEffect] = deque()
        self._timeline = Timeline()
        self._deadline: float | None = None
        self._packing = model.packs
        self._label = 0
        self._requested: int | None = None
        self._finish: int | None = None
        self._outcome: BootstrapOutcome | None = None

    def next_effect(self) -> BootstrapClientEffect | None:
        """The next thing to do, or None."""
        return self._effects.popleft() if self._effects else None

    # --- inputs ----------------------------------------------------------------------------------

    def start(self, now: float, *, claim_proof: str = "") -> None:
        """Send the Bootstrap-Request; once. `claim_proof` is for this association, "" if there is none."""
        if self._state is not _State.IDLE:
            return
        if claim_proof:
            self._query += (f"{CLAIM_PROOF_PARAMETER}={claim_proof}",)
        self._state = _State.REQUESTING
        self._deadline = now + BOOTSTRAP_SESSION_TIMEOUT_S
        self._ask(now)

    def request_sent(self, label: int, exchange: int) -> None:
        """The request was sent; its answer will come under this number."""
        if label == self._label:
            self._requested = exchange

    def response_received(self, exchange: int, message: Message, now: float) -> None:
        """The server answered the Bootstrap-Request, Bootstrap-Pack-Request or certificate request."""
        if self._state not in _ASKING or exchange != self._requested:
            return
        self._timeline.end(now, dotted(message))
        if self._state is _State.ENROLLING:
            self._enrolled(message, now)
        elif self._packing and message.code == Code.CONTENT:
            self._unpack(message, now)
        elif self._packing:
            self._packing = False
            self._ask(now)
        elif message.code is not None and message.code.is_successful():
            self._state = _State.WRITING
        else:
            code = dotted(message)
            wait = asked_wait_s(code, message.opt.max_age)
            self._fail(diagnostic_of(message), now, code=code, retry_after_s=wait)

    def exchange_failed(self, exchange: int, cause: FailureCause, now: float) -> None:
        """The server did not answer a request."""
        if self._state in _ASKING and exchange == self._requested:
            self._fail(UNANSWERED[cause], now)

    def request_received(self, exchange: int, message: Message, now: float) -> None:
        """The server sent a request."""
        if self._state is _State.REQUESTING:
            self._effects.append(Ignore(exchange))
            return
        if self._state is not _State.WRITING:
            error = FtcError(Reason.PATH_NOT_FOUND)
            self._effects.append(Respond(exchange, refusal(error), error))
            return
        if self._model.izuma and message.code == Code.GET:
            self._effects.append(Ignore(exchange))
            return
        name = _name(message)
        if name is None or (message.code == Code.GET and not self._may_read(message)):
            error = FtcError(Reason.METHOD_NOT_ALLOWED)
            self._effects.append(Respond(exchange, refusal(error), error))
            return
        self._timeline.begin(name, now)
        try:
            self._perform(exchange, message, now)
        except RefusedError as error:
            self._answer(exchange, response(Code.BAD_REQUEST, payload=str(error).encode()), now)
            self._fail(str(error), now)

    def response_acknowledged(self, exchange: int, now: float) -> None:
        """The server acknowledged the separate answer to Bootstrap-Finish."""
        if self._state is _State.FINISHING and exchange == self._finish:
            self._finished(now)

    def response_lost(self, exchange: int, now: float) -> None:
        """The server never acknowledged it."""
        if self._state is _State.FINISHING and exchange == self._finish:
            self._fail("the answer to Bootstrap-Finish was lost", now)

    def association_closed(self, now: float) -> None:
        """The server sent close_notify, or the association was lost."""
        if self._state is _State.FINISHING and not self._enrolls():
            self._finished(now)
        elif self._state in _UNDER_WAY:
            self._fail("the association was closed", now)

    def get_timer(self) -> float | None:
        """When `handle_timer` is due, or None."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        if self._deadline is None or now < self._deadline:
            return
        if self._state is _State.FINISHING and not self._model.izuma:
            self._finished(now)
        else:
            self._fail("the bootstrap took too long", now)

    # --- inside ----------------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        model = self._model
        if self._packing:
            self._timeline.begin("Bootstrap-Pack-Request", now)
            query = (*self._query, f"acc=/0/{model.bootstrap_instance}")
            accept = content.SENML_CBOR if model.content_format is None else model.content_format
            message = request(Code.GET, ("bspack",), query=query, accept=accept)
        else:
            self._timeline.begin("Bootstrap-Request", now)
            pct = () if model.content_format is None else (f"pct={model.content_format}",)
            message = request(Code.POST, ("bs",), query=(*self._query, *pct))
        self._label += 1
        self._effects.append(SendRequest(self._label, message))

    def _unpack(self, message: Message, now: float) -> None:
        try:
            self._objects.unpack(message.opt.content_format, message.payload)
            self._outcome = self._written(device_id="")
        except RefusedError:
            self._packing = False
            self._ask(now)
        else:
            self._finished(now)

    def _may_read(self, message: Message) -> bool:
        """Whether this GET is a Bootstrap-Discover or Bootstrap-Read that the model answers."""
        model = self._model
        return model.discovers and (message.opt.accept == _LINK_FORMAT or model.version >= VERSION_1_1)

    def _perform(self, exchange: int, message: Message, now: float) -> None:
        path = message.opt.uri_path
        if message.code == Code.PUT:
            self._objects.write(path, message.opt.content_format, message.payload)
            self._answer(exchange, response(Code.CHANGED), now)
        elif message.code == Code.DELETE:
            self._objects.delete(path)
            self._answer(exchange, response(Code.DELETED), now)
        elif message.code == Code.GET:
            self._answer(exchange, self._tell(message), now)
        else:
            self._finish_with(exchange, message, now)

    def _tell(self, message: Message) -> Message:
        path, accept = message.opt.uri_path, message.opt.accept
        if accept == _LINK_FORMAT:
            links = self._objects.discover(path)
            return response(Code.CONTENT, content_format=_LINK_FORMAT, payload=links)
        wanted = content.SENML_CBOR if accept is None else int(accept)
        values = self._objects.read(path, wanted)
        return response(Code.CONTENT, content_format=wanted, payload=values)

    def _answer(self, exchange: int, answer: Message, now: float) -> None:
        self._effects.append(Respond(exchange, answer))
        self._timeline.end(now, dotted(answer))

    def _finish_with(self, exchange: int, message: Message, now: float) -> None:
        if not self._model.izuma:
            self._objects.check()
        self._outcome = self._written(device_id=_parameter(message.opt.uri_query, "iep"))
        if self._model.izuma and self._enrolls() and not self._outcome.device_id:
            raise RefusedError("BS FIN fails: missing EST iep param")
        self._state = _State.FINISHING
        self._finish = exchange
        if self._model.izuma:
            self._effects.append(RespondSeparately(exchange, response(Code.CHANGED)))
        else:
            self._effects.append(Respond(exchange, response(Code.CHANGED)))
            self._deadline = now + FINISH_LINGER_S
            if self._enrolls():
                self._finished(now)

    def _enrolls(self) -> bool:
        """Whether the device has to ask for its certificate."""
        return self._outcome is not None and self._outcome.lwm2m.mode == SecurityMode.EST

    def _finished(self, now: float) -> None:
        """All is written."""
        self._timeline.end(now, "2.04")
        if self._enrolls():
            self._enroll(now)
        else:
            self._succeed()

    def _enroll(self, now: float) -> None:
        outcome = self._outcome
        assert outcome is not None  # noqa: S101 - `_enrolls` said so
        self._state, self._deadline = _State.ENROLLING, now + EST_ENROLMENT_TIMEOUT_S
        self._timeline.begin("EST enrolment", now)
        try:
            message = self._enrolment.request(outcome.lwm2m, outcome.device_id)
        except ValueError as error:
            self._fail(f"no certificate can be asked for: {error}", now)
            return
        self._label += 1
        self._effects.append(SendRequest(self._label, message))

    def _enrolled(self, message: Message, now: float) -> None:
        outcome = self._outcome
        assert outcome is not None  # noqa: S101 - set on the way to ENROLLING
        if message.code is None or not message.code.is_successful():
            self._fail(diagnostic_of(message), now, code=dotted(message))
            return
        try:
            self._outcome = replace(outcome, lwm2m=self._enrolment.completed(outcome.lwm2m, message))
        except ValueError as error:
            self._fail(f"the certificate cannot be used: {error}", now)
        else:
            self._succeed()

    def _written(self, *, device_id: str) -> BootstrapOutcome:
        return BootstrapOutcome(
            lwm2m=self._objects.lwm2m_account(),
            server=self._objects.server(),
            bootstrap=self._objects.bootstrap_account(),
            device_id=device_id,
        )

    def _succeed(self) -> None:
        outcome = self._outcome
        assert outcome is not None  # noqa: S101 - set on the way to FINISHING
        self._state, self._deadline = _State.DONE, None
        self._effects.append(Succeeded(outcome, self._timeline.steps()))

    def _fail(self, text: str, now: float, *, code: str = "", retry_after_s: int = 0) -> None:
        self._timeline.end(now)
        self._state, self._deadline = _State.FAILED, None
        self._effects.append(BootstrapFailed(code, text, self._timeline.steps(), retry_after_s))


def _name(message: Message) -> str | None:
    """The operation that a bootstrap server's request asks for, None if it asks for none."""
    path = message.opt.uri_path
    if message.code == Code.PUT:
        return f"Bootstrap-Write /{'/'.join(path)}"
    if message.code == Code.DELETE:
        return f"Bootstrap-Delete /{'/'.join(path)}"
    if message.code == Code.GET:
        operation = "Discover" if message.opt.accept == _LINK_FORMAT else "Read"
        return f"Bootstrap-{operation} /{'/'.join(path)}"
    if message.code == Code.POST and path == ("bs",):
        return "Bootstrap-Finish"
    return None


def _bootstrap_query(endpoint_name: str, uri: str, device_id: str, client_version: str) -> tuple[str, ...]:
    query = [f"ep={endpoint_name}"]
    own = [item for item in urlsplit(uri).query.split("&") if item]
    if own:
        query += own
        if device_id and not _parameter(own, "iep"):
            query.append(f"iep={device_id}")
        if client_version:
            query.append(f"mccv={client_version}")
    return tuple(query)


def _parameter(query: tuple[str, ...] | list[str], name: str) -> str:
    values = (item.removeprefix(f"{name}=") for item in query if item.startswith(f"{name}="))
    return next(values, "")
