"""Joins the device's sessions to their CoAP layer: the device's counterpart of the endpoint's drivers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    RequestReceived,
    ResponseAcknowledged,
    ResponseLost,
    ResponseReceived,
)
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.effects import Ignore, RespondSeparately
from ftc_core.device.registration import OperationDone, OperationFailed, RegistrationClient
from ftc_core.lwm2m.effects import Respond, SendRequest

__all__ = ["BootstrapClientDriver", "RegistrationClientDriver"]


class BootstrapClientDriver:
    """One bootstrap attempt; `ended` gets its outcome once.

    The association stays open until the server closes it: that is how it says that it is content, too.
    `answer_delay_s` is how long the device takes for each answer: small ones write to flash before they
    acknowledge a write.
    """

    def __init__(
        self,
        client: BootstrapClient,
        coap: BlockwiseLayer,
        ended: Callable[[Succeeded | BootstrapFailed], None],
        answer_delay_s: float,
        now: float,
        *,
        claim_proof: str = "",
    ) -> None:
        self._client = client
        self._coap = coap
        self._ended = ended
        self._answer_delay_s = answer_delay_s
        self._slow_answers: deque[tuple[float, Respond]] = deque()
        self._gone = False
        self.finished = False
        client.start(now, claim_proof=claim_proof)
        self._perform(now)

    def handle_event(self, event: Event, now: float) -> None:
        """One event of the CoAP layer."""
        client = self._client
        match event:
            case RequestReceived(exchange, message):
                client.request_received(exchange, message, now)
            case ResponseReceived(exchange, message):
                client.response_received(exchange, message, now)
            case ExchangeFailed(exchange, cause):
                client.exchange_failed(exchange, cause, now)
            case ResponseAcknowledged(exchange):
                client.response_acknowledged(exchange, now)
            case ResponseLost(exchange):
                client.response_lost(exchange, now)
        self._perform(now)

    def get_timer(self) -> float | None:
        """When the next slow answer is ready, or the client's deadline."""
        return self._slow_answers[0][0] if self._slow_answers else self._client.get_timer()

    def handle_timer(self, now: float) -> None:
        """Send the answers that are ready; let the client see to its deadline."""
        while self._slow_answers and self._slow_answers[0][0] <= now:
            answer = self._slow_answers.popleft()[1]
            self._coap.send_response(answer.exchange, answer.message, now)
        self._client.handle_timer(now)
        self._perform(now)

    def association_closed(self, now: float) -> None:
        """The server closed, or the association was lost."""
        self._gone = True
        self._client.association_closed(now)
        self._perform(now)

    def _perform(self, now: float) -> None:
        while (effect := self._client.next_effect()) is not None:
            match effect:
                case Succeeded():
                    self._ended(effect)
                case BootstrapFailed():
                    self._ended(effect)
                    self.finished = True
                case _ if self._gone:
                    pass
                case SendRequest(label, message):
                    self._client.request_sent(label, self._coap.send_request(message, now))
                case Respond() if self._answer_delay_s > 0:
                    self._slow_answers.append((now + self._answer_delay_s, effect))
                case Respond(exchange, message):
                    self._coap.send_response(exchange, message, now)
                case RespondSeparately(exchange, message):
                    self._coap.acknowledge(exchange)
                    self._coap.send_response(exchange, message, now)
                case Ignore(exchange):
                    self._coap.ignore(exchange)


class RegistrationClientDriver:
    """The registration of one device over one association; `ended` gets the outcome of each operation."""

    def __init__(
        self,
        client: RegistrationClient,
        coap: BlockwiseLayer,
        connected: Callable[[RegistrationClientDriver], None],
        ended: Callable[[OperationDone | OperationFailed], None],
    ) -> None:
        self.client = client
        self._coap = coap
        self._ended = ended
        self._gone = False
        self.finished = False
        connected(self)

    def perform(self, now: float) -> None:
        """Do what the client wants done, after its owner asked it for an operation."""
        while (effect := self.client.next_effect()) is not None:
            match effect:
                case OperationDone() | OperationFailed():
                    self._ended(effect)
                case SendRequest() if self._gone:
                    self.client.association_closed()  # asked for after the end: it must fail, not wait
                case _ if self._gone:
                    pass
                case SendRequest(label, message):
                    self.client.request_sent(label, self._coap.send_request(message, now))
                case Respond(exchange, message):
                    self._coap.send_response(exchange, message, now)

    def handle_event(self, event: Event, now: float) -> None:
        """One event of the CoAP layer."""
        match event:
            case RequestReceived(exchange, message):
                self.client.request_received(exchange, message)
            case ResponseReceived(exchange, message):
                self.client.response_received(exchange, message)
            case ExchangeFailed(exchange, cause):
                self.client.exchange_failed(exchange, cause)
            case _:
                pass
        self.perform(now)

    def get_timer(self) -> None:
        """Nothing but the exchange layer's own timers."""

    def handle_timer(self, now: float) -> None:
        """Nothing to do."""

    def association_closed(self, now: float) -> None:
        """The association is gone."""
        self._gone = True
        self.client.association_closed()
        self.perform(now)
