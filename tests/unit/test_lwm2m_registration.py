"""The server's registration session: whom it lets through to the application, and what it answers."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m import request as parsed
from ftc_core.lwm2m.effects import Respond
from ftc_core.lwm2m.messages import request
from ftc_core.lwm2m.registration import (
    Deregister,
    DeviceIdentity,
    Register,
    RegistrationSession,
    Update,
)

ACCOUNT, DEVICE = "a" * 32, "d" * 32
IDENTITY = DeviceIdentity("dev-1", DEVICE, ACCOUNT)
REGISTER = request(Code.POST, ("rd",), query=("ep=dev-1", "lt=60", f"aid={ACCOUNT}"), payload=b"</3/0>")
UPDATE = request(Code.POST, ("rd", ACCOUNT, DEVICE), query=("lt=90",))
DEREGISTER = request(Code.DELETE, ("rd", ACCOUNT, DEVICE))


def answer_of(session: RegistrationSession) -> Respond:
    effect = session.next_effect()
    assert isinstance(effect, Respond)
    assert session.next_effect() is None
    return effect


def test_a_register_is_answered_with_its_location() -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, REGISTER)
    register = session.next_effect()
    assert register == Register(
        1,
        IDENTITY,
        parsed.Register(endpoint_name="dev-1", lifetime=60, account_id=ACCOUNT, object_links="</3/0>"),
    )
    assert session.next_effect() is None
    session.registered(1, DEVICE, ACCOUNT)
    answer = answer_of(session)
    assert (answer.exchange, answer.message.code) == (1, Code.CREATED)
    assert answer.message.opt.location_path == ("rd", ACCOUNT, DEVICE)


def test_an_update_is_answered_with_2_04() -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, UPDATE)
    assert session.next_effect() == Update(
        1, IDENTITY, parsed.Update(account_id=ACCOUNT, device_id=DEVICE, lifetime=90)
    )
    session.updated(1)
    assert answer_of(session).message.code == Code.CHANGED


def test_a_deregister_is_answered_with_2_02() -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, DEREGISTER)
    assert session.next_effect() == Deregister(1, IDENTITY)
    session.deregistered(1)
    assert answer_of(session).message.code == Code.DELETED


@pytest.mark.parametrize(
    "identity",
    [
        DeviceIdentity("dev-1", "", ACCOUNT),
        DeviceIdentity("dev-1", DEVICE, ""),
        DeviceIdentity("", DEVICE, ACCOUNT),
    ],
    ids=["without L", "without OU", "without CN"],
)
@pytest.mark.parametrize("message", [REGISTER, UPDATE, DEREGISTER], ids=["register", "update", "deregister"])
def test_a_certificate_that_is_not_of_ours_is_sent_to_bootstrap(
    identity: DeviceIdentity, message: Message
) -> None:
    session = RegistrationSession(identity)
    session.request_received(1, message)
    answer = answer_of(session)
    assert (answer.message.code, answer.message.payload) == (Code.FORBIDDEN, b"Device released")
    assert answer.error is not None
    assert answer.error.reason is Reason.CREDENTIALS_RELEASED


@pytest.mark.parametrize("query", [("ep=dev-2",), ("ep=dev-1", f"aid={'b' * 32}")], ids=["name", "account"])
def test_a_register_for_another_name_or_account_is_sent_to_bootstrap(query: tuple[str, ...]) -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, request(Code.POST, ("rd",), query=query))
    assert answer_of(session).message.code == Code.FORBIDDEN


@pytest.mark.parametrize("path", [("rd", ACCOUNT, "e" * 32), ("rd", "b" * 32, DEVICE), ("rd", DEVICE)])
@pytest.mark.parametrize("code", [Code.POST, Code.DELETE])
def test_the_location_of_another_device_is_4_04(path: tuple[str, ...], code: Code) -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, request(code, path))
    answer = answer_of(session)
    assert (answer.message.code, answer.message.payload) == (Code.NOT_FOUND, b"Not registered")


def test_a_bootstrap_request_is_not_for_this_server() -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, request(Code.POST, ("bs",), query=("ep=dev-1",)))
    assert answer_of(session).message.code == Code.NOT_FOUND


@pytest.mark.parametrize("message", [REGISTER, UPDATE, DEREGISTER], ids=["register", "update", "deregister"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.CREDENTIALS_RELEASED, Code.FORBIDDEN),
        (Reason.REGISTRATION_NOT_FOUND, Code.NOT_FOUND),
        (Reason.INTERNAL_1, Code.INTERNAL_SERVER_ERROR),
    ],
)
def test_what_the_application_refuses_is_told(message: Message, reason: Reason, code: Code) -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, message)
    session.next_effect()
    session.refused(1, FtcError(reason))
    assert answer_of(session).message.code == code


def test_an_answer_to_nothing_is_ignored() -> None:
    session = RegistrationSession(IDENTITY)
    session.request_received(1, UPDATE)
    session.next_effect()
    session.registered(1, DEVICE, ACCOUNT)  # not what was asked
    session.updated(2)
    session.refused(2, FtcError(Reason.INTERNAL_1))
    assert session.next_effect() is None
    session.updated(1)
    answer_of(session)
    session.updated(1)
    assert session.next_effect() is None


def test_requests_are_answered_by_their_own_number() -> None:
    session = RegistrationSession(IDENTITY)
    for exchange, message in ((1, REGISTER), (2, UPDATE)):
        session.request_received(exchange, message)
        session.next_effect()
    session.updated(2)
    assert answer_of(session).exchange == 2
    session.registered(1, DEVICE, ACCOUNT)
    assert answer_of(session).exchange == 1
