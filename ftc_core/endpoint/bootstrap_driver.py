"""Joins one bootstrap session to its CoAP layer and to the bootstrap use case."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ftc_core.application.bootstrap import BootstrapService, Conversation
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    RequestReceived,
    ResponseAcknowledged,
    ResponseHandedOut,
    ResponseLost,
    ResponseReceived,
)
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.denial import Refusal
from ftc_core.domain.device import Device
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.udp import Origin
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import IDLE_TIMEOUT_S, REFUSED_LINGER_S
from ftc_core.lwm2m.bootstrap import (
    BootstrapSession,
    Claim,
    Completed,
    Enroll,
    Failed,
    Finished,
    Superseded,
)
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.request import BootstrapRequest
from ftc_core.lwm2m.sequence import BootstrapGrant
from ftc_core.lwm2m.timeline import Step
from ftc_core.observability.counts import BootstrapCounts

__all__ = ["BootstrapDriver"]

_log = structlog.get_logger(__name__)

_NO_DENIAL = frozenset(
    {Reason.PATH_NOT_FOUND, Reason.METHOD_NOT_ALLOWED, Reason.BOOTSTRAP_REQUIRED, Reason.OVERLOADED}
)
"""Refusals of what is no Bootstrap-Request, from a client that looks around; and of what was only put off,
for which a denial would queue where the claim found no room."""


class BootstrapDriver:
    """One device at the bootstrap server, from its finished handshake to close_notify."""

    def __init__(
        self,
        service: BootstrapService,
        path: VerifiedPath,
        origin: Origin,
        coap: BlockwiseLayer,
        wake: Callable[[], None],
        clock: Callable[[], float],
        now: float,
        counts: BootstrapCounts | None = None,
        refused: Callable[[Refusal], None] = lambda refusal: None,
    ) -> None:
        self._service = service
        self._path = path
        self._origin = origin
        self._coap = coap
        self._wake = wake
        self._clock = clock
        self._counts = counts or BootstrapCounts()
        self._refused = refused
        self._session = BootstrapSession(enrolls=service.enrolls)
        self._idle_at = now + IDLE_TIMEOUT_S
        # What the request that is being served asks for, once that is understood.
        self._asked: BootstrapRequest | None = None
        # The last claim of this conversation, and what it was made from.
        self._claim_made: tuple[BootstrapRequest, ClaimRequest] | None = None
        # The device as the last claim of this conversation left it, once that is durable.
        self._claimed: Device | None = None
        self._gone = False
        self.finished = False

    def handle_event(self, event: Event, now: float) -> None:
        """One event of the CoAP layer."""
        self._idle_at = now + IDLE_TIMEOUT_S
        match event:
            case RequestReceived(exchange, message):
                self._asked = None
                self._session.request_received(exchange, message, now)
            case ResponseReceived(exchange, message):
                self._session.response_received(exchange, message, now)
            case ExchangeFailed(exchange, cause):
                self._session.exchange_failed(exchange, cause, now)
            case ResponseHandedOut(exchange):
                self._session.response_out(exchange, now)
            case ResponseAcknowledged() | ResponseLost():
                pass  # the session's own deadlines notice a device that did not get its answer
        self._perform(now)

    def get_timer(self) -> float:
        """The session's deadline, or the one for a device that says nothing."""
        deadline = self._session.get_timer()
        return self._idle_at if deadline is None else min(deadline, self._idle_at)

    def handle_timer(self, now: float) -> None:
        """Close an idle association; otherwise let the session see to its deadline."""
        self._session.handle_timer(now)
        self._perform(now)
        if now >= self._idle_at:
            self.finished = True

    def association_closed(self, now: float) -> None:
        """The device went away, or began again."""
        self._gone = True
        self._session.association_closed(now)
        self._perform(now)

    def _perform(self, now: float) -> None:
        while (effect := self._session.next_effect()) is not None:
            match effect:
                case Completed():
                    self._completed(effect, now)
                case Failed(error, steps):
                    self._failed(error, steps, now)
                case Superseded(steps):
                    self._counts.ended["superseded", ""] += 1
                    _log.info("bootstrap superseded", peer=str(self._origin), step=steps[-1].name)
                case Finished(account_id, device_id):
                    self._service.finished(account_id, device_id)
                case Claim(request):
                    self._claim(request)
                case Enroll(csr):
                    self._enroll(csr, now)
                case _ if self._gone:
                    pass  # there is nobody to send to
                case Respond(exchange, message, error):
                    if error is not None:
                        self._note_refusal(error)
                    if self._coap.send_response(exchange, message, now):
                        self._session.response_out(exchange, now)
                case SendRequest(label, message):
                    self._session.request_sent(label, self._coap.send_request(message, now))
                case Cancel(exchange):
                    self._coap.cancel(exchange, now)

    def _claim(self, request: BootstrapRequest) -> None:
        self._asked = request
        claim = ClaimRequest(
            fingerprint=self._path.leaf_fingerprint,
            common_name=self._path.common_name,
            endpoint_name=request.endpoint_name,
            issuing_cas=self._path.issuing_cas,
            account_id=request.account_id,
            client_version=request.client_version,
            address=str(self._origin),
            claim_proof=request.claim_proof,
            channel_binding=self._path.channel_binding,
        )
        self._claim_made = request, claim
        presented = self._path.leaf_der if self._path.chain_length == 1 else None
        self._claimed = None
        # A refusal is answered within this very call, a grant after the commit; `waiting` tells which.
        waiting = False

        def answered(answer: BootstrapGrant | FtcError) -> None:
            now = self._clock()
            if isinstance(answer, FtcError):
                self._session.claim_refused(answer, now)
            else:
                self._session.claim_granted(answer, now)
            if waiting:
                self._perform(now)
                self._wake()

        def claimed(device: Device) -> None:
            self._claimed = device

        self._service.claim(claim, presented, answered, claimed)
        waiting = True

    def _enroll(self, csr: bytes, now: float) -> None:
        made, device = self._claim_made, self._claimed
        assert made is not None and device is not None  # noqa: S101 - the session is past its claim
        self._asked, claim = made
        try:
            certificate = self._service.enroll(claim, device, csr)
        except FtcError as error:
            self._counts.enrolments["refused", error.reason.value] += 1
            self._session.certificate_refused(error, now)
        else:
            self._counts.enrolments["issued", ""] += 1
            self._session.certificate_issued(certificate, now)

    def _note_refusal(self, error: FtcError) -> None:
        if error.reason is Reason.BOOTSTRAP_REQUIRED:
            self._counts.enrolments["refused", error.reason.value] += 1
        if error.reason not in _NO_DENIAL:
            self._refused(self._refusal(error))

    def _refusal(self, error: FtcError) -> Refusal:
        """What becomes the record of a request that was refused, for a bootstrap or for its certificate."""
        path, asked = self._path, self._asked
        return Refusal(
            reason=error.reason,
            address=str(self._origin),
            detail=error.message,
            fingerprint=path.leaf_fingerprint,
            chain=(path.leaf_der,),
            issuing_cas=path.issuing_cas,
            endpoint_name="" if asked is None else asked.endpoint_name,
            named_account_id=None if asked is None else asked.account_id,
            proven=True,
        )

    def _completed(self, effect: Completed, now: float) -> None:
        conversation = Conversation(effect.steps, now, str(self._origin))
        record = self._service.enrolled if effect.enrolled else self._service.bootstrapped
        record(effect.account_id, effect.device_id, conversation)
        self._counts.ended["completed", ""] += 1
        self._counts.durations.append(_seconds(effect.steps))
        _log.debug(
            "bootstrapped",
            device=effect.device_id,
            account=effect.account_id,
            peer=str(self._origin),
            ms=round(_seconds(effect.steps) * 1_000, 1),
        )
        if effect.lingers:
            self._idle_at = now + REFUSED_LINGER_S
        else:
            self.finished = True

    def _failed(self, error: FtcError, steps: tuple[Step, ...], now: float) -> None:
        self._idle_at = now + REFUSED_LINGER_S
        if (device := self._claimed) is not None:
            conversation = Conversation(steps, now, str(self._origin))
            self._service.failed(device.account_id, device.id, conversation, error)
        if error.reason is Reason.CERTIFICATE_NOT_REQUESTED:
            self._counts.enrolments["missing", error.reason.value] += 1
        outcome = "refused" if len(steps) == 1 else "failed"
        self._counts.ended[outcome, error.reason.value] += 1
        _log.info(
            f"bootstrap {outcome}",
            reason=error.reason,
            error=error.message,
            peer=str(self._origin),
            fingerprint=self._path.leaf_fingerprint.hex(),
            ms=round(_seconds(steps) * 1_000, 1),
        )


def _seconds(steps: tuple[Step, ...]) -> float:
    ended = steps[-1].ended_at or steps[-1].started_at
    return ended - steps[0].started_at
