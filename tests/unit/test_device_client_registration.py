"""The device's registration client, alone and against our own registration session."""

from __future__ import annotations

from itertools import count

import pytest
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.device.registration import (
    Operation,
    OperationDone,
    OperationFailed,
    RegistrationClient,
    RegistrationClientEffect,
)
from ftc_core.device.retry import Reaction
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m import request as parsed
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.messages import request, response
from ftc_core.lwm2m.registration import Deregister, DeviceIdentity, Register, RegistrationSession, Update

ACCOUNT, DEVICE = "a" * 32, "d" * 32
LOCATION = ("rd", ACCOUNT, DEVICE)


def sent(client: RegistrationClient, exchange: int = 1) -> SendRequest:
    effect = client.next_effect()
    assert isinstance(effect, SendRequest)
    assert client.next_effect() is None
    client.request_sent(effect.label, exchange)
    return effect


def ended(client: RegistrationClient) -> RegistrationClientEffect:
    effect = client.next_effect()
    assert effect is not None
    assert client.next_effect() is None
    return effect


def test_a_register_says_who_for_how_long_and_with_which_objects() -> None:
    client = RegistrationClient("dev-1", ACCOUNT, lifetime=60, client_version="4.13.2")
    client.register()
    message = sent(client).message
    assert (message.code, message.opt.uri_path, int(message.opt.content_format)) == (Code.POST, ("rd",), 40)
    assert message.opt.uri_query == (
        "ep=dev-1",
        "lt=60",
        "lwm2m=1.0",
        f"d={ACCOUNT}",
        "b=U",
        f"aid={ACCOUNT}",
        "mccv=4.13.2",
    )
    assert message.payload == b"</1/0>,</3/0>"


def test_update_and_deregister_go_to_the_location() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    client.register()
    sent(client, 1)
    client.response_received(1, response(Code.CREATED, location=LOCATION))
    assert ended(client) == OperationDone(Operation.REGISTER, LOCATION)
    client.update(lifetime=5)
    update = sent(client, 2).message
    assert (update.code, update.opt.uri_path, update.opt.uri_query) == (Code.POST, LOCATION, ("lt=5",))
    client.response_received(2, response(Code.CHANGED))
    assert ended(client) == OperationDone(Operation.UPDATE, LOCATION)
    client.deregister()
    deregister = sent(client, 3).message
    assert (deregister.code, deregister.opt.uri_path) == (Code.DELETE, LOCATION)
    client.response_received(3, response(Code.DELETED))
    assert ended(client) == OperationDone(Operation.DEREGISTER, ())
    assert client.location == ()


def test_a_location_outlives_its_session() -> None:
    client = RegistrationClient("dev-1", ACCOUNT, location=LOCATION)
    client.update()
    assert sent(client).message.opt.uri_path == LOCATION


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (Code.BAD_REQUEST, Reaction.BOOTSTRAP_AGAIN),
        (Code.FORBIDDEN, Reaction.BOOTSTRAP_AGAIN),
        (Code.NOT_FOUND, Reaction.RETRY),
        (Code.INTERNAL_SERVER_ERROR, Reaction.RETRY),
        (Code.CHANGED, Reaction.RETRY),
    ],
)
def test_a_refused_register_is_reported_with_what_it_means(code: Code, reaction: Reaction) -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    client.register()
    sent(client)
    client.response_received(1, response(code, payload=b"why"))
    assert ended(client) == OperationFailed(Operation.REGISTER, code.dotted, "why", reaction)


def test_a_refused_update_ends_the_registration() -> None:
    client = RegistrationClient("dev-1", ACCOUNT, location=LOCATION)
    client.update()
    sent(client)
    client.response_received(1, response(Code.NOT_FOUND, payload=b"Not registered"))
    assert ended(client) == OperationFailed(Operation.UPDATE, "4.04", "Not registered", Reaction.RETRY)
    assert client.location == ()


@pytest.mark.parametrize("cause", list(FailureCause))
def test_no_answer_keeps_the_registration(cause: FailureCause) -> None:
    client = RegistrationClient("dev-1", ACCOUNT, location=LOCATION)
    client.update()
    sent(client)
    client.exchange_failed(1, cause)
    failed = ended(client)
    assert isinstance(failed, OperationFailed)
    assert (failed.code, failed.reaction, client.location) == ("", Reaction.RETRY, LOCATION)


def test_a_closed_association_ends_what_is_under_way() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    client.association_closed()
    assert client.next_effect() is None
    client.register()
    sent(client)
    client.association_closed()
    assert isinstance(ended(client), OperationFailed)
    client.response_received(1, response(Code.CREATED, location=LOCATION))
    assert client.next_effect() is None


def test_one_request_at_a_time() -> None:
    client = RegistrationClient("dev-1", ACCOUNT, location=LOCATION)
    client.update()
    with pytest.raises(RuntimeError, match="Update is under way"):
        client.register()


def test_without_a_registration_there_is_nothing_to_update_or_end() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    for operation in (client.update, client.deregister):
        with pytest.raises(RuntimeError, match="not registered"):
            operation()


def test_the_servers_requests_find_nothing() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    client.request_received(9, request(Code.GET, ("3", "0")))
    answer = ended(client)
    assert isinstance(answer, Respond)
    assert (answer.exchange, answer.message.code) == (9, Code.NOT_FOUND)


def converse(
    client: RegistrationClient, server: RegistrationSession, refusal: FtcError | None = None
) -> list[object]:
    """Hand over messages until neither has anything to do; what the client reports."""
    numbers = count(1)
    reported: list[object] = []
    while True:
        effect = client.next_effect()
        asked = server.next_effect() if effect is None else None
        if isinstance(effect, SendRequest):
            exchange = next(numbers)
            client.request_sent(effect.label, exchange)
            server.request_received(exchange, effect.message)
        elif effect is not None:
            reported.append(effect)
        elif isinstance(asked, Respond):
            client.response_received(asked.exchange, asked.message)
        elif asked is None:
            return reported
        elif refusal is not None:
            server.refused(asked.exchange, refusal)
        elif isinstance(asked, Register):
            assert asked.request == parsed.Register(
                endpoint_name="dev-1", account_id=ACCOUNT, object_links="</1/0>,</3/0>"
            )
            server.registered(asked.exchange, DEVICE, ACCOUNT)
        elif isinstance(asked, Update):
            server.updated(asked.exchange)
        elif isinstance(asked, Deregister):
            server.deregistered(asked.exchange)


def test_a_device_registers_updates_and_deregisters_with_our_server() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    server = RegistrationSession(DeviceIdentity("dev-1", DEVICE, ACCOUNT))
    client.register()
    assert converse(client, server) == [OperationDone(Operation.REGISTER, LOCATION)]
    client.update()
    assert converse(client, server) == [OperationDone(Operation.UPDATE, LOCATION)]
    client.deregister()
    assert converse(client, server) == [OperationDone(Operation.DEREGISTER, ())]


def test_a_released_device_is_sent_to_bootstrap() -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    server = RegistrationSession(DeviceIdentity("dev-1", DEVICE, ACCOUNT))
    client.register()
    assert converse(client, server, FtcError(Reason.CREDENTIALS_RELEASED)) == [
        OperationFailed(Operation.REGISTER, "4.03", "Device released", Reaction.BOOTSTRAP_AGAIN)
    ]
