"""The device's sessions joined to their CoAP layer: slow answers, the end, operations after it."""

from __future__ import annotations

import itertools

import pytest
from aiocoap.numbers.codes import Code

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import RequestReceived, ResponseReceived
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.drivers import BootstrapClientDriver, RegistrationClientDriver
from ftc_core.device.registration import Operation, OperationDone, OperationFailed, RegistrationClient
from ftc_core.device.retry import Reaction
from ftc_core.lwm2m.messages import dotted, request, response
from ftc_core.lwm2m.objects import SecurityInstance

ACCOUNT = "a" * 32
BOOTSTRAP_ACCOUNT = SecurityInstance(server_uri="coaps://bootstrap.example:5784", bootstrap_server=True)


def layer() -> BlockwiseLayer:
    return BlockwiseLayer(
        ExchangeLayer(first_message_id=0, token_prefix=b"test", random=itertools.repeat(0.5).__next__)
    )


class Server:
    """The other end: a CoAP layer whose events the test looks at."""

    def __init__(self, theirs: BlockwiseLayer) -> None:
        self.coap = layer()
        self._theirs = theirs

    def carry(self, now: float) -> None:
        """What either end has to say."""
        for datagram in self._theirs.datagrams_to_send():
            self.coap.receive_datagram(datagram, now)
        for datagram in self.coap.datagrams_to_send():
            self._theirs.receive_datagram(datagram, now)

    def requested(self, now: float) -> RequestReceived:
        self.carry(now)
        event = self.coap.next_event()
        assert isinstance(event, RequestReceived)
        return event

    def answer(self, asked: RequestReceived, code: Code, now: float) -> None:
        self.coap.send_response(asked.exchange, response(code), now)
        self.carry(now)


class Bootstrap:
    """A device in the middle of its bootstrap, at time 0."""

    def __init__(self, answer_delay_s: float) -> None:
        self.coap = layer()
        self.outcomes: list[Succeeded | BootstrapFailed] = []
        client = BootstrapClient("dev-1", BOOTSTRAP_ACCOUNT)
        self.driver = BootstrapClientDriver(client, self.coap, self.outcomes.append, answer_delay_s, 0.0)
        self.server = Server(self.coap)

    def feed(self, now: float) -> None:
        """Carry what the server said to the driver."""
        self.server.carry(now)
        while (event := self.coap.next_event()) is not None:
            self.driver.handle_event(event, now)

    def granted(self) -> None:
        self.server.answer(self.server.requested(0.0), Code.CHANGED, 0.0)
        self.feed(0.0)

    def asked_to_delete(self, now: float) -> int:
        """The server asks for a Bootstrap-Delete; its exchange."""
        exchange = self.server.coap.send_request(request(Code.DELETE, ("0",)), now)
        self.feed(now)
        return exchange

    def answers(self, now: float) -> list[tuple[int, str]]:
        """Exchange and code of what the device has answered."""
        self.server.carry(now)
        answered = []
        while (event := self.server.coap.next_event()) is not None:
            if isinstance(event, ResponseReceived):
                answered.append((event.exchange, dotted(event.message)))
        return answered


def test_device_answers_at_once_unless_it_is_slow() -> None:
    device = Bootstrap(answer_delay_s=0.0)
    device.granted()

    exchange = device.asked_to_delete(1.0)

    assert device.answers(1.0) == [(exchange, "2.02")]


def test_slow_device_answers_after_its_delay() -> None:
    device = Bootstrap(answer_delay_s=0.4)
    device.granted()

    exchange = device.asked_to_delete(1.0)

    assert device.answers(1.0) == []
    assert device.driver.get_timer() == pytest.approx(1.4)
    device.driver.handle_timer(1.39)
    assert device.answers(1.39) == []
    device.driver.handle_timer(1.4)
    assert device.answers(1.4) == [(exchange, "2.02")]
    assert device.driver.get_timer() == pytest.approx(120.0), "the bootstrap's own deadline again"


def test_association_that_is_lost_ends_the_bootstrap_once() -> None:
    device = Bootstrap(answer_delay_s=0.0)
    device.granted()

    device.driver.association_closed(1.0)
    device.driver.association_closed(2.0)
    device.driver.handle_timer(500.0)

    (failed,) = device.outcomes
    assert isinstance(failed, BootstrapFailed)
    assert failed.text == "the association was closed"
    assert device.driver.finished


def test_bootstrap_that_takes_too_long_fails_and_is_finished() -> None:
    device = Bootstrap(answer_delay_s=0.0)
    device.granted()

    device.driver.handle_timer(120.0)

    (failed,) = device.outcomes
    assert isinstance(failed, BootstrapFailed)
    assert failed.text == "the bootstrap took too long"
    assert device.driver.finished


class Registered:
    """A device at the LwM2M server, and the outcomes of what it asked for."""

    def __init__(self) -> None:
        self.coap = layer()
        self.outcomes: list[OperationDone | OperationFailed] = []
        self.attached: list[RegistrationClientDriver] = []
        self.client = RegistrationClient("dev-1", ACCOUNT)
        self.driver = RegistrationClientDriver(
            self.client, self.coap, self.attached.append, self.outcomes.append
        )
        self.server = Server(self.coap)

    def registered(self) -> None:
        self.client.register()
        self.driver.perform(0.0)
        asked = self.server.requested(0.0)
        self.server.coap.send_response(
            asked.exchange, response(Code.CREATED, location=("rd", ACCOUNT, "d")), 0.0
        )
        self.feed(0.0)

    def feed(self, now: float) -> None:
        self.server.carry(now)
        while (event := self.coap.next_event()) is not None:
            self.driver.handle_event(event, now)


def test_owner_gets_the_driver_when_the_association_is_there() -> None:
    device = Registered()

    assert device.attached == [device.driver]


def test_operation_ends_with_the_server_s_answer() -> None:
    device = Registered()

    device.registered()

    assert device.outcomes == [OperationDone(Operation.REGISTER, ("rd", ACCOUNT, "d"))]


def test_operation_under_way_fails_when_the_association_is_lost() -> None:
    device = Registered()
    device.registered()
    device.client.update()
    device.driver.perform(1.0)

    device.driver.association_closed(2.0)

    assert device.outcomes[1:] == [
        OperationFailed(Operation.UPDATE, "", "the association was closed", Reaction.RETRY)
    ]


def test_operation_that_is_asked_for_after_the_end_fails_at_once() -> None:
    device = Registered()
    device.registered()
    device.driver.association_closed(1.0)

    device.client.update()
    device.driver.perform(2.0)

    assert device.outcomes[1:] == [
        OperationFailed(Operation.UPDATE, "", "the association was closed", Reaction.RETRY)
    ]
    assert device.coap.datagrams_to_send() == []


def test_request_of_the_server_is_told_that_there_is_nothing_here() -> None:
    device = Registered()
    device.registered()

    exchange = device.server.coap.send_request(request(Code.GET, ("3", "0")), 1.0)
    device.feed(1.0)
    device.server.carry(1.0)

    event = device.server.coap.next_event()
    assert isinstance(event, ResponseReceived)
    assert (event.exchange, dotted(event.message)) == (exchange, "4.04")
