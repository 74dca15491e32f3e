"""The server's side of one bootstrap, as a state machine without I/O.

Theory of operation
===================
There is one `BootstrapSession` per DTLS association. It is driven by inputs (`request_received`,
`claim_granted`, …), each with the time it happened, and answers with effects that the edge takes from
`next_effect()` and performs in order. Inputs never raise, whatever the peer sends; what does not fit the
state is ignored.

::

                 Bootstrap-Request           granted: 2.04, then
    IDLE ──────────────────────────▶ CLAIMING ─────────────────▶ DELETING                 DELETE /0
                                     │    ▲                         │ accepted
                     refused: 4.xx,  │    │                         ▼
                     or 5.xx         │    │              WRITING_LWM2M_SECURITY           PUT /0/0
                                     │    │                         │
                                     ▼    │                         ▼
                                   FAILED │                  WRITING_SERVER               PUT /1/0
                                     ▲    │                         │
         rejected, unanswered, reset │    │                         ▼
         or out of time, in any step │    │            WRITING_BOOTSTRAP_SECURITY         PUT /0/1
                                     │    │ new                     │
                                     │    │ Bootstrap-Request,      ▼
                                     │    │ in any state        FINISHING                 POST /bs
                                     │    │                         │
                                     └────┴─────────────────────────┴──▶ COMPLETED

Rules that the table cannot show:

- **Nothing is written before the claim is durable.** The first request to the device is built in
  `claim_granted`, after the 2.04 that the effects put before it: a client ignores what overtakes it.
- **One request is in flight at a time**; the answer to each is judged before the next is built.
- **The newest Bootstrap-Request wins.** The request in flight is cancelled, lest a block of an old write
  land in a new instance; the older Bootstrap-Request too, if it waits for its answer: its sender moved on.
- **One claim is in flight at a time**, however often the device asks meanwhile. Its outcome serves the newest
  request if that asks for the same; else it is dropped and the newest is claimed.
- A malformed request is answered at once and changes nothing, in any state.
- The grant holds a private key: it is dropped as soon as the sequence ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S
from ftc_core.lwm2m import sequence
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.messages import diagnostic_of, dotted, refusal, response
from ftc_core.lwm2m.request import BootstrapRequest, parse_bootstrap_request
from ftc_core.lwm2m.sequence import BootstrapGrant, SequenceStep
from ftc_core.lwm2m.timeline import Step, Timeline

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "TRANSITIONS",
    "BootstrapEffect",
    "BootstrapInput",
    "BootstrapSession",
    "BootstrapState",
    "Claim",
    "Completed",
    "Failed",
    "Superseded",
]


class BootstrapState(Enum):
    """Where the session stands."""

    IDLE = auto()
    CLAIMING = auto()
    DELETING = auto()
    WRITING_LWM2M_SECURITY = auto()
    WRITING_SERVER = auto()
    WRITING_BOOTSTRAP_SECURITY = auto()
    FINISHING = auto()
    COMPLETED = auto()
    FAILED = auto()


class BootstrapInput(Enum):
    """What moves it."""

    REQUESTED = auto()
    GRANTED = auto()
    ACCEPTED = auto()
    BROKEN = auto()


_S, _I = BootstrapState, BootstrapInput

TRANSITIONS: Mapping[BootstrapState, Mapping[BootstrapInput, BootstrapState]] = {
    _S.IDLE: {_I.REQUESTED: _S.CLAIMING},
    _S.CLAIMING: {_I.REQUESTED: _S.CLAIMING, _I.GRANTED: _S.DELETING, _I.BROKEN: _S.FAILED},
    _S.DELETING: {
        _I.REQUESTED: _S.CLAIMING,
        _I.ACCEPTED: _S.WRITING_LWM2M_SECURITY,
        _I.BROKEN: _S.FAILED,
    },
    _S.WRITING_LWM2M_SECURITY: {
        _I.REQUESTED: _S.CLAIMING,
        _I.ACCEPTED: _S.WRITING_SERVER,
        _I.BROKEN: _S.FAILED,
    },
    _S.WRITING_SERVER: {
        _I.REQUESTED: _S.CLAIMING,
        _I.ACCEPTED: _S.WRITING_BOOTSTRAP_SECURITY,
        _I.BROKEN: _S.FAILED,
    },
    _S.WRITING_BOOTSTRAP_SECURITY: {
        _I.REQUESTED: _S.CLAIMING,
        _I.ACCEPTED: _S.FINISHING,
        _I.BROKEN: _S.FAILED,
    },
    _S.FINISHING: {_I.REQUESTED: _S.CLAIMING, _I.ACCEPTED: _S.COMPLETED, _I.BROKEN: _S.FAILED},
    _S.COMPLETED: {_I.REQUESTED: _S.CLAIMING},
    _S.FAILED: {_I.REQUESTED: _S.CLAIMING},
}
"""The whole machine: an input that a state does not list is ignored in it."""

_STEPS: Mapping[BootstrapState, SequenceStep] = {
    _S.DELETING: sequence.DELETE_SECURITY,
    _S.WRITING_LWM2M_SECURITY: sequence.WRITE_LWM2M_SECURITY,
    _S.WRITING_SERVER: sequence.WRITE_SERVER,
    _S.WRITING_BOOTSTRAP_SECURITY: sequence.WRITE_BOOTSTRAP_SECURITY,
    _S.FINISHING: sequence.FINISH,
}
"""The states in which a request of ours is in flight."""

_REQUEST_STEP = "Bootstrap-Request"

_CAUSES: Mapping[FailureCause, tuple[Reason, str]] = {
    FailureCause.TIMED_OUT: (Reason.INTERNAL_9, "the device did not answer"),
    FailureCause.RESET: (Reason.INTERNAL_7, "the device reset the exchange"),
    FailureCause.TRANSFER_BROKEN: (Reason.INTERNAL_8, "the device broke the block-wise transfer"),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """Decide this request's claim, then call `claim_granted` or `claim_refused`, once."""

    request: BootstrapRequest


@dataclass(frozen=True, slots=True)
class Completed:
    """The device acknowledged Bootstrap-Finish: record it, then close the association."""

    account_id: str
    device_id: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The bootstrap ended; the device has been answered if it can be. A claim that was granted stays.

    `error` is the refusal, or INTERNAL_7 (reset or lost), _8 (a write was rejected) or _9 (timed out), with
    the step and the device's answer in its text.
    """

    error: FtcError
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Superseded:
    """A new Bootstrap-Request replaced a bootstrap that had got as far as `steps`."""

    steps: tuple[Step, ...]


BootstrapEffect = Respond | SendRequest | Cancel | Claim | Completed | Failed | Superseded


class BootstrapSession:
    """One device's bootstrap over one association; see the module's theory of operation.

    `now` is monotonic seconds and never goes backwards from one input to the next.
    """

    def __init__(self) -> None:
        self._state = BootstrapState.IDLE
        self._effects: deque[BootstrapEffect] = deque()
        self._timeline = Timeline()
        self._deadline: float | None = None
        # The Bootstrap-Request that is being served, and its exchange until it is answered.
        self._request: BootstrapRequest | None = None
        self._unanswered: int | None = None
        # The request whose claim the edge is deciding.
        self._asked: BootstrapRequest | None = None
        self._grant: BootstrapGrant | None = None
        # Our request in flight: its label, and its exchange once the edge has told it.
        self._label = 0
        self._in_flight: int | None = None

    @property
    def state(self) -> BootstrapState:
        """Where the session stands."""
        return self._state

    def next_effect(self) -> BootstrapEffect | None:
        """The next thing to do, or None."""
        return self._effects.popleft() if self._effects else None

    # --- inputs ----------------------------------------------------------------------------------

    def request_received(self, exchange: int, message: Message, now: float) -> None:
        """The device sent a request, of whatever kind."""
        try:
            request = parse_bootstrap_request(message)
        except FtcError as error:
            self._effects.append(Respond(exchange, refusal(error), error))
            return
        self._supersede(now)
        self._move(BootstrapInput.REQUESTED)
        self._request, self._unanswered = request, exchange
        self._timeline = Timeline()
        self._timeline.begin(_REQUEST_STEP, now)
        self._deadline = now + BOOTSTRAP_SESSION_TIMEOUT_S
        self._claim()

    def claim_granted(self, grant: BootstrapGrant, now: float) -> None:
        """The claim is durable, and this is what the device gets."""
        if not self._claim_decided():
            return
        self._grant = grant
        self._answer(response(Code.CHANGED), now)
        self._move(BootstrapInput.GRANTED)
        self._begin_step(now)

    def claim_refused(self, error: FtcError, now: float) -> None:
        """The claim was refused, or could not be decided."""
        if self._claim_decided():
            self._break(error, now)

    def request_sent(self, label: int, exchange: int) -> None:
        """A `SendRequest` effect was performed; its answer will come under this number."""
        if label == self._label and self._state in _STEPS:
            self._in_flight = exchange
        else:
            self._effects.append(Cancel(exchange))

    def response_received(self, exchange: int, message: Message, now: float) -> None:
        """The device answered a request of ours."""
        if exchange != self._in_flight:
            return
        self._in_flight = None
        step = _STEPS[self._state]
        self._timeline.end(now, dotted(message))
        if message.code not in step.accepted:
            answer = f"{dotted(message)} {diagnostic_of(message)}".rstrip()
            self._break(self._error(Reason.INTERNAL_8, f"the device answered {answer}"), now)
            return
        self._move(BootstrapInput.ACCEPTED)
        if self._state is BootstrapState.COMPLETED:
            self._complete()
        else:
            self._begin_step(now)

    def exchange_failed(self, exchange: int, cause: FailureCause, now: float) -> None:
        """No answer will come to a request of ours."""
        if exchange == self._in_flight:
            self._in_flight = None
            self._break(self._error(*_CAUSES[cause]), now)

    def association_closed(self, now: float) -> None:
        """The device closed the association, or it was closed for another reason."""
        if self._state is BootstrapState.CLAIMING or self._state in _STEPS:
            self._unanswered = self._in_flight = None
            self._break(self._error(Reason.INTERNAL_7, "the association was lost"), now)

    def get_timer(self) -> float | None:
        """When `handle_timer` is due, or None."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        if self._deadline is not None and now >= self._deadline:
            self._cancel()
            self._break(self._error(Reason.INTERNAL_9, "the bootstrap took too long"), now)

    # --- inside ----------------------------------------------------------------------------------

    def _move(self, moved_by: BootstrapInput) -> None:
        self._state = TRANSITIONS[self._state][moved_by]

    def _supersede(self, now: float) -> None:
        if self._state is not BootstrapState.CLAIMING and self._state not in _STEPS:
            return
        if self._unanswered is not None:
            self._effects.append(Cancel(self._unanswered))
        self._cancel()
        self._timeline.end(now)
        self._grant = None
        self._effects.append(Superseded(self._timeline.steps()))

    def _claim(self) -> None:
        if self._asked is None and self._request is not None:
            self._asked = self._request
            self._effects.append(Claim(self._request))

    def _claim_decided(self) -> bool:
        """Take the claim in flight off; whether its outcome is the one that is waited for."""
        asked, self._asked = self._asked, None
        if asked is None or self._state is not BootstrapState.CLAIMING:
            return False
        if asked != self._request:
            self._claim()
            return False
        return True

    def _answer(self, message: Message, now: float, error: FtcError | None = None) -> None:
        if self._unanswered is not None:
            self._effects.append(Respond(self._unanswered, message, error))
            self._timeline.end(now, dotted(message))
            self._unanswered = None

    def _begin_step(self, now: float) -> None:
        grant, request, step = self._grant, self._request, _STEPS[self._state]
        assert grant is not None and request is not None  # noqa: S101 - set before any state with a step
        self._label += 1
        self._timeline.begin(step.name, now)
        self._effects.append(SendRequest(self._label, step.build(grant, request.content_format)))

    def _cancel(self) -> None:
        if self._in_flight is not None:
            self._effects.append(Cancel(self._in_flight))
            self._in_flight = None

    def _error(self, reason: Reason, cause: str) -> FtcError:
        step = _STEPS[self._state].name if self._state in _STEPS else _REQUEST_STEP
        return FtcError(reason, f"{step}: {cause}", metadata={"step": step})

    def _break(self, error: FtcError, now: float) -> None:
        self._answer(refusal(error), now, error)
        self._timeline.end(now)
        self._move(BootstrapInput.BROKEN)
        self._grant = self._deadline = None
        self._effects.append(Failed(error, self._timeline.steps()))

    def _complete(self) -> None:
        grant = self._grant
        assert grant is not None  # noqa: S101 - set before any state with a step
        self._grant = self._deadline = None
        self._effects.append(Completed(grant.account_id, grant.device_id, self._timeline.steps()))
