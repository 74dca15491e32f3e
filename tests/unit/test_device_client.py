"""The device's bootstrap client: alone against scripted servers, and against our own bootstrap session."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.device.client import (
    BootstrapClient,
    BootstrapClientEffect,
    BootstrapFailed,
    BootstrapOutcome,
    Succeeded,
)
from ftc_core.device.effects import Ignore, RespondSeparately
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S
from ftc_core.lwm2m import resource_tlv, tlv
from ftc_core.lwm2m.bootstrap import BootstrapSession, Claim, Completed, Failed
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.messages import refusal, request, response
from ftc_core.lwm2m.objects import SecurityInstance, ServerInstance
from ftc_core.lwm2m.request import BootstrapRequest
from ftc_core.lwm2m.sequence import BootstrapGrant

ACCOUNT, DEVICE = "a" * 32, "d" * 32
FACTORY = SecurityInstance(
    server_uri="coaps://bootstrap.example:5784",
    bootstrap_server=True,
    mode=2,
    public_key=b"device certificate",
    server_public_key=b"factory bootstrap ca",
    secret_key=b"device key",
)
GRANT = BootstrapGrant(
    account_id=ACCOUNT,
    device_id=DEVICE,
    endpoint_name="dev-1",
    lwm2m_uri="coaps://lwm2m.example:5684",
    lwm2m_server_certificate=b"lwm2m ca",
    lwm2m_end_entity_certificate=b"lwm2m server",
    client_certificate=b"client certificate",
    client_key=b"client key",
    bootstrap_uri="coaps://bootstrap.example:5784",
    bootstrap_server_certificate=b"bootstrap ca",
    device_certificate=b"device certificate",
)
WHOLE = GRANT.lwm2m_security()


def effects_of(client: BootstrapClient) -> list[BootstrapClientEffect]:
    effects = []
    while (effect := client.next_effect()) is not None:
        effects.append(effect)
    return effects


def started(bootstrap: SecurityInstance = FACTORY) -> BootstrapClient:
    """A client whose Bootstrap-Request is under way as exchange 1."""
    client = BootstrapClient("dev-1", bootstrap)
    client.start(0.0)
    (send,) = effects_of(client)
    assert isinstance(send, SendRequest)
    client.request_sent(send.label, 1)
    return client


def writing() -> BootstrapClient:
    """A client whose Bootstrap-Request was granted."""
    client = started()
    client.response_received(1, response(Code.CHANGED), 1.0)
    assert effects_of(client) == []
    return client


def write(
    path: str, instance: SecurityInstance | ServerInstance, content_format: int | None = 11542
) -> Message:
    segments = path.split("/")
    payload = resource_tlv.encode((0, 0), {(0, 0, n): value for n, value in instance.resources().items()})
    return request(Code.PUT, segments, content_format=content_format, payload=payload)


def tlv_of(instance: SecurityInstance) -> tuple[tlv.Resource, ...]:
    entries = tlv.decode(write("0/0", instance).payload)
    return tuple(entry for entry in entries if isinstance(entry, tlv.Resource))


def only_answer(client: BootstrapClient) -> Respond:
    (effect,) = effects_of(client)
    assert isinstance(effect, Respond)
    return effect


# --- the Bootstrap-Request ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "query"),
    [
        ("coaps://b:5784", ("ep=dev-1",)),
        ("coaps://b:5784?aid=1", ("ep=dev-1", "aid=1", f"iep={DEVICE}", "mccv=4.13.2")),
        ("coaps://b:5784?aid=1&iep=2&x", ("ep=dev-1", "aid=1", "iep=2", "x", "mccv=4.13.2")),
    ],
)
def test_the_request_repeats_the_query_of_the_bootstrap_uri(uri: str, query: tuple[str, ...]) -> None:
    client = BootstrapClient(
        "dev-1", SecurityInstance(server_uri=uri), device_id=DEVICE, client_version="4.13.2"
    )
    client.start(0.0)
    (send,) = effects_of(client)
    assert isinstance(send, SendRequest)
    assert (send.message.code, send.message.opt.uri_path) == (Code.POST, ("bs",))
    assert send.message.opt.uri_query == query


def test_it_is_sent_once() -> None:
    client = started()
    client.start(1.0)
    assert effects_of(client) == []


@pytest.mark.parametrize("code", [Code.CREATED, Code.CHANGED, Code.CONTENT])
def test_any_success_lets_the_server_write(code: Code) -> None:
    client = started()
    client.response_received(1, response(code), 1.0)
    client.request_received(2, request(Code.DELETE, ("0",)), 2.0)
    assert only_answer(client).message.code == Code.DELETED


def test_a_refusal_is_reported_with_its_code_and_text() -> None:
    client = started()
    client.response_received(1, response(Code.FORBIDDEN, payload=b"Enrollment ID not registered"), 1.0)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)
    assert (failed.code, failed.text) == ("4.03", "Enrollment ID not registered")
    assert [(step.name, step.code) for step in failed.steps] == [("Bootstrap-Request", "4.03")]


def test_a_5_03_is_reported_with_the_wait_it_asks_for() -> None:
    client = started()
    client.response_received(1, refusal(FtcError(Reason.OVERLOADED, retry_after_s=12.5)), 1.0)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)
    assert (failed.code, failed.retry_after_s) == ("5.03", 13)


@pytest.mark.parametrize("cause", list(FailureCause))
def test_no_answer_is_reported_without_a_code(cause: FailureCause) -> None:
    client = started()
    client.exchange_failed(1, cause, 93.0)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)
    assert failed.code == ""


def test_answers_to_other_exchanges_are_ignored() -> None:
    client = started()
    client.response_received(2, response(Code.FORBIDDEN), 1.0)
    client.exchange_failed(2, FailureCause.RESET, 1.0)
    assert effects_of(client) == []


# --- writes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", [request(Code.DELETE, ("0",)), write("0/0", WHOLE), request(Code.POST, ("bs",))]
)
def test_what_overtakes_the_answer_is_ignored(message: Message) -> None:
    client = started()
    client.request_received(2, message, 0.5)
    assert effects_of(client) == [Ignore(2)]
    client.response_received(1, response(Code.CHANGED), 1.0)
    client.request_received(3, request(Code.DELETE, ("0",)), 2.0)
    assert only_answer(client).message.code == Code.DELETED


@pytest.mark.parametrize("path", [(), ("0",), ("0", "0"), ("1",), ("0", "1"), ("7",)])
def test_a_delete_is_answered_2_02_and_never_takes_the_bootstrap_account(path: tuple[str, ...]) -> None:
    client = writing()
    client.request_received(2, request(Code.DELETE, path), 2.0)
    assert only_answer(client).message.code == Code.DELETED
    for exchange, message in ((3, write("0/0", WHOLE)), (4, request(Code.POST, ("bs",)))):
        client.request_received(exchange, message, 3.0)
    _, separate = effects_of(client)
    assert isinstance(separate, RespondSeparately)
    client.response_acknowledged(4, 5.0)
    (succeeded,) = effects_of(client)
    assert isinstance(succeeded, Succeeded)
    assert succeeded.outcome.bootstrap == FACTORY


def refused_with(client: BootstrapClient, message: Message) -> bytes:
    """The text of the 4.00 that `message` gets, and that ends the bootstrap."""
    client.request_received(2, message, 2.0)
    respond, failed = effects_of(client)
    assert isinstance(respond, Respond)
    assert respond.message.code == Code.BAD_REQUEST
    assert isinstance(failed, BootstrapFailed)
    assert failed.text.encode() == respond.message.payload
    client.request_received(3, request(Code.DELETE, ("0",)), 3.0)
    assert only_answer(client).message.code == Code.NOT_FOUND
    return bytes(respond.message.payload)


@pytest.mark.parametrize("path", [("0", "0", "0"), ("10",), ("x",), ("0", "")])
def test_a_delete_of_a_strange_path_ends_the_bootstrap(path: tuple[str, ...]) -> None:
    assert refused_with(writing(), request(Code.DELETE, path)) == b"Invalid path"


@pytest.mark.parametrize("path", ["2/0", "4", "0/0/3", "0/x", "0/999999", ""])
def test_a_write_to_a_strange_path_ends_the_bootstrap(path: str) -> None:
    assert refused_with(writing(), write(path, WHOLE)) == b"Invalid path"


@pytest.mark.parametrize("content_format", [None, 0, 112, 11544])
def test_a_write_that_is_not_tlv_ends_the_bootstrap(content_format: int | None) -> None:
    assert refused_with(writing(), write("0/0", WHOLE, content_format)) == b"Content-Format is not supported"


def test_malformed_tlv_ends_the_bootstrap() -> None:
    message = request(Code.PUT, ("0", "0"), content_format=11542, payload=b"\xc8")
    assert b"ends within a header" in refused_with(writing(), message)


@pytest.mark.parametrize(
    "lacking",
    [
        SecurityInstance(server_uri="", mode=2, public_key=b"1", server_public_key=b"2", secret_key=b"3"),
        SecurityInstance(server_uri="coaps://x", mode=2, server_public_key=b"2", secret_key=b"3"),
        SecurityInstance(server_uri="coaps://x", mode=2, public_key=b"1", secret_key=b"3"),
        SecurityInstance(server_uri="coaps://x", mode=2, public_key=b"1", server_public_key=b"2"),
        SecurityInstance(server_uri="coaps://x", mode=4, public_key=b"1", server_public_key=b"2"),
        SecurityInstance(server_uri="coaps://x", mode=4),
        SecurityInstance(server_uri="coaps://x", mode=0),
        SecurityInstance(server_uri="coaps://x", mode=1),
        SecurityInstance(server_uri="coaps://x"),
    ],
)
def test_an_unusable_security_instance_ends_the_bootstrap(lacking: SecurityInstance) -> None:
    assert refused_with(writing(), write("0/0", lacking)) == b"BS FIN fails :Invalid security object"


@pytest.mark.parametrize(
    "usable",
    [
        SecurityInstance(server_uri="coap://x", mode=3),
        SecurityInstance(server_uri="coaps://x", mode=4, server_public_key=b"2"),
        WHOLE,
    ],
    ids=["NoSec", "EST", "certificate"],
)
def test_a_usable_security_instance_is_taken(usable: SecurityInstance) -> None:
    client = writing()
    client.request_received(2, write("0/0", usable), 2.0)
    assert only_answer(client).message.code == Code.CHANGED


def test_all_instances_are_judged_after_each_write() -> None:
    # The LwM2M instance that the client starts with is empty, so the bootstrap instance cannot come first.
    assert (
        refused_with(writing(), write("0/1", GRANT.bootstrap_security()))
        == b"BS FIN fails :Invalid security object"
    )
    client = writing()
    client.request_received(2, request(Code.DELETE, ("0",)), 2.0)
    client.request_received(3, write("0/1", GRANT.bootstrap_security()), 3.0)
    assert [effect.message.code for effect in effects_of(client) if isinstance(effect, Respond)] == [
        Code.DELETED,
        Code.CHANGED,
    ]


def test_instances_may_come_with_their_own_headers() -> None:
    client = writing()
    entries = [
        tlv.ObjectInstance(0, tlv_of(WHOLE)),
        tlv.ObjectInstance(1, tlv_of(GRANT.bootstrap_security())),
    ]
    client.request_received(2, request(Code.PUT, ("0",), content_format=99, payload=tlv.encode(entries)), 2.0)
    assert only_answer(client).message.code == Code.CHANGED


def test_the_device_object_is_accepted() -> None:
    client = writing()
    message = request(
        Code.PUT, ("3", "0"), content_format=11542, payload=tlv.encode([tlv.Resource(13, b"\x01")])
    )
    client.request_received(2, message, 2.0)
    assert only_answer(client).message.code == Code.CHANGED


@pytest.mark.parametrize(
    "message", [request(Code.PATCH, ("0",)), request(Code.POST, ("x",)), request(Code.FETCH, ("bs",))]
)
def test_another_request_is_4_05_and_does_no_harm(message: Message) -> None:
    client = writing()
    client.request_received(2, message, 2.0)
    assert only_answer(client).message.code == Code.METHOD_NOT_ALLOWED
    client.request_received(3, write("0/0", WHOLE), 3.0)
    assert only_answer(client).message.code == Code.CHANGED


# --- Finish ------------------------------------------------------------------------------------------


def finishing() -> BootstrapClient:
    """A client that has answered Bootstrap-Finish, exchange 3."""
    client = writing()
    client.request_received(2, write("0/0", WHOLE), 2.0)
    client.request_received(3, request(Code.POST, ("bs",), query=(f"iep={DEVICE}",)), 3.0)
    _, separate = effects_of(client)
    assert isinstance(separate, RespondSeparately)
    assert (separate.exchange, separate.message.code) == (3, Code.CHANGED)
    return client


@pytest.mark.parametrize(
    "end",
    [lambda client: client.response_acknowledged(3, 4.0), lambda client: client.association_closed(4.0)],
    ids=["acknowledged", "close_notify"],
)
def test_it_has_succeeded_once_its_answer_arrived(end: Callable[[BootstrapClient], None]) -> None:
    client = finishing()
    end(client)
    (succeeded,) = effects_of(client)
    assert isinstance(succeeded, Succeeded)
    assert succeeded.outcome == BootstrapOutcome(
        lwm2m=WHOLE, server=ServerInstance(), bootstrap=FACTORY, device_id=DEVICE
    )
    assert client.get_timer() is None
    client.association_closed(5.0)
    assert effects_of(client) == []


def test_an_answer_that_was_lost_is_a_failure() -> None:
    client = finishing()
    client.response_lost(2, 4.0)
    assert effects_of(client) == []
    client.response_lost(3, 4.0)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)


def test_an_acknowledgement_after_the_end_changes_nothing() -> None:
    client = finishing()
    client.handle_timer(BOOTSTRAP_SESSION_TIMEOUT_S)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)
    client.response_acknowledged(3, 200.0)
    assert effects_of(client) == []


def test_a_finish_without_an_lwm2m_account_is_refused() -> None:
    assert (
        refused_with(writing(), request(Code.POST, ("bs",))) == b"No security object found for Registration"
    )


def test_a_finish_without_a_bootstrap_account_is_refused() -> None:
    client = writing()
    for exchange, path in ((2, "0/0"), (3, "0/1")):
        client.request_received(exchange, write(path, WHOLE), 2.0)
    effects_of(client)
    client.request_received(4, request(Code.POST, ("bs",)), 3.0)
    respond, failed = effects_of(client)
    assert isinstance(respond, Respond)
    assert respond.message.payload == b"No bootstrap server account is left"
    assert isinstance(failed, BootstrapFailed)


@pytest.mark.parametrize("make", [started, writing, finishing])
def test_it_does_not_wait_for_ever(make: Callable[[], BootstrapClient]) -> None:
    client = make()
    assert client.get_timer() == BOOTSTRAP_SESSION_TIMEOUT_S
    client.handle_timer(BOOTSTRAP_SESSION_TIMEOUT_S - 0.001)
    assert effects_of(client) == []
    client.handle_timer(BOOTSTRAP_SESSION_TIMEOUT_S)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)
    assert client.get_timer() is None


@pytest.mark.parametrize("make", [started, writing])
def test_a_closed_association_ends_it(make: Callable[[], BootstrapClient]) -> None:
    client = make()
    client.association_closed(9.0)
    (failed,) = effects_of(client)
    assert isinstance(failed, BootstrapFailed)


# --- against our own server ----------------------------------------------------------------------------


class Conversation:
    """A client and a bootstrap session, their messages handed over without loss and in order."""

    def __init__(self, bootstrap: SecurityInstance = FACTORY, device_id: str = "") -> None:
        self.client = BootstrapClient("dev-1", bootstrap, device_id=device_id, client_version="4.13.2")
        self.server = BootstrapSession()
        self.numbers = count(1)
        self.now = 0.0
        self.claims: list[BootstrapRequest] = []
        self.outcome: Succeeded | BootstrapFailed | None = None
        self.ended: Completed | Failed | None = None

    def run(self, decision: BootstrapGrant | FtcError) -> None:
        self.client.start(self.now)
        while self._client_turn() or self._server_turn(decision):
            self.now += 0.5

    def _client_turn(self) -> bool:
        effect = self.client.next_effect()
        match effect:
            case SendRequest():
                exchange = next(self.numbers)
                self.client.request_sent(effect.label, exchange)
                effect.message.token = bytes(4)
                self.server.request_received(exchange, effect.message, self.now)
            case Respond():
                self.server.response_received(effect.exchange, effect.message, self.now)
            case RespondSeparately():
                self.server.response_received(effect.exchange, effect.message, self.now)
                self.client.response_acknowledged(effect.exchange, self.now)
            case Succeeded() | BootstrapFailed():
                assert self.outcome is None
                self.outcome = effect
            case Ignore():
                raise AssertionError("a write overtook the answer")
        return effect is not None

    def _server_turn(self, decision: BootstrapGrant | FtcError) -> bool:
        effect = self.server.next_effect()
        match effect:
            case SendRequest():
                exchange = next(self.numbers)
                self.server.request_sent(effect.label, exchange)
                self.client.request_received(exchange, effect.message, self.now)
            case Respond():
                self.client.response_received(effect.exchange, effect.message, self.now)
            case Claim():
                self.claims.append(effect.request)
                if isinstance(decision, FtcError):
                    self.server.claim_refused(decision, self.now)
                else:
                    self.server.claim_granted(decision, self.now)
            case Completed() | Failed():
                assert self.ended is None
                self.ended = effect
        return effect is not None


def test_a_virgin_device_is_claimed_and_holds_what_the_server_granted() -> None:
    conversation = Conversation()
    conversation.run(GRANT)
    assert conversation.claims == [BootstrapRequest(endpoint_name="dev-1")]
    assert isinstance(conversation.ended, Completed)
    assert isinstance(conversation.outcome, Succeeded)
    outcome = conversation.outcome.outcome
    assert outcome.lwm2m == GRANT.lwm2m_security()
    assert outcome.server == GRANT.server()
    assert outcome.device_id == DEVICE
    assert outcome.bootstrap.server_uri == f"coaps://bootstrap.example:5784?aid={ACCOUNT}"
    assert outcome.bootstrap.server_public_key == b"bootstrap ca"
    assert outcome.bootstrap.secret_key == b"device key"  # never written, never lost
    assert [(step.name, step.code) for step in conversation.outcome.steps] == [
        ("Bootstrap-Request", "2.04"),
        ("Bootstrap-Delete /0", "2.02"),
        ("Bootstrap-Write /0/0", "2.04"),
        ("Bootstrap-Write /1/0", "2.04"),
        ("Bootstrap-Write /0/1", "2.04"),
        ("Bootstrap-Finish", "2.04"),
    ]


def test_a_claimed_device_bootstraps_again_with_its_account_and_device_id() -> None:
    first = Conversation()
    first.run(GRANT)
    assert isinstance(first.outcome, Succeeded)
    again = Conversation(first.outcome.outcome.bootstrap, first.outcome.outcome.device_id)
    again.run(GRANT)
    assert again.claims == [
        BootstrapRequest(
            endpoint_name="dev-1", account_id=ACCOUNT, internal_endpoint=DEVICE, client_version="4.13.2"
        )
    ]
    assert isinstance(again.outcome, Succeeded)


def test_a_refused_device_gets_the_reason_and_keeps_what_it_had() -> None:
    conversation = Conversation()
    conversation.run(FtcError(Reason.ENROLLMENT_NOT_FOUND))
    assert isinstance(conversation.ended, Failed)
    assert isinstance(conversation.outcome, BootstrapFailed)
    assert (conversation.outcome.code, conversation.outcome.text) == ("4.03", "Enrollment ID not registered")


def test_a_device_that_cannot_use_what_it_gets_says_so() -> None:
    without_key = SecurityInstance(
        server_uri=FACTORY.server_uri, bootstrap_server=True, mode=2, public_key=b"c", server_public_key=b"ca"
    )
    conversation = Conversation(without_key)
    conversation.run(GRANT)
    assert isinstance(conversation.ended, Failed)
    assert conversation.ended.error.reason is Reason.INTERNAL_8
    assert conversation.ended.error.message == (
        "Bootstrap-Write /0/0: the device answered 4.00 BS FIN fails :Invalid security object"
    )
    assert isinstance(conversation.outcome, BootstrapFailed)
