"""Joins one registration session to its CoAP layer and to the registration use cases."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ftc_core.application.registration import RegistrationService
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import Event, RequestReceived
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.udp import Origin
from ftc_core.errors import FtcError
from ftc_core.limits import IDLE_TIMEOUT_S, REGISTRATION_IDLE_MAX_S
from ftc_core.lwm2m.effects import Respond
from ftc_core.lwm2m.registration import Deregister, DeviceIdentity, Register, RegistrationSession, Update
from ftc_core.observability.counts import RegistrationCounts
from ftc_core.storage.commands import Created, Outcome

__all__ = ["RegistrationDriver"]

_log = structlog.get_logger(__name__)


class RegistrationDriver:
    """One device at the LwM2M server. A registered device's association is kept as long as its lifetime."""

    def __init__(
        self,
        service: RegistrationService,
        path: VerifiedPath,
        origin: Origin,
        coap: BlockwiseLayer,
        wake: Callable[[], None],
        clock: Callable[[], float],
        now: float,
        counts: RegistrationCounts | None = None,
    ) -> None:
        self._service = service
        self._origin = origin
        self._coap = coap
        self._wake = wake
        self._clock = clock
        self._counts = counts or RegistrationCounts()
        self._operations: dict[int, str] = {}
        self._identity = DeviceIdentity(
            endpoint_name=path.common_name, device_id=path.locality, account_id=path.organizational_unit
        )
        self._session = RegistrationSession(self._identity)
        self._patience_s = IDLE_TIMEOUT_S
        self._idle_at = now + self._patience_s
        self._gone = False
        self.finished = False

    def handle_event(self, event: Event, now: float) -> None:
        """One event of the CoAP layer."""
        self._idle_at = now + self._patience_s
        if isinstance(event, RequestReceived):
            self._session.request_received(event.exchange, event.message)
            self._perform(now)

    def get_timer(self) -> float:
        """When the association counts as idle."""
        return self._idle_at

    def handle_timer(self, now: float) -> None:
        """Close an idle association."""
        if now >= self._idle_at:
            self.finished = True

    def association_closed(self, now: float) -> None:
        """The device went away: its registration stays until its lifetime ends."""
        self._gone = True

    def _perform(self, now: float) -> None:
        while (effect := self._session.next_effect()) is not None:
            match effect:
                case Respond(exchange, message, error):
                    operation = self._operations.pop(exchange, "invalid")
                    self._counts.operations[operation, error.reason.value if error else "OK"] += 1
                    if error is not None:
                        _log.info("registration refused", peer=str(self._origin), reason=error.reason)
                    if not self._gone:
                        self._coap.send_response(exchange, message, now)
                case Register(exchange, identity, request):
                    self._operations[exchange] = "register"
                    self._service.register(
                        identity, request, str(self._origin), self._answer(exchange, self._registered)
                    )
                case Update(exchange, identity, request):
                    self._operations[exchange] = "update"
                    self._service.update(
                        identity, request, str(self._origin), self._answer(exchange, self._updated)
                    )
                case Deregister(exchange, identity):
                    self._operations[exchange] = "deregister"
                    self._service.deregister(identity, self._answer(exchange, self._deregistered))

    def _answer(
        self, exchange: int, accepted: Callable[[int, Outcome], None]
    ) -> Callable[[Outcome | FtcError], None]:
        def answered(outcome: Outcome | FtcError) -> None:
            if isinstance(outcome, FtcError):
                self._session.refused(exchange, outcome)
            else:
                accepted(exchange, outcome)
            now = self._clock()
            self._idle_at = now + self._patience_s
            self._perform(now)
            self._wake()

        return answered

    def _registered(self, exchange: int, outcome: Outcome) -> None:
        self._keep_for_lifetime(outcome)
        self._session.registered(exchange, self._identity.device_id, self._identity.account_id)
        _log.debug(
            "registered",
            device=self._identity.device_id,
            account=self._identity.account_id,
            peer=str(self._origin),
        )

    def _updated(self, exchange: int, outcome: Outcome) -> None:
        self._keep_for_lifetime(outcome)
        self._session.updated(exchange)

    def _deregistered(self, exchange: int, outcome: Outcome) -> None:
        self._patience_s = IDLE_TIMEOUT_S
        self._session.deregistered(exchange)
        _log.debug("deregistered", device=self._identity.device_id, account=self._identity.account_id)

    def _keep_for_lifetime(self, outcome: Outcome) -> None:
        if isinstance(outcome, Created) and outcome.device is not None:
            lifetime = float(outcome.device.lifetime or 0)
            self._patience_s = min(max(lifetime, IDLE_TIMEOUT_S), REGISTRATION_IDLE_MAX_S)
