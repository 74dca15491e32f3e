"""The server's bootstrap session with EST: when a certificate is due, and when not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.credentials.pki import create_authority
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import EST_ENROLMENT_TIMEOUT_S
from ftc_core.lwm2m import content, tlv
from ftc_core.lwm2m.bootstrap import (
    BootstrapEffect,
    BootstrapSession,
    BootstrapState,
    Claim,
    Completed,
    Enroll,
    Failed,
    Finished,
    Superseded,
)
from ftc_core.lwm2m.effects import Cancel, Respond
from ftc_core.lwm2m.messages import diagnostic_of, dotted, request
from tests.bootstrap_edge import GRANT, Edge

CERTIFICATE, AUTHORITY = (
    create_authority(name, now=datetime(2026, 11, 29, tzinfo=UTC)).certificate_der for name in ("Cert", "CA")
)
EST_GRANT = replace(GRANT, client_certificate=None, client_key=None, issuing_certificate=AUTHORITY)
FRAMED = b"\x01\x01" + len(CERTIFICATE).to_bytes(2, "big") + CERTIFICATE
BEFORE_FINISH = (Code.DELETED, Code.CHANGED, Code.CHANGED, Code.CHANGED)
STEPS = [
    "Bootstrap-Request",
    "Bootstrap-Delete /0",
    "Bootstrap-Write /0/0",
    "Bootstrap-Write /1/0",
    "Bootstrap-Write /0/1",
    "Bootstrap-Finish",
    "EST enrolment",
]


class EstEdge(Edge):
    """An edge that grants every certificate request, unless it has an `error`."""

    def __init__(self) -> None:
        super().__init__()
        self.session = BootstrapSession(enrolls=True)
        self.error: FtcError | None = None

    def settle(self) -> list[BootstrapEffect]:
        performed = super().settle()
        if any(isinstance(effect, Enroll) for effect in performed):
            if self.error is None:
                self.session.certificate_issued(CERTIFICATE, self.now)
            else:
                self.session.certificate_refused(self.error, self.now)
            performed += super().settle()
        return performed

    def advance_to_finish(self) -> None:
        """Bootstrap-Finish is in flight."""
        self.ask()
        self.settle()
        self.grant(EST_GRANT)
        for code in BEFORE_FINISH:
            self.answer(code)

    def finish(self) -> None:
        """The certificate is due."""
        self.advance_to_finish()
        self.answer(Code.CHANGED)

    def enroll(self, csr: bytes = b"csr", *, accept: int | None = None) -> int:
        """The device asks for it; the exchange."""
        exchange = next(self.numbers)
        message = request(Code.POST, ("est", "sen"), accept=accept, payload=csr)
        self.session.request_received(exchange, message, self.now)
        self.settle()
        return exchange

    def out(self, exchange: int) -> None:
        """The whole of the answer is out."""
        self.session.response_out(exchange, self.now)
        self.settle()

    def told(self, exchange: int) -> str:
        """Code and text of the answer."""
        message = self.answered[exchange]
        return f"{dotted(message)} {diagnostic_of(message)}"


@pytest.fixture
def edge() -> EstEdge:
    return EstEdge()


def count(edge: Edge, kind: type) -> int:
    return sum(isinstance(effect, kind) for effect in edge.effects)


def security_instance(message: Message) -> dict[int, object]:
    values = content.decode(tlv.CONTENT_FORMAT, (0, 0), message.payload)
    return {path[2]: value for path, value in values.items()}


def test_the_lwm2m_account_has_mode_4_a_server_certificate_and_neither_certificate_nor_key(
    edge: EstEdge,
) -> None:
    edge.ask()
    edge.settle()
    edge.grant(EST_GRANT)
    edge.answer(Code.DELETED)
    written = security_instance(edge.asked())
    assert written[2] == 4
    assert written[4] == b"lwm2m ca"
    assert set(written) == {0, 1, 2, 4, 10}


def test_finish_tells_the_device_id_and_the_record_is_made_before_the_certificate(edge: EstEdge) -> None:
    edge.advance_to_finish()
    assert edge.asked().opt.uri_query == (f"iep={GRANT.device_id}",)
    assert count(edge, Finished) == 0
    edge.answer(Code.CHANGED)
    assert Finished(GRANT.account_id, GRANT.device_id) in edge.effects
    assert edge.session.state is BootstrapState.ENROLLING
    assert count(edge, Completed) == 0


def test_a_good_request_completes_the_bootstrap_when_its_answer_is_out(edge: EstEdge) -> None:
    edge.finish()
    edge.now += 2.0
    exchange = edge.enroll()
    assert (edge.answered[exchange].code, edge.answered[exchange].payload) == (Code.CHANGED, FRAMED)
    assert edge.session.state is BootstrapState.HANDING_OUT
    edge.out(exchange)

    completed = edge.effects[-1]
    assert isinstance(completed, Completed)
    assert (completed.enrolled, completed.lingers) == (True, True)
    assert [step.name for step in completed.steps] == STEPS
    assert completed.steps[-1].code == "2.04"
    assert completed.steps[-1].started_at == edge.now - 2.0
    assert edge.session.get_timer() is None


def test_a_request_that_overtakes_the_answer_to_finish_waits_for_it(edge: EstEdge) -> None:
    edge.advance_to_finish()
    exchange = edge.enroll()
    assert exchange not in edge.answered
    edge.answer(Code.CHANGED)
    assert edge.answered[exchange].payload == FRAMED


def test_of_two_that_overtake_it_the_newer_one_counts(edge: EstEdge) -> None:
    edge.advance_to_finish()
    first, second = edge.enroll(b"one"), edge.enroll(b"two")
    assert Cancel(first) in edge.effects
    edge.answer(Code.CHANGED)
    assert Enroll(b"two") in edge.effects
    assert Enroll(b"one") not in edge.effects
    assert edge.answered[second].payload == FRAMED


def test_one_that_waits_is_told_if_finish_fails(edge: EstEdge) -> None:
    edge.advance_to_finish()
    exchange = edge.enroll()
    edge.answer(Code.BAD_REQUEST)
    assert edge.told(exchange) == "5.00 Internal error #8"
    assert count(edge, Enroll) == 0


@pytest.mark.parametrize("step", range(-2, len(BEFORE_FINISH)))
def test_before_finish_there_is_no_certificate(edge: EstEdge, step: int) -> None:
    """Neither before a Bootstrap-Request (-2), nor before its claim (-1), nor amid the writes."""
    if step >= -1:
        edge.ask()
        edge.settle()
    if step >= 0:
        edge.grant(EST_GRANT)
        for code in BEFORE_FINISH[:step]:
            edge.answer(code)
    state = edge.session.state

    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"

    assert count(edge, Enroll) == 0
    assert edge.session.state is state


def test_after_a_refused_claim_there_is_none(edge: EstEdge) -> None:
    edge.ask()
    edge.settle()
    edge.session.claim_refused(FtcError(Reason.ENROLLMENT_NOT_FOUND), edge.now)
    edge.settle()
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"
    assert count(edge, Enroll) == 0


@pytest.mark.parametrize("all_out", [False, True])
def test_the_same_request_again_gets_the_same_certificate_and_is_not_judged_again(
    edge: EstEdge, all_out: bool
) -> None:
    edge.finish()
    first = edge.enroll()
    if all_out:
        edge.out(first)
    again = edge.enroll()
    assert edge.answered[again].payload == edge.answered[first].payload
    assert count(edge, Enroll) == 1
    edge.out(again)
    assert count(edge, Completed) == 1
    assert edge.session.state is BootstrapState.COMPLETED


@pytest.mark.parametrize("all_out", [False, True])
def test_another_request_on_the_same_association_gets_nothing(edge: EstEdge, all_out: bool) -> None:
    edge.finish()
    first = edge.enroll()
    if all_out:
        edge.out(first)
    assert edge.told(edge.enroll(b"another")) == "4.03 No bootstrap waits for a certificate"
    assert count(edge, Enroll) == 1


def test_a_refused_request_ends_the_bootstrap_with_its_reason(edge: EstEdge) -> None:
    edge.finish()
    edge.error = FtcError(Reason.SIGNING_REQUEST_INVALID, "CSR key is not P-256")
    exchange = edge.enroll()
    assert edge.told(exchange) == "4.00 CSR key is not P-256"
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert failed.error is edge.error
    assert (failed.steps[-1].name, failed.steps[-1].code) == ("EST enrolment", "4.00")
    edge.error = None
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"


def test_a_request_that_is_none_of_ours_changes_nothing(edge: EstEdge) -> None:
    edge.finish()
    assert edge.told(edge.enroll(accept=60)) == "4.06 Accept is not supported"
    assert edge.session.state is BootstrapState.ENROLLING
    edge.out(edge.enroll(accept=287))
    assert edge.session.state is BootstrapState.COMPLETED


def test_a_device_that_never_asks_is_given_up_with_a_reason_of_its_own(edge: EstEdge) -> None:
    edge.finish()
    due = edge.session.get_timer()
    assert due == edge.now + EST_ENROLMENT_TIMEOUT_S
    edge.now = due
    edge.session.handle_timer(due)
    edge.settle()
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.CERTIFICATE_NOT_REQUESTED
    assert failed.error.message == "EST enrolment: the device asked for none within 45 s"
    assert (failed.steps[-1].name, failed.steps[-1].code) == ("EST enrolment", "")
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"


@pytest.mark.parametrize("closed", [False, True])
def test_a_device_that_asked_wrongly_is_not_said_to_have_asked_for_none(edge: EstEdge, closed: bool) -> None:
    """What to mend is the request; that its client knew no EST would be the wrong track."""
    edge.finish()
    edge.enroll(accept=60)
    if closed:
        edge.session.association_closed(edge.now)
    else:
        due = edge.session.get_timer()
        assert due is not None
        edge.session.handle_timer(due)
    edge.settle()
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.CERTIFICATE_NOT_REQUESTED
    assert failed.error.message == "EST enrolment: its request was refused: Accept is not supported"


def test_what_it_asked_wrongly_is_forgotten_with_the_next_bootstrap(edge: EstEdge) -> None:
    edge.finish()
    edge.enroll(accept=60)
    edge.finish()
    edge.session.association_closed(edge.now)
    edge.settle()
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert failed.error.message == "EST enrolment: the association was lost"


def test_a_device_that_leaves_instead_of_asking_is_told_apart_from_a_lost_session(edge: EstEdge) -> None:
    edge.finish()
    edge.session.association_closed(edge.now)
    edge.settle()
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.CERTIFICATE_NOT_REQUESTED
    assert failed.error.message == "EST enrolment: the association was lost"


@pytest.mark.parametrize(
    ("closed", "reason", "text"),
    [
        (True, Reason.INTERNAL_7, "EST enrolment: the association was lost"),
        (False, Reason.INTERNAL_9, "EST enrolment: the device did not fetch all of its certificate"),
    ],
)
def test_a_device_that_does_not_fetch_its_certificate_has_failed(
    edge: EstEdge, closed: bool, reason: Reason, text: str
) -> None:
    edge.finish()
    edge.enroll()
    if closed:
        edge.session.association_closed(edge.now)
    else:
        due = edge.session.get_timer()
        assert due is not None
        edge.session.handle_timer(due)
    edge.settle()
    failed = edge.effects[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.reason, failed.error.message) == (reason, text)


@pytest.mark.parametrize("asked", [False, True])
def test_a_new_bootstrap_request_begins_anew(edge: EstEdge, asked: bool) -> None:
    edge.finish()
    if asked:
        edge.enroll()
    edge.ask()
    edge.settle()
    assert count(edge, Superseded) == 1
    assert count(edge, Claim) == 2
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"
    edge.grant(EST_GRANT)
    for code in (*BEFORE_FINISH, Code.CHANGED):
        edge.answer(code)
    edge.out(edge.enroll())
    assert edge.session.state is BootstrapState.COMPLETED
    assert count(edge, Enroll) == 1 + asked


def test_a_completed_bootstrap_is_forgotten_with_the_next_one(edge: EstEdge) -> None:
    edge.finish()
    edge.out(edge.enroll())
    edge.ask()
    edge.settle()
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"


def test_a_pack_has_mode_4_and_the_certificate_is_due_when_it_is_out(edge: EstEdge) -> None:
    exchange = edge.ask(path=("bspack",), code=Code.GET)
    edge.settle()
    edge.grant(EST_GRANT)
    pack = edge.answered[exchange]
    values = content.decode(pack.opt.content_format, (), pack.payload)
    assert values[0, 2, 2] == 4
    assert not {(0, 2, 3), (0, 2, 5)} & set(values)
    assert edge.told(edge.enroll()) == "4.03 No bootstrap waits for a certificate"

    edge.out(exchange)

    assert count(edge, Finished) == 1
    enrolled = edge.enroll()
    assert edge.answered[enrolled].opt.content_format == 281  # not of Izuma's family
    edge.out(enrolled)
    completed = edge.effects[-1]
    assert isinstance(completed, Completed)
    assert [step.name for step in completed.steps] == [
        "Bootstrap-Pack-Request",
        "Bootstrap-Pack",
        "EST enrolment",
    ]


def test_the_issuing_ca_can_be_asked_for_once_there_is_a_grant(edge: EstEdge) -> None:
    def crts() -> int:
        exchange = next(edge.numbers)
        message = request(Code.GET, ("est", "crts"), accept=287)
        edge.session.request_received(exchange, message, edge.now)
        edge.settle()
        return exchange

    assert edge.told(crts()) == "4.03 No bootstrap waits for a certificate"
    edge.finish()
    exchange = crts()
    assert edge.answered[exchange].payload == AUTHORITY
    edge.out(exchange)
    assert edge.session.state is BootstrapState.ENROLLING
    edge.out(edge.enroll())
    assert edge.answered[crts()].payload == AUTHORITY, "also to verify what it got"
    edge.ask()
    edge.settle()
    assert edge.told(crts()) == "4.03 No bootstrap waits for a certificate"


def test_where_credentials_are_delivered_there_is_nothing_below_est() -> None:
    edge = Edge()
    exchange = edge.ask(path=("est", "sen"))
    edge.settle()
    assert dotted(edge.answered[exchange]) == "4.04"


def test_answers_to_nothing_are_ignored(edge: EstEdge) -> None:
    edge.finish()
    edge.session.certificate_issued(CERTIFICATE, edge.now)
    edge.session.certificate_refused(FtcError(Reason.INTERNAL_4), edge.now)
    edge.session.exchange_failed(99, FailureCause.RESET, edge.now)
    assert edge.settle() == []
    assert not any(isinstance(effect, Respond) and effect.exchange == 0 for effect in edge.effects)
