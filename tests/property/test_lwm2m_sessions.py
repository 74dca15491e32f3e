"""The sessions of server and device under any sequence of inputs, sane or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.coap.events import FailureCause
from ftc_core.credentials.pki import create_authority
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.effects import Ignore, RespondSeparately
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.registration import RegistrationClient
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m import content
from ftc_core.lwm2m.bootstrap import (
    TRANSITIONS,
    BootstrapSession,
    BootstrapState,
    Claim,
    Completed,
    Enroll,
    Failed,
    Finished,
    Superseded,
)
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.messages import request, response
from ftc_core.lwm2m.objects import SecurityInstance
from ftc_core.lwm2m.registration import DeviceIdentity, RegistrationSession
from ftc_core.lwm2m.sequence import BootstrapGrant

ACCOUNT, DEVICE = "a" * 32, "d" * 32
GRANT = BootstrapGrant(
    account_id=ACCOUNT,
    device_id=DEVICE,
    endpoint_name="dev-1",
    lwm2m_uri="coaps://l:5684",
    lwm2m_server_certificate=b"lwm2m ca",
    lwm2m_end_entity_certificate=b"lwm2m server",
    client_certificate=b"certificate",
    client_key=b"key",
    bootstrap_uri="coaps://b:5784",
    bootstrap_server_certificate=b"bootstrap ca",
)

CERTIFICATE = create_authority("Any", now=datetime(2026, 11, 29, tzinfo=UTC)).certificate_der
EST_GRANT = replace(GRANT, client_certificate=None, client_key=None, issuing_certificate=CERTIFICATE)

ANY_TEXT = st.text(st.characters(), max_size=8)  # lone surrogates included
SEGMENTS = st.sampled_from(["bs", "rd", "0", "1", "3", ACCOUNT, DEVICE, "bspack", "est", "sen"]) | ANY_TEXT
PARAMETERS = (
    st.sampled_from(
        ["ep=dev-1", "ep=dev-2", f"aid={ACCOUNT}", "aid=x", "pct=99", "pct=1", "lt=60", "lt=x", "b=U"]
    )
    | ANY_TEXT
    | st.builds(
        "{}={}".format, st.sampled_from(["ep", "aid", "iep", "mccv", "pct", "lt", "b", "lwm2m"]), ANY_TEXT
    )
)
PAYLOADS = st.binary(max_size=40) | st.sampled_from(
    [
        content.encode(
            11542, (0, 0), {(0, 0, n): value for n, value in GRANT.lwm2m_security().resources().items()}
        ),
        content.encode(
            11542, (0, 0), {(0, 0, n): value for n, value in EST_GRANT.lwm2m_security().resources().items()}
        ),
        content.encode(11542, (1, 0), {(1, 0, n): value for n, value in GRANT.server().resources().items()}),
    ]
)
CODES = st.sampled_from([Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH])
REQUESTS = st.builds(
    lambda code, path, query, content_format, payload: request(
        code, path, query=query, content_format=content_format, payload=payload
    ),
    CODES,
    st.lists(SEGMENTS, max_size=4),
    st.lists(PARAMETERS, max_size=4),
    st.sampled_from([None, 0, 99, 11542]),
    PAYLOADS,
)


def with_token(message: Message, token: bytes) -> Message:
    message.token = token
    return message


BOOTSTRAP_REQUESTS = st.builds(
    with_token,
    st.sampled_from(
        [("ep=dev-1",), ("ep=dev-1", "pct=99"), ("ep=dev-1", "pct=112"), ("ep=dev-1", f"aid={ACCOUNT}")]
    ).map(lambda query: request(Code.POST, ("bs",), query=query))
    | st.sampled_from([None, 110, 112, 11544, 60]).map(
        lambda accept: request(Code.GET, ("bspack",), query=("ep=dev-1", "acc=/0/1"), accept=accept)
    ),
    st.sampled_from([bytes(4), bytes(8)]),
)
EST_REQUESTS = st.builds(
    lambda path, code, accept, csr: request(code, ("est", path), accept=accept, payload=csr),
    st.sampled_from(["sen", "sen", "sen", "crts", "sren"]),
    st.sampled_from([Code.POST, Code.POST, Code.GET]),
    st.sampled_from([None, 281, 287, 60]),
    st.sampled_from([b"one", b"two"]),
)
LINKS = st.sampled_from(
    [
        b"</0/0>",
        b'lwm2m="1.0",</0/0>,</0/1>;ssid=1,</1/0>;ssid=1',
        b"</>;lwm2m=1.1,</0/1>,</0/2>;ssid=2,</1/0>,</1/1>",
        b"</0/0>,</0/1>",
    ]
).map(lambda links: response(Code.CONTENT, content_format=40, payload=links))
ANSWERS = LINKS | st.builds(
    lambda code, payload: response(code, payload=payload),
    st.sampled_from([Code.CHANGED, Code.CHANGED, Code.DELETED, Code.DELETED, Code.CREATED, Code.BAD_REQUEST]),
    st.binary(max_size=8),
)
ERRORS = st.sampled_from(Reason).map(FtcError)
EXCHANGES = st.integers(0, 8)


class BootstrapEdge:
    """Performs a bootstrap session's effects and holds it to its promises."""

    def __init__(self, *, enrolls: bool = False) -> None:
        self.session = BootstrapSession(enrolls=enrolls)
        self.enrolls = enrolls
        self.refusal: FtcError | None = None
        """What the next certificate request is refused with, if it is."""
        self.issued: set[bytes] = set()
        """The certificate requests that were granted since the last claim."""
        self.finished = False
        self.now = 0.0
        self.numbers = count(1)
        self.in_flight: set[int] = set()
        self.claims = 0
        self.granted = False
        self.packed = self.handed_out = 0
        """The exchange of the newest pack, and of the newest certificate."""
        self.open: set[int] = set()
        """Requests of the device that were neither answered nor cancelled."""
        self.visited: set[BootstrapState] = set()

    def settle(self) -> None:
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case SendRequest():
                    assert self.granted, "a write before the claim was granted"
                    assert self.in_flight == set(), "two requests in flight"
                    exchange = next(self.numbers)
                    self.in_flight.add(exchange)
                    self.session.request_sent(effect.label, exchange)
                case Respond():
                    assert effect.exchange in self.open, "answered twice"
                    self.open.remove(effect.exchange)
                    if CERTIFICATE in effect.message.payload:
                        assert self.enrolls
                        assert self.issued or effect.message.code == Code.CONTENT, "nothing was granted"
                        self.handed_out = effect.exchange
                    elif effect.message.code == Code.CONTENT:
                        assert self.granted, "a pack before the claim was granted"
                        self.packed = effect.exchange
                    else:
                        effect.message.payload.decode()
                case Cancel():
                    assert effect.exchange in self.in_flight | self.open
                    self.in_flight.discard(effect.exchange)
                    self.open.discard(effect.exchange)
                case Claim():
                    self.claims += 1
                    assert self.claims == 1, "two claims in flight"
                    self.granted = self.finished = False
                    self.issued.clear()
                case Finished():
                    assert self.granted
                    assert self.enrolls
                    assert not self.finished, "finished twice"
                    self.finished = True
                case Enroll():
                    assert self.finished, "a certificate before all else is written"
                    assert not self.issued, "a second certificate"
                    if self.refusal is None:
                        self.issued.add(effect.csr)
                        self.session.certificate_issued(CERTIFICATE, self.now)
                    else:
                        self.session.certificate_refused(self.refusal, self.now)
                case Superseded() | Completed() | Failed():
                    assert self.in_flight == set()
                    assert not isinstance(effect, Completed) or effect.enrolled == bool(self.issued)
                    self.granted = False
        self.visited.add(self.session.state)
        assert (self.session.get_timer() is None) == (
            self.session.state in (BootstrapState.IDLE, BootstrapState.COMPLETED, BootstrapState.FAILED)
        )

    def ask(self, message: Message) -> None:
        exchange = next(self.numbers)
        self.open.add(exchange)
        self.session.request_received(exchange, message, self.now)

    def decide(self, decision: BootstrapGrant | FtcError) -> None:
        if self.claims:
            self.claims = 0
            self.granted = isinstance(decision, BootstrapGrant)
            if isinstance(decision, BootstrapGrant):
                self.session.claim_granted(EST_GRANT if self.enrolls else decision, self.now)
            else:
                self.session.claim_refused(decision, self.now)

    def answer(self, message: Message) -> None:
        if self.in_flight:
            self.session.response_received(self.in_flight.pop(), message, self.now)

    def break_off(self, cause: FailureCause) -> None:
        if self.in_flight:
            self.session.exchange_failed(self.in_flight.pop(), cause, self.now)

    def stray(self, exchange: int, message: Message) -> None:
        if exchange not in self.in_flight:
            self.session.response_received(exchange, message, self.now)
            self.session.exchange_failed(exchange, FailureCause.RESET, self.now)

    def fetch(self) -> None:
        self.session.response_out(self.packed, self.now)

    def fetch_certificate(self) -> None:
        self.session.response_out(self.handed_out, self.now)

    def judge_by(self, refusal: FtcError | None) -> None:
        self.refusal = refusal

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.handle_timer(self.now)

    def lose(self) -> None:
        self.in_flight.clear()
        self.open.clear()
        self.session.association_closed(self.now)


def does(action: Callable[..., None], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An input: a method of the edge and what it is called with."""
    return st.tuples(st.just(action.__name__), st.tuples(*arguments))


INPUTS = st.one_of(
    does(BootstrapEdge.ask, BOOTSTRAP_REQUESTS),
    does(BootstrapEdge.ask, REQUESTS),
    does(BootstrapEdge.decide, st.just(GRANT)),
    does(BootstrapEdge.decide, st.just(GRANT) | ERRORS),
    does(BootstrapEdge.answer, st.just(response(Code.CHANGED))),
    does(BootstrapEdge.answer, ANSWERS),
    does(BootstrapEdge.break_off, st.sampled_from(FailureCause)),
    does(BootstrapEdge.stray, EXCHANGES, ANSWERS),
    does(BootstrapEdge.answer, LINKS),
    does(BootstrapEdge.fetch),
    does(BootstrapEdge.ask, EST_REQUESTS),
    does(BootstrapEdge.fetch_certificate),
    does(BootstrapEdge.judge_by, st.none() | ERRORS),
    does(BootstrapEdge.wait, st.floats(0, 80) | st.floats(0, 2)),
    does(BootstrapEdge.lose),
)


@settings(max_examples=300)
@given(st.booleans(), st.lists(INPUTS, max_size=30))
def test_the_bootstrap_session_keeps_its_promises(
    enrolls: bool, inputs: list[tuple[str, tuple[Any, ...]]]
) -> None:
    edge = BootstrapEdge(enrolls=enrolls)
    for action, arguments in inputs:
        getattr(edge, action)(*arguments)
        edge.settle()


TO_THE_CERTIFICATE = [
    BootstrapEdge.ask,
    BootstrapEdge.decide,
    *[BootstrapEdge.answer] * 5,
    BootstrapEdge.ask,
    BootstrapEdge.fetch_certificate,
]
"""Of a device of Izuma's family, to whom everything happens as it should."""


@settings(max_examples=300)
@given(st.integers(0, len(TO_THE_CERTIFICATE)), st.lists(INPUTS, max_size=10))
def test_it_keeps_them_at_every_step_on_the_way_to_a_certificate(
    steps: int, inputs: list[tuple[str, tuple[Any, ...]]]
) -> None:
    good: list[tuple[Any, ...]] = [
        (with_token(request(Code.POST, ("bs",), query=("ep=dev-1",)), bytes(4)),),
        (GRANT,),
        (response(Code.DELETED),),
        *[(response(Code.CHANGED),)] * 4,
        (request(Code.POST, ("est", "sen"), payload=b"one"),),
        (),
    ]
    edge = BootstrapEdge(enrolls=True)
    for action, arguments in list(zip(TO_THE_CERTIFICATE, good, strict=True))[:steps]:
        action(edge, *arguments)
        edge.settle()
    if steps == len(good):
        assert {*edge.visited, BootstrapState.IDLE, *NOT_ON_THAT_WAY} == set(TRANSITIONS)
    for name, arguments in inputs:
        getattr(edge, name)(*arguments)
        edge.settle()


NOT_ON_THAT_WAY = {
    BootstrapState.DISCOVERING,
    BootstrapState.CLEARING,
    BootstrapState.READING,
    BootstrapState.PACKING,
    BootstrapState.FAILED,
}


@given(st.lists(st.tuples(st.integers(0, 4), REQUESTS, ERRORS), max_size=15))
def test_the_registration_session_answers_each_request_once(
    inputs: list[tuple[int, Message, FtcError]],
) -> None:
    session = RegistrationSession(DeviceIdentity("dev-1", DEVICE, ACCOUNT))
    answered: list[int] = []
    for exchange, (outcome, message, error) in enumerate(inputs):
        session.request_received(exchange, message)
        for kind in range(outcome):
            (
                lambda n: session.registered(n, DEVICE, ACCOUNT),
                session.updated,
                session.deregistered,
                lambda n, error=error: session.refused(n, error),
            )[kind](exchange)
        while (effect := session.next_effect()) is not None:
            if isinstance(effect, Respond):
                answered.append(effect.exchange)
    assert len(answered) == len(set(answered))
    assert {exchange for exchange, (outcome, _, _) in enumerate(inputs) if outcome == 4} <= set(answered)


CLIENT_INPUTS = st.one_of(
    st.tuples(
        st.just("response_received"),
        EXCHANGES,
        st.sampled_from([281, 287, None, 0]).flatmap(
            lambda content_format: st.builds(
                lambda code, payload: response(code, content_format=content_format, payload=payload),
                st.sampled_from([Code.CHANGED, Code.BAD_REQUEST]),
                st.binary(max_size=40) | st.just(CERTIFICATE),
            )
        ),
    ),
    st.tuples(st.just("request_received"), EXCHANGES, REQUESTS),
    st.tuples(st.just("response_received"), EXCHANGES, ANSWERS),
    st.tuples(st.just("exchange_failed"), EXCHANGES, st.sampled_from(FailureCause)),
    st.tuples(st.just("response_acknowledged"), EXCHANGES),
    st.tuples(st.just("response_lost"), EXCHANGES),
    st.tuples(st.just("association_closed")),
)


MODELS = st.sampled_from(
    [
        IZUMA,
        ClientModel(),
        ClientModel(version=VERSION_1_1, content_format=112),
        ClientModel(version=VERSION_1_2, packs=True),
    ]
)


@given(MODELS, st.booleans(), st.lists(CLIENT_INPUTS, max_size=20))
def test_the_bootstrap_client_ends_once_at_most_whatever_the_server_sends(
    model: ClientModel, granted: bool, inputs: list[tuple[Any, ...]]
) -> None:
    own = SecurityInstance(
        server_uri="coaps://b",
        bootstrap_server=True,
        mode=2,
        public_key=b"c",
        server_public_key=b"a",
        secret_key=b"k",
    )
    client = BootstrapClient("dev-1", own, model=model)
    client.start(0.0)
    client.request_sent(1, 1)
    if granted:
        client.response_received(1, response(Code.CHANGED), 0.0)
    ends, asked, handled = 0, 0, 0
    for now, (name, *arguments) in enumerate(inputs):
        asked += name == "request_received"
        getattr(client, name)(*arguments, float(now))
    while (effect := client.next_effect()) is not None:
        ends += isinstance(effect, (Succeeded, BootstrapFailed))
        handled += isinstance(effect, (Respond, RespondSeparately, Ignore))
    assert ends <= 1
    assert handled == asked


@given(st.lists(st.tuples(st.integers(0, 3), EXCHANGES, REQUESTS | ANSWERS), max_size=15))
def test_the_registration_client_never_raises_whatever_the_server_sends(
    inputs: list[tuple[int, int, Message]],
) -> None:
    client = RegistrationClient("dev-1", ACCOUNT)
    client.register()
    client.request_sent(1, 1)
    for kind, exchange, message in inputs:
        if kind == 0:
            client.response_received(exchange, message)
        elif kind == 1:
            client.request_received(exchange, message)
        elif kind == 2:
            client.exchange_failed(exchange, FailureCause.TIMED_OUT)
        else:
            client.association_closed()
    while client.next_effect() is not None:
        pass
