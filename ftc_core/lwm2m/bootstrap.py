"""The server's side of one bootstrap, as a state machine without I/O.

Theory of operation
===================
There is one `BootstrapSession` per DTLS association. It is driven by inputs (`request_received`,
`claim_granted`, …), each with the time it happened, and answers with effects that the edge takes from
`next_effect()` and performs in order. Inputs never raise, whatever the peer sends; what does not fit the
state is ignored.

::

    IDLE ── Bootstrap-Request ──▶ CLAIMING ── refused: 4.xx or 5.xx ──▶ FAILED
                                     │ granted: 2.04, then                ▲ rejected, unanswered, reset or
      Bootstrap-Pack-Request:        ▼                                    │ out of time, in any step
      2.05 with all of it ◀─────  DELETING ─────────────┐ DELETE /0       │
             │                       │                  │ numbers not known
             ▼                       │                  ▼
          PACKING                    │             DISCOVERING             GET /
             │                       │                  │ remains of an earlier owner
             │                       │                  ▼
             │                       │              CLEARING               DELETE /0/x, /1
             │                       │                  │ servers that stay
             │                       │                  ▼
             │                       │               READING               GET /1
             │                       ▼                  │
             │            WRITING_LWM2M_SECURITY ◀──────┘ (from each)      PUT /0/0
             │                       ▼
             │                WRITING_SERVER                               PUT /1/0
             │                       ▼
             │          WRITING_BOOTSTRAP_SECURITY                         PUT /0/1
             │                       ▼
             │                   FINISHING                                 POST /bs
             │ last block out        │ acknowledged
             ├───────────────────────┤
             │                       │ the device is to ask for its certificate (EST)
             │                       ▼
             │                   ENROLLING                     the device: POST /est/sen
             │                       │ 2.04 with the certificate
             │                       ▼
             │                  HANDING_OUT
             │ the grant had         │ last block out
             ▼ the certificate       ▼
             └──────────────────▶ COMPLETED            (a new Bootstrap-Request: CLAIMING, from any state)

Rules that the table cannot show:

- **Nothing is written before the claim is durable.** The first request to the device is built in
  `claim_granted`, after the 2.04 that the effects put before it: a client ignores what overtakes it.
- **One request is in flight at a time**; the answer to each is judged before the next is built.
- **The newest Bootstrap-Request wins.** The request in flight is cancelled, lest a block of an old write
  land in a new instance; the older Bootstrap-Request too, if it waits for its answer: its sender moved on.
- **One claim is in flight at a time**, however often the device asks meanwhile. Its outcome serves the newest
  request if that asks for the same; else it is dropped and the newest is claimed.
- A malformed request is answered at once and changes nothing, in any state.
- **Nothing is asked of Izuma's family**, whose instance numbers are fixed. Any other client is asked after
  the Delete, so that it tells what is left, and how long a round trip takes (`lwm2m.acquaintance`). It need
  not answer: Izuma's numbers serve one that refuses, or stays silent twice and is not known to be 1.1.
- A pack is complete when its last block is out; a device that did not get that one asks again.
- The grant holds a private key, unless the device has its own: it is dropped as soon as the sequence ends.
- **A bootstrap entitles to one certificate** by EST: the same request again gets the same answer, another one
  none. A request that overtakes the answer to Bootstrap-Finish waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S, EST_ENROLMENT_TIMEOUT_S
from ftc_core.lwm2m import sequence
from ftc_core.lwm2m.accounts import pack_layout
from ftc_core.lwm2m.acquaintance import Acquaintance
from ftc_core.lwm2m.bootstrap_effects import (
    BootstrapEffect,
    Claim,
    Completed,
    Enroll,
    Failed,
    Finished,
    Superseded,
)
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.enrolment import Enrolment
from ftc_core.lwm2m.est import is_est_request
from ftc_core.lwm2m.messages import diagnostic_of, dotted, refusal, response
from ftc_core.lwm2m.request import BootstrapRequest, parse_bootstrap_request
from ftc_core.lwm2m.sequence import BootstrapGrant, SequenceStep
from ftc_core.lwm2m.timeline import Timeline
from ftc_core.lwm2m.transitions import TRANSITIONS, UNDER_WAY, BootstrapInput, BootstrapState

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
    "Enroll",
    "Failed",
    "Finished",
    "Superseded",
]


_REQUEST_STEP = "Bootstrap-Request"
_PACK_REQUEST_STEP = "Bootstrap-Pack-Request"
_PACK_STEP = "Bootstrap-Pack"
_EST_STEP = "EST enrolment"

_CAUSES: Mapping[FailureCause, tuple[Reason, str]] = {
    FailureCause.TIMED_OUT: (Reason.INTERNAL_9, "the device did not answer"),
    FailureCause.RESET: (Reason.INTERNAL_7, "the device reset the exchange"),
    FailureCause.TRANSFER_BROKEN: (Reason.INTERNAL_8, "the device broke the block-wise transfer"),
}
_LATE: Mapping[BootstrapState, str] = {
    BootstrapState.ENROLLING: f"the device asked for none within {EST_ENROLMENT_TIMEOUT_S:.0f} s",
    BootstrapState.HANDING_OUT: "the device did not fetch all of its certificate",
}
_CERTIFICATE_CODE = "2.04"


class BootstrapSession:
    """One device's bootstrap over one association; see the module's theory of operation.

    `now` is monotonic seconds and never goes backwards from one input to the next. `enrolls`: devices ask for
    their certificates by EST, as their grants say; without it there is nothing below /est.
    """

    def __init__(self, *, enrolls: bool = False) -> None:
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
        # Our step in flight: its label, and its exchange once the edge has told it.
        self._step: SequenceStep | None = None
        self._label = 0
        self._in_flight: int | None = None
        self._packed: int | None = None  # the exchange that a pack has answered
        self._enrolment = Enrolment(self._effects.append) if enrolls else None
        # What is known of the client, and when it has been waited for long enough.
        self._client: Acquaintance | None = None
        self._impatient_at: float | None = None

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
            if self._enrolment is not None and is_est_request(message):
                self._enrolment.received(exchange, message, self._state)
                return
            request = parse_bootstrap_request(message)
        except FtcError as error:
            self._effects.append(Respond(exchange, refusal(error), error))
            return
        if self._enrolment is not None:
            self._enrolment.begin(request.dialect)
        self._supersede(now)
        self._move(BootstrapInput.REQUESTED)
        self._request, self._unanswered = request, exchange
        self._timeline = Timeline()
        self._timeline.begin(_PACK_REQUEST_STEP if request.pack else _REQUEST_STEP, now)
        self._deadline = now + BOOTSTRAP_SESSION_TIMEOUT_S
        self._claim()

    def claim_granted(self, grant: BootstrapGrant, now: float) -> None:
        """The claim is durable, and this is what the device gets."""
        if not self._claim_decided():
            return
        request = self._request
        assert request is not None  # noqa: S101 - a claim has one
        self._grant = grant
        if self._enrolment is not None:
            self._enrolment.claim_granted(grant)
        if request.pack:
            self._send_pack(grant, request, now)
            return
        self._client = Acquaintance(request.dialect, grant.short_server_id)
        self._answer(response(Code.CHANGED), now)
        self._move(BootstrapInput.GRANTED)
        self._begin_step(now)

    def claim_refused(self, error: FtcError, now: float) -> None:
        """The claim was refused, or could not be decided."""
        if self._claim_decided():
            self._break(error, now)

    def certificate_issued(self, certificate: bytes, now: float) -> None:
        """`Enroll` was granted: here it is, in DER."""
        if self._enrolment is not None and self._enrolment.issued(certificate):
            self._move(BootstrapInput.ACCEPTED)
            self._deadline = now + EST_ENROLMENT_TIMEOUT_S

    def certificate_refused(self, error: FtcError, now: float) -> None:
        """`Enroll` was refused, or could not be decided."""
        if self._enrolment is not None and (exchange := self._enrolment.refused()) is not None:
            self._unanswered = exchange
            self._break(error, now)

    def request_sent(self, label: int, exchange: int) -> None:
        """A `SendRequest` effect was performed; its answer will come under this number."""
        if label == self._label and self._step is not None:
            self._in_flight = exchange
        else:
            self._effects.append(Cancel(exchange))

    def response_received(self, exchange: int, message: Message, now: float) -> None:
        """The device answered a request of ours."""
        step = self._step
        if exchange != self._in_flight or step is None:
            return
        self._in_flight = self._impatient_at = None
        self._timeline.end(now, dotted(message))
        if step.accepted is not None and message.code not in step.accepted:
            answer = f"{dotted(message)} {diagnostic_of(message)}".rstrip()
            self._break(self._error(Reason.INTERNAL_8, f"the device answered {answer}"), now)
            return
        self._advance(self._learn(message, now), now)

    def exchange_failed(self, exchange: int, cause: FailureCause, now: float) -> None:
        """No answer will come to a request of ours."""
        step = self._step
        if exchange != self._in_flight or step is None:
            return
        self._in_flight = self._impatient_at = None
        if step.accepted is None and cause is not FailureCause.TIMED_OUT:
            self._timeline.end(now)  # as good as a refusal: the device is there, but does not know this
            self._advance(self._learn(None, now), now)
        else:
            self._break(self._error(*_CAUSES[cause]), now)

    def response_out(self, exchange: int, now: float) -> None:
        """The whole of an answer of ours was handed out, as far as the edge can tell."""
        if self._state is BootstrapState.PACKING and exchange == self._packed:
            self._timeline.end(now)
            self._advance(self._end_of_writing(), now)
        elif (
            self._state is BootstrapState.HANDING_OUT
            and self._enrolment is not None
            and exchange == self._enrolment.handed_out
        ):
            self._timeline.end(now, _CERTIFICATE_CODE)
            self._advance(BootstrapInput.ACCEPTED, now)

    def association_closed(self, now: float) -> None:
        """The device closed the association, or it was closed for another reason."""
        if self._state in UNDER_WAY:
            error = self._error(Reason.INTERNAL_7, "the association was lost")
            self._unanswered = self._in_flight = None
            if self._enrolment is not None:
                self._enrolment.forget()
            self._break(error, now)

    def get_timer(self) -> float | None:
        """When `handle_timer` is due, or None."""
        if self._deadline is None or self._impatient_at is None:
            return self._deadline
        return min(self._deadline, self._impatient_at)

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        if self._deadline is not None and now >= self._deadline:
            self._cancel()
            cause = _LATE.get(self._state, "the bootstrap took too long")
            self._break(self._error(Reason.INTERNAL_9, cause), now)
        elif self._client is not None and self._impatient_at is not None and now >= self._impatient_at:
            self._cancel()
            self._timeline.end(now)
            self._advance(self._client.after_silence(), now)

    # --- inside ----------------------------------------------------------------------------------

    def _move(self, moved_by: BootstrapInput) -> None:
        self._state = TRANSITIONS[self._state][moved_by]

    def _supersede(self, now: float) -> None:
        if self._state not in UNDER_WAY:
            return
        if self._unanswered is not None:
            self._effects.append(Cancel(self._unanswered))
        self._cancel()
        self._timeline.end(now)
        self._grant = self._step = None
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

    def _learn(self, answer: Message | None, now: float) -> BootstrapInput:
        """What follows from a good answer, or from None where the request was reset."""
        client = self._client
        assert client is not None  # noqa: S101 - set before any state with a step
        match self._state:
            case BootstrapState.DELETING:
                return client.after_delete(now - self._timeline.steps()[-1].started_at)
            case BootstrapState.DISCOVERING:
                return client.after_discover(answer)
            case BootstrapState.CLEARING:
                return client.after_clearing(answer)
            case BootstrapState.READING:
                return client.after_reading(answer)
            case BootstrapState.FINISHING:
                return self._end_of_writing()
            case _:
                return BootstrapInput.ACCEPTED

    def _end_of_writing(self) -> BootstrapInput:
        grant = self._grant
        assert grant is not None  # noqa: S101 - set before any state with a step
        return BootstrapInput.CERTIFICATE_DUE if grant.enrolls else BootstrapInput.ACCEPTED

    def _advance(self, moved_by: BootstrapInput, now: float) -> None:
        self._move(moved_by)
        if self._state is BootstrapState.COMPLETED:
            self._complete()
        elif self._state is BootstrapState.ENROLLING:
            self._await_certificate_request(now)
        else:
            self._begin_step(now)

    def _begin_step(self, now: float) -> None:
        self._step = step = self._next_step()
        self._label += 1
        self._timeline.begin(step.name, now)
        if self._state is BootstrapState.DISCOVERING and self._client is not None:
            patience = self._client.discovering()
            self._impatient_at = None if patience is None else now + patience
        self._effects.append(SendRequest(self._label, step.message))

    def _next_step(self) -> SequenceStep:
        grant, request, client = self._grant, self._request, self._client
        # Set before any state with a step:
        assert grant is not None and request is not None and client is not None  # noqa: S101
        content_format, layout = request.content_format, client.layout
        match self._state:
            case BootstrapState.DELETING:
                return sequence.delete((0,), required=True)
            case BootstrapState.DISCOVERING:
                return sequence.discover()
            case BootstrapState.CLEARING:
                return sequence.delete(client.to_delete, required=False)
            case BootstrapState.READING:
                return sequence.read_servers(content_format)
            case BootstrapState.WRITING_LWM2M_SECURITY:
                return sequence.write_lwm2m_security(grant, layout, content_format)
            case BootstrapState.WRITING_SERVER:
                return sequence.write_server(grant, layout, content_format)
            case BootstrapState.WRITING_BOOTSTRAP_SECURITY:
                return sequence.write_bootstrap_security(grant, layout, content_format)
            case _:
                return sequence.finish(grant)

    def _send_pack(self, grant: BootstrapGrant, request: BootstrapRequest, now: float) -> None:
        payload = sequence.pack(grant, pack_layout(request.bootstrap_accounts), request.content_format)
        answer = response(Code.CONTENT, content_format=request.content_format, payload=payload)
        exchange = self._unanswered
        self._answer(answer, now)
        self._move(BootstrapInput.PACK_GRANTED)
        self._packed = exchange
        self._timeline.begin(_PACK_STEP, now)

    def _await_certificate_request(self, now: float) -> None:
        grant, enrolment = self._grant, self._enrolment
        # Set before any state with a step; and a session for such grants is made as one:
        assert grant is not None and enrolment is not None  # noqa: S101
        self._step = None
        self._deadline = now + EST_ENROLMENT_TIMEOUT_S
        self._timeline.begin(_EST_STEP, now)
        self._effects.append(Finished(grant.account_id, grant.device_id))
        enrolment.due()

    def _cancel(self) -> None:
        if self._in_flight is not None:
            self._effects.append(Cancel(self._in_flight))
        self._in_flight = self._impatient_at = None

    def _error(self, reason: Reason, cause: str) -> FtcError:
        step = _REQUEST_STEP if self._step is None else self._step.name
        if self._state in (BootstrapState.ENROLLING, BootstrapState.HANDING_OUT):
            step = _EST_STEP
        if self._state is BootstrapState.ENROLLING:  # whatever ended it
            reason = Reason.CERTIFICATE_NOT_REQUESTED
            if self._enrolment is not None and self._enrolment.misasked is not None:
                cause = f"its request was refused: {self._enrolment.misasked.message}"
        return FtcError(reason, f"{step}: {cause}", metadata={"step": step})

    def _break(self, error: FtcError, now: float) -> None:
        self._answer(refusal(error), now, error)
        self._timeline.end(now)
        if self._enrolment is not None:
            self._enrolment.fail(error)
        self._move(BootstrapInput.BROKEN)
        self._grant = self._deadline = self._step = self._impatient_at = None
        self._effects.append(Failed(error, self._timeline.steps()))

    def _complete(self) -> None:
        grant = self._grant
        assert grant is not None  # noqa: S101 - set before any state with a step
        lingers, enrolled = self._step is None, grant.enrolls
        self._grant = self._deadline = self._step = None
        self._effects.append(
            Completed(grant.account_id, grant.device_id, self._timeline.steps(), lingers, enrolled)
        )
