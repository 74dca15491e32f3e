"""The simulated device as a client by the book of LwM2M 1.0, 1.1 and 1.2."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.device.client import (
    FINISH_LINGER_S,
    BootstrapClient,
    BootstrapClientEffect,
    BootstrapFailed,
    Succeeded,
)
from ftc_core.device.effects import Ignore
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.lwm2m import content, sequence
from ftc_core.lwm2m.accounts import AccountLayout
from ftc_core.lwm2m.discovery import VERSION_1_1, Version
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.messages import request, response
from ftc_core.lwm2m.objects import SecurityInstance
from tests.bootstrap_edge import GRANT

OWN = SecurityInstance(
    server_uri="coaps://b:5784",
    bootstrap_server=True,
    mode=2,
    public_key=b"device certificate",
    server_public_key=b"factory ca",
    secret_key=b"device key",
)
LAYOUT = AccountLayout(lwm2m=1, bootstrap=0, bootstrap_found=True)


class Client:
    """A client, and what it wants done."""

    def __init__(self, model: ClientModel) -> None:
        self.session = BootstrapClient("dev-1", OWN, model=model)
        self.now = 0.0
        self.session.start(0.0)

    def effects(self) -> list[BootstrapClientEffect]:
        taken = []
        while (effect := self.session.next_effect()) is not None:
            taken.append(effect)
        return taken

    def asks(self) -> Message:
        """What it sends, known as exchange 1 from then on."""
        (sent,) = self.effects()
        assert isinstance(sent, SendRequest)
        self.session.request_sent(sent.label, 1)
        return sent.message

    def is_told(self, answer: Message) -> None:
        self.now += 1.0
        self.session.response_received(1, answer, self.now)

    def answers(self, message: Message) -> Message:
        """Its answer to a request of the server."""
        self.now += 1.0
        self.session.request_received(2, message, self.now)
        effect = self.effects()[0]
        assert isinstance(effect, Respond)
        return effect.message


def granted(model: ClientModel) -> Client:
    client = Client(model)
    client.asks()
    client.is_told(response(Code.CHANGED))
    return client


def by_the_book(version: Version = VERSION_1_1) -> ClientModel:
    return ClientModel(version=version)


# --- the request -------------------------------------------------------------------------------------


def test_it_says_which_format_it_prefers() -> None:
    message = Client(ClientModel(version=VERSION_1_1, content_format=112)).asks()
    assert (message.code, message.opt.uri_path) == (Code.POST, ("bs",))
    assert message.opt.uri_query == ("ep=dev-1", "pct=112")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"content_format": 11542}, "1.0 knows no preferred"),
        ({"version": VERSION_1_1, "content_format": 11544}, "does not take content format 11544"),
        ({"version": VERSION_1_2, "content_format": 60}, "does not take content format 60"),
        ({"version": VERSION_1_1, "packs": True}, "needs LwM2M 1.2"),
        ({"version": VERSION_1_2, "packs": True, "content_format": 11542}, "cannot be TLV"),
    ],
)
def test_there_is_no_client_that_its_version_does_not_allow(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ClientModel(**options)  # type: ignore[arg-type]


# --- what it answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "path", "links"),
    [
        ((1, 0), (), b'lwm2m="1.0",</0/0>,</3/0>'),
        (VERSION_1_1, (), b"</>;lwm2m=1.1,</0/0>,</3/0>"),
        (VERSION_1_2, ("0",), b"</>;lwm2m=1.2,</0/0>"),
        (VERSION_1_2, ("1",), b"</>;lwm2m=1.2"),
    ],
)
def test_it_tells_its_instances(version: Version, path: tuple[str, ...], links: bytes) -> None:
    answer = granted(by_the_book(version)).answers(request(Code.GET, path, accept=40))
    assert (answer.code, answer.opt.content_format, answer.payload) == (Code.CONTENT, 40, links)


def test_it_tells_the_accounts_that_were_written() -> None:
    client = granted(by_the_book())
    for step in (
        sequence.write_lwm2m_security(GRANT, LAYOUT, 112),
        sequence.write_server(GRANT, LAYOUT, 112),
    ):
        assert client.answers(step.message).code == Code.CHANGED
    links = client.answers(request(Code.GET, (), accept=40)).payload
    assert links == b"</>;lwm2m=1.1,</0/0>,</0/1>;ssid=7,</1/0>;ssid=7,</3/0>"
    answer = client.answers(request(Code.GET, ("1",), accept=110))
    assert content.decode(answer.opt.content_format, (1,), answer.payload) == {
        (1, 0, number): value for number, value in GRANT.server().resources().items()
    }


@pytest.mark.parametrize(
    "message",
    [request(Code.GET, ("1",)), request(Code.GET, ("1",), accept=112), request(Code.GET, ())],
)
def test_1_0_knows_no_read(message: Message) -> None:
    assert granted(by_the_book((1, 0))).answers(message).code == Code.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("message", [request(Code.GET, (), accept=40), request(Code.GET, ("1",), accept=112)])
def test_a_client_without_discover_says_so(message: Message) -> None:
    client = granted(ClientModel(version=VERSION_1_1, discovers=False))
    assert client.answers(message).code == Code.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("path", [("0",), ("0", "0"), ("2",), ("1", "x")])
def test_security_is_not_read(path: tuple[str, ...]) -> None:
    assert granted(by_the_book()).answers(request(Code.GET, path, accept=112)).code == Code.BAD_REQUEST


def test_izumas_client_says_nothing() -> None:
    client = granted(IZUMA)
    client.session.request_received(2, request(Code.GET, (), accept=40), 2.0)
    assert client.effects() == [Ignore(2)]


def test_the_uri_of_the_bootstrap_account_may_be_written_alone() -> None:
    client = granted(by_the_book())
    step = sequence.write_bootstrap_security(GRANT, LAYOUT, 112)
    assert client.answers(step.message).code == Code.CHANGED
    assert client.session._objects.bootstrap_account() == SecurityInstance(
        **{**{name: getattr(OWN, name) for name in OWN.__slots__}, "server_uri": GRANT.bootstrap_account_uri}
    )


# --- the end -----------------------------------------------------------------------------------------


def written() -> Client:
    """A client that has all but Finish."""
    client = granted(by_the_book())
    client.answers(sequence.write_lwm2m_security(GRANT, LAYOUT, 112).message)
    client.answers(sequence.write_server(GRANT, LAYOUT, 112).message)
    return client


def test_it_has_succeeded_when_the_server_closes() -> None:
    client = written()
    assert client.answers(sequence.finish(GRANT).message).code == Code.CHANGED
    client.session.association_closed(client.now)
    (succeeded,) = client.effects()
    assert isinstance(succeeded, Succeeded)


def test_it_has_succeeded_when_finish_was_not_repeated() -> None:
    client = written()
    client.answers(sequence.finish(GRANT).message)
    client.session.handle_timer(client.now + FINISH_LINGER_S - 0.01)
    assert client.effects() == []
    client.session.handle_timer(client.now + FINISH_LINGER_S)
    (succeeded,) = client.effects()
    assert isinstance(succeeded, Succeeded)


def test_an_account_without_its_server_instance_is_refused_at_the_end() -> None:
    client = granted(by_the_book())
    client.answers(sequence.write_lwm2m_security(GRANT, LAYOUT, 112).message)
    assert client.answers(sequence.finish(GRANT).message).code == Code.BAD_REQUEST


# --- Bootstrap-Pack ----------------------------------------------------------------------------------


def packed() -> Message:
    payload = sequence.pack(GRANT, LAYOUT, 112)
    return response(Code.CONTENT, content_format=112, payload=payload)


def test_a_pack_is_all_that_it_needs() -> None:
    client = Client(ClientModel(version=VERSION_1_2, packs=True, bootstrap_instance=1))
    message = client.asks()
    assert (message.code, message.opt.uri_path, message.opt.accept) == (Code.GET, ("bspack",), 112)
    assert message.opt.uri_query == ("ep=dev-1", "acc=/0/1")


def test_it_holds_what_the_pack_held() -> None:
    client = Client(ClientModel(version=VERSION_1_2, packs=True))
    client.asks()
    client.is_told(packed())
    (succeeded,) = client.effects()
    assert isinstance(succeeded, Succeeded)
    assert succeeded.outcome.lwm2m == GRANT.lwm2m_security(LAYOUT)
    assert succeeded.outcome.bootstrap == OWN


@pytest.mark.parametrize(
    "answer",
    [
        response(Code.NOT_FOUND),
        response(Code.METHOD_NOT_ALLOWED),
        response(Code.NOT_ACCEPTABLE),
        response(Code.NOT_IMPLEMENTED),
        response(Code.CONTENT, content_format=112, payload=b"\x80"),
        response(Code.CONTENT, content_format=11542, payload=packed().payload),
        response(Code.CONTENT, content_format=112, payload=b"\xff"),
    ],
)
def test_without_a_pack_that_it_can_use_it_sends_a_bootstrap_request(answer: Message) -> None:
    client = Client(ClientModel(version=VERSION_1_2, packs=True))
    client.asks()
    client.is_told(answer)
    again = client.asks()
    assert (again.code, again.opt.uri_path) == (Code.POST, ("bs",))
    client.is_told(response(Code.FORBIDDEN, payload=b"Enrollment ID not registered"))
    (failed,) = client.effects()
    assert isinstance(failed, BootstrapFailed)
    assert (failed.code, failed.text) == ("4.03", "Enrollment ID not registered")


def test_a_pack_that_never_comes_is_a_failure() -> None:
    client = Client(ClientModel(version=VERSION_1_2, packs=True))
    client.asks()
    client.session.exchange_failed(1, FailureCause.TIMED_OUT, 93.0)
    (failed,) = client.effects()
    assert isinstance(failed, BootstrapFailed)
