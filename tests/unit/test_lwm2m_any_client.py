"""The bootstrap session with clients not of Izuma's family: what they tell, refuse or leave unsaid."""

from __future__ import annotations

import pytest
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.errors import Reason
from ftc_core.limits import BOOTSTRAP_CLEAR_MAX, DISCOVER_PATIENCE_MAX_S
from ftc_core.lwm2m import content, senml
from ftc_core.lwm2m.bootstrap import BootstrapState, Completed, Failed, Superseded
from ftc_core.lwm2m.discovery import Discovered, parse_discovered
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.values import Path, Value
from tests.bootstrap_edge import GRANT, Edge

AT_0 = b'lwm2m="1.0",</0/0>,</3/0>'
AT_0_1_1 = b"</>;lwm2m=1.1,</0/0>,</3/0>"
S = BootstrapState


class Device(Edge):
    """A client by the book: tokens of eight bytes."""

    def __init__(self, *query: str) -> None:
        super().__init__()
        self.token = bytes(8)
        self.ask("ep=dev-1", *query)
        self.settle()
        self.grant()

    def path(self) -> str:
        """What is in flight: "PUT /0/0"."""
        message = self.asked()
        return f"{message.code} /{'/'.join(message.opt.uri_path)}"

    def discovering(self, *, round_trip_s: float = 0.05) -> None:
        """Answer the Delete of /0."""
        assert self.path() == "DELETE /0"
        self.answer(Code.DELETED, after_s=round_trip_s)
        assert self.session.state is S.DISCOVERING

    def tells(self, links: bytes) -> None:
        """Answer the Delete of /0, and Discover."""
        self.discovering()
        self.answer(Code.CONTENT, links, content_format=40)

    def written(self) -> dict[str, dict[Path, Value]]:
        """Take every write: what it was to, and its values."""
        writes = {}
        while self.asked().code == Code.PUT:
            message = self.asked()
            path = tuple(map(int, message.opt.uri_path))
            writes[self.path()] = content.decode(message.opt.content_format, path, message.payload)
            self.answer(Code.CHANGED)
        return writes


# --- Discover ----------------------------------------------------------------------------------------


def test_it_is_asked_for_everything_after_the_delete() -> None:
    device = Device()
    device.discovering()
    message = device.asked()
    assert (message.code, message.opt.uri_path, message.opt.accept) == (Code.GET, (), 40)


@pytest.mark.parametrize("query", [("pct=112",), ("pct=11542",), ()])
def test_a_client_of_izumas_family_is_asked_nothing(query: tuple[str, ...]) -> None:
    edge = Edge()
    edge.ask("ep=dev-1", "mccv=4.13.2", *[q for q in query if not q.startswith("pct")])
    edge.settle()
    edge.grant()
    edge.answer(Code.DELETED)
    assert edge.asked().opt.uri_path == ("0", "0")


@pytest.mark.parametrize(
    ("links", "paths"),
    [
        (AT_0, ["PUT /0/1", "PUT /1/0", "PUT /0/0/0"]),
        (b"</0/1>", ["PUT /0/0", "PUT /1/0", "PUT /0/1/0"]),
        (b"</0/7>,</1>,</1/0>;ssid=1", ["PUT /0/0", "PUT /1/0", "PUT /0/7/0"]),
        (b'</0/0>;uri="coaps://b,</0/1>;ssid=9"', ["PUT /0/1", "PUT /1/0", "PUT /0/0/0"]),
    ],
)
def test_the_accounts_are_written_at_the_numbers_that_the_client_uses(links: bytes, paths: list[str]) -> None:
    device = Device()
    device.tells(links)
    assert list(device.written()) == paths
    device.answer(Code.CHANGED)
    assert isinstance(device.effects[-1], Completed)


def test_of_a_bootstrap_account_that_stands_the_uri_alone_is_written() -> None:
    device = Device()
    device.tells(AT_0)
    assert device.written()["PUT /0/0/0"] == {
        (0, 0, 0): f"coaps://bootstrap.example:5784?aid={GRANT.account_id}"
    }


@pytest.mark.parametrize("query", [(), ("pct=112",)])
@pytest.mark.parametrize(
    "code",
    [Code.BAD_REQUEST, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED, Code.NOT_ACCEPTABLE, Code.NOT_IMPLEMENTED],
)
def test_a_client_that_refuses_discover_goes_on_with_izumas_numbers(
    code: Code, query: tuple[str, ...]
) -> None:
    device = Device(*query)
    device.discovering()
    device.answer(code)
    assert list(device.written()) == ["PUT /0/0", "PUT /1/0", "PUT /0/1"]


@pytest.mark.parametrize("query", [(), ("pct=112",)])
@pytest.mark.parametrize("cause", [FailureCause.RESET, FailureCause.TRANSFER_BROKEN])
def test_so_does_one_that_resets_it_or_breaks_the_transfer(
    query: tuple[str, ...], cause: FailureCause
) -> None:
    device = Device(*query)
    device.discovering()
    (exchange,) = device.in_flight
    device.in_flight.clear()
    device.session.exchange_failed(exchange, cause, device.now)
    device.settle()
    assert list(device.written()) == ["PUT /0/0", "PUT /1/0", "PUT /0/1"]


@pytest.mark.parametrize(
    "links",
    [
        b"",
        b"\xff",
        b"nonsense",
        b"</0/0>,</0/1>",  # which of the two?
        b"</0/0>;ssid=1,</0/1>;ssid=2",
        b"</0/0/0>,</0>,</x/y>",
        b" " * 16_384,
        b"</0/1>" * 4_000,
    ],
)
def test_an_answer_that_singles_out_no_bootstrap_account_is_as_good_as_none(links: bytes) -> None:
    device = Device()
    device.tells(links)
    assert list(device.written()) == ["PUT /0/0", "PUT /1/0", "PUT /0/1"]


# --- silence -----------------------------------------------------------------------------------------


def test_a_silent_client_is_asked_twice_and_loses_a_second_and_a_half() -> None:
    device = Device()
    device.discovering()
    asked_at = device.now
    for _ in range(2):
        assert device.path() == "GET /"
        due = device.session.get_timer()
        assert due is not None
        device.session.handle_timer(due - 0.001)
        assert device.settle() == []
        device.session.handle_timer(due)
        device.now = due
        cancel, again = device.settle()
        assert isinstance(cancel, Cancel)
        assert isinstance(again, SendRequest)
    assert device.now - asked_at == pytest.approx(1.5)
    assert list(device.written()) == ["PUT /0/0", "PUT /1/0", "PUT /0/1"]


def test_an_answer_to_the_second_question_counts() -> None:
    device = Device()
    device.discovering()
    device.now += 0.5
    device.session.handle_timer(device.now)
    device.settle()
    device.answer(Code.CONTENT, AT_0)
    assert next(iter(device.written())) == "PUT /0/1"


def test_an_answer_that_comes_too_late_does_no_harm() -> None:
    device = Device()
    device.discovering()
    (first,) = device.in_flight
    device.now += 0.5
    device.session.handle_timer(device.now)
    device.settle()
    device.session.response_received(first, device.asked(), device.now)
    assert device.settle() == []
    assert device.session.state is S.DISCOVERING


@pytest.mark.parametrize(
    ("round_trip_s", "patience_s"), [(0.01, 0.5), (0.5, 2.0), (60.0, DISCOVER_PATIENCE_MAX_S)]
)
def test_a_slow_path_is_waited_for_longer(round_trip_s: float, patience_s: float) -> None:
    device = Device()
    device.discovering(round_trip_s=round_trip_s)
    assert device.session.get_timer() == pytest.approx(device.now + patience_s)


def test_a_client_that_said_pct_is_waited_for() -> None:
    device = Device("pct=112")
    device.discovering()
    timer = device.session.get_timer()
    assert timer is not None
    assert timer > device.now + 60, "the bootstrap's own deadline"


def test_a_client_that_answers_nothing_at_all_is_lost() -> None:
    device = Device("pct=112")
    device.discovering()
    (exchange,) = device.in_flight
    device.session.exchange_failed(exchange, FailureCause.TIMED_OUT, device.now)
    failed = device.settle()[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.reason, failed.error.metadata) == (
        Reason.INTERNAL_9,
        {"step": "Bootstrap-Discover /"},
    )


# --- remains of an earlier owner ---------------------------------------------------------------------


def test_what_the_delete_left_is_deleted_one_by_one() -> None:
    device = Device()
    device.tells(b"</0/0>,</0/1>;ssid=5,</0/3>;ssid=6,</1/0>;ssid=5,</1/1>;ssid=6")
    seen = []
    while device.session.state is S.CLEARING:
        seen.append(device.path())
        device.answer(Code.DELETED)
    assert seen == ["DELETE /0/1", "DELETE /0/3", "DELETE /1"]
    assert list(device.written()) == ["PUT /0/1", "PUT /1/0", "PUT /0/0/0"]


def test_no_more_than_a_few_are_deleted() -> None:
    device = Device()
    device.tells(b"</0/0>" + b"".join(b",</0/%d>;ssid=%d" % (n, n) for n in range(1, 300)))
    seen = 0
    while device.session.state is S.CLEARING:
        seen += 1
        device.answer(Code.DELETED)
    assert seen == BOOTSTRAP_CLEAR_MAX
    assert next(iter(device.written())) == "PUT /0/1"


@pytest.mark.parametrize("code", [Code.BAD_REQUEST, Code.METHOD_NOT_ALLOWED, Code.UNAUTHORIZED])
def test_a_client_keeps_what_it_does_not_let_be_deleted(code: Code) -> None:
    device = Device()
    device.tells(b"</0/0>,</0/1>;ssid=7,</1/0>;ssid=7")
    device.answer(code)
    writes = device.written()
    assert list(writes) == ["PUT /0/2", "PUT /1/1", "PUT /0/0/0"]
    # GRANT wants Short Server ID 7, which is taken.
    assert writes["PUT /0/2"][0, 2, 10] == writes["PUT /1/1"][1, 1, 0] == 1


def test_a_reset_of_such_a_delete_is_a_refusal() -> None:
    device = Device()
    device.tells(b"</0/0>,</0/1>;ssid=4,</1/0>;ssid=4")
    (exchange,) = device.in_flight
    device.in_flight.clear()
    device.session.exchange_failed(exchange, FailureCause.RESET, device.now)
    device.settle()
    writes = device.written()
    assert list(writes) == ["PUT /0/2", "PUT /1/1", "PUT /0/0/0"]
    assert writes["PUT /1/1"][1, 1, 0] == 7, "the usual one is free"


# --- Bootstrap-Read ----------------------------------------------------------------------------------


def keeps_a_server(*query: str) -> Device:
    """A client with a server whose Short Server ID it does not say, and which it does not let go."""
    device = Device(*query)
    device.tells(b"</>;lwm2m=1.1,</0/0>,</1/0>,</1/1>")
    assert device.path() == "DELETE /1"
    device.answer(Code.METHOD_NOT_ALLOWED)
    return device


def test_servers_that_stay_are_read_for_their_short_server_ids() -> None:
    device = keeps_a_server("pct=112")
    message = device.asked()
    assert (device.path(), message.opt.accept) == ("GET /1", 112)
    servers = senml.encode_cbor({(1, 0, 0): 7, (1, 1, 0): 1})
    device.answer(Code.CONTENT, servers, content_format=112)
    writes = device.written()
    assert list(writes) == ["PUT /0/1", "PUT /1/2", "PUT /0/0/0"]
    assert writes["PUT /0/1"][0, 1, 10] == writes["PUT /1/2"][1, 2, 0] == 2


@pytest.mark.parametrize(
    ("code", "payload"),
    [(Code.METHOD_NOT_ALLOWED, b""), (Code.CONTENT, b"\xff"), (Code.CONTENT, b"\x80"), (Code.NOT_FOUND, b"")],
)
def test_without_a_useful_answer_the_usual_short_server_id_will_do(code: Code, payload: bytes) -> None:
    device = keeps_a_server("pct=112")
    device.answer(code, payload, content_format=112)
    writes = device.written()
    assert list(writes) == ["PUT /0/1", "PUT /1/2", "PUT /0/0/0"]
    assert writes["PUT /1/2"][1, 2, 0] == 7


def test_lwm2m_1_0_knows_no_read() -> None:
    device = Device()
    device.tells(b'lwm2m="1.0",</0/0>,</1/0>,</1/1>')
    device.answer(Code.METHOD_NOT_ALLOWED)
    assert device.path() == "PUT /0/1"


# --- what it trusts the server by --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "links", "certificate", "usage"),
    [
        ((), AT_0, b"lwm2m server", None),
        ((), AT_0_1_1, b"lwm2m ca", 2),
        ((), b"</>;lwm2m=9.9.9,</0/0>", b"lwm2m server", None),
        (("pct=112",), AT_0, b"lwm2m ca", 2),  # it is 1.1, whatever it says here
        (("pct=112",), None, b"lwm2m ca", 2),
        ((), None, b"lwm2m ca", None),
    ],
)
def test_a_client_is_given_what_it_knows_the_server_by(
    query: tuple[str, ...], links: bytes | None, certificate: bytes, usage: int | None
) -> None:
    device = Device(*query)
    device.discovering()
    device.answer(Code.METHOD_NOT_ALLOWED if links is None else Code.CONTENT, links or b"")
    account = next(iter(device.written().values()))
    values = {path[2]: value for path, value in account.items()}
    assert (values[4], values.get(15)) == (certificate, usage)


# --- Bootstrap-Pack ----------------------------------------------------------------------------------


class Packer(Edge):
    """A client that asks for a pack, and is granted it."""

    def __init__(self, *query: str, accept: int | None = None) -> None:
        super().__init__()
        self.accept = accept
        self.exchange = self.ask("ep=dev-1", *query, path=("bspack",), code=Code.GET)
        self.settle()
        self.granted = self.grant()

    def values(self) -> dict[Path, Value]:
        answer = self.answered[self.exchange]
        return content.decode(answer.opt.content_format, (), answer.payload)


@pytest.mark.parametrize("accept", [None, 110, 112, 11544])
def test_a_pack_is_the_answer_and_all_of_it(accept: int | None) -> None:
    device = Packer(accept=accept)
    (respond,) = device.granted
    assert isinstance(respond, Respond)
    assert (respond.exchange, respond.message.code) == (device.exchange, Code.CONTENT)
    assert respond.message.opt.content_format == (accept or 112)
    assert device.session.state is S.PACKING
    values = device.values()
    assert values[0, 2, 0] == f"coaps://[2001:db8::1]:5684?aid={GRANT.account_id}"
    assert (values[0, 2, 4], values[0, 2, 15], values[0, 2, 5]) == (b"lwm2m ca", 2, b"client key")
    assert values[0, 2, 10] == values[1, 0, 0] == 7


@pytest.mark.parametrize(("acc", "instance"), [("/0/0", 1), ("/0/1", 0), ("/0/0,/0/1,/21/0", 2), ("?", 2)])
def test_a_pack_leaves_the_bootstrap_account_alone(acc: str, instance: int) -> None:
    values = Packer(f"acc={acc}").values()
    assert {path[:2] for path in values} == {(0, instance), (1, 0)}


def test_a_pack_completes_the_bootstrap_when_its_last_block_is_out() -> None:
    device = Packer()
    device.session.response_out(device.exchange + 1, 102.0)
    assert device.settle() == []
    device.session.response_out(device.exchange, 102.0)
    (completed,) = device.settle()
    assert isinstance(completed, Completed)
    assert completed.lingers
    assert [(step.name, step.ended_at, step.code) for step in completed.steps] == [
        ("Bootstrap-Pack-Request", 101.0, "2.05"),
        ("Bootstrap-Pack", 102.0, ""),
    ]
    assert device.session.get_timer() is None
    device.session.response_out(device.exchange, 103.0)
    assert device.settle() == []


def test_a_pack_that_is_not_fetched_fails() -> None:
    device = Packer()
    due = device.session.get_timer()
    assert due is not None
    device.session.handle_timer(due)
    (failed,) = [effect for effect in device.settle() if isinstance(effect, Failed)]
    assert failed.error.reason is Reason.INTERNAL_9


def test_a_bootstrap_request_replaces_a_pack_under_way() -> None:
    device = Packer()
    device.ask()
    superseded, _claim = device.settle()
    assert isinstance(superseded, Superseded)
    device.session.response_out(device.exchange, 102.0)
    assert device.settle() == []
    device.grant()
    assert device.asked().opt.uri_path == ("0",)


# --- the link format ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("links", "discovered"),
    [
        # LwM2M 1.0.2 TS §5.2.7.3, the answer for object 0
        (
            'lwm2m="1.0",</0/0>;ssid=101, </0/1/>, </0/2>;ssid=102',
            Discovered((1, 0), {0: 101, 1: None, 2: 102}, {}),
        ),
        # LwM2M 1.1 TS core §6.1.7.3
        (
            '</>;lwm2m=1.1,</0/0>;ssid=101;uri="coaps://server_1.example.com",</0/1>,'
            '</0/2>;ssid=102;uri="coaps://server_2.example.com"',
            Discovered((1, 1), {0: 101, 1: None, 2: 102}, {}),
        ),
        ('</>;lwm2m="1.2",</0/0>,</1/0>;ssid="5",</3>;ver=1.1', Discovered((1, 2), {0: None}, {0: 5})),
        ('lwm2m="1.0"', Discovered((1, 0), {}, {})),
        ("</0/0>;ssid=1;ssid=2,</1/0>;ssid=x,</1/1>;ssid", Discovered((1, 0), {0: 1}, {0: None, 1: None})),
    ],
)
def test_the_answer_to_discover_is_read(links: str, discovered: Discovered) -> None:
    assert parse_discovered(links.encode()) == discovered
