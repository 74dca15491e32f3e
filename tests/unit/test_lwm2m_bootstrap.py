"""The server's bootstrap session: its sequence, and every way in which it can end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.events import FailureCause
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BOOTSTRAP_SESSION_TIMEOUT_S
from ftc_core.lwm2m import content
from ftc_core.lwm2m.bootstrap import (
    TRANSITIONS,
    BootstrapInput,
    BootstrapState,
    Claim,
    Completed,
    Failed,
    Superseded,
)
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.messages import dotted, response
from ftc_core.lwm2m.objects import SecurityInstance, ServerInstance
from ftc_core.lwm2m.request import BootstrapRequest, Dialect
from ftc_core.lwm2m.values import Value
from tests.bootstrap_edge import GRANT, Edge

STEPS = (
    "Bootstrap-Delete /0",
    "Bootstrap-Write /0/0",
    "Bootstrap-Write /1/0",
    "Bootstrap-Write /0/1",
    "Bootstrap-Finish",
)
GOOD_ANSWERS = (Code.DELETED, Code.CHANGED, Code.CHANGED, Code.CHANGED, Code.CHANGED)


class Sequence(Edge):
    """An edge that knows the whole sequence."""

    def advance_to(self, step: int) -> None:
        """Bring the session to where step number `step` awaits its answer."""
        self.ask()
        self.settle()
        self.grant()
        for code in GOOD_ANSWERS[:step]:
            self.answer(code)


@pytest.fixture
def edge() -> Sequence:
    return Sequence()


# --- the sequence ------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_claim_is_granted(edge: Sequence) -> None:
    edge.ask("ep=dev-1", "pct=99")
    asked = BootstrapRequest(endpoint_name="dev-1", content_format=99, dialect=Dialect.LWM2M_1_1)
    assert edge.settle() == [Claim(asked)]


def test_the_answer_goes_before_the_first_write(edge: Sequence) -> None:
    asked = edge.ask()
    edge.settle()
    respond, send = edge.grant()
    assert isinstance(respond, Respond)
    assert (respond.exchange, respond.message.code, respond.message.payload) == (asked, Code.CHANGED, b"")
    assert respond.error is None
    assert isinstance(send, SendRequest)


def test_the_sequence_is_delete_three_writes_and_finish_one_at_a_time(edge: Sequence) -> None:
    edge.advance_to(0)
    seen = []
    for code in GOOD_ANSWERS:
        ((_, message),) = edge.in_flight.items()
        seen.append((message.code, message.opt.uri_path, message.opt.uri_query))
        edge.answer(code)
    assert seen == [
        (Code.DELETE, ("0",), ()),
        (Code.PUT, ("0", "0"), ()),
        (Code.PUT, ("1", "0"), ()),
        (Code.PUT, ("0", "1"), ()),
        (Code.POST, ("bs",), ("iep=" + "d" * 32,)),
    ]
    completed = edge.effects[-1]
    assert isinstance(completed, Completed)
    assert (completed.account_id, completed.device_id) == ("a" * 32, "d" * 32)
    assert edge.in_flight == {}
    assert edge.session.get_timer() is None


def write_of(edge: Sequence) -> tuple[Message, dict[int, Value]]:
    """The write in flight, and its values by resource."""
    ((_, message),) = edge.in_flight.items()
    path = tuple(map(int, message.opt.uri_path))
    values = content.decode(message.opt.content_format, path, message.payload)
    return message, {place[2]: value for place, value in values.items()}


def test_the_lwm2m_account_is_written_whole(edge: Sequence) -> None:
    edge.advance_to(1)
    message, resources = write_of(edge)
    assert message.opt.content_format == 11542
    assert SecurityInstance().written(resources) == SecurityInstance(
        server_uri="coaps://[2001:db8::1]:5684?aid=" + "a" * 32,
        bootstrap_server=False,
        mode=2,
        public_key=b"client certificate",
        server_public_key=b"lwm2m ca",
        secret_key=b"client key",
        short_server_id=7,
    )


def test_the_server_object_has_the_terms_of_the_registration(edge: Sequence) -> None:
    edge.advance_to(2)
    _, resources = write_of(edge)
    assert ServerInstance().written(resources) == ServerInstance(
        short_server_id=7, lifetime=3600, notification_storing=True, binding="UQ"
    )


def test_the_bootstrap_account_gets_aid_and_keeps_the_devices_key(edge: Sequence) -> None:
    edge.advance_to(3)
    _, resources = write_of(edge)
    assert SecurityInstance().written(resources) == SecurityInstance(
        server_uri="coaps://bootstrap.example:5784?aid=" + "a" * 32,
        bootstrap_server=True,
        mode=2,
        public_key=b"device certificate",
        server_public_key=b"bootstrap ca",
    )
    assert 5 not in resources


def test_a_device_with_a_chain_keeps_its_certificate_too(edge: Sequence) -> None:
    edge.ask()
    edge.settle()
    edge.grant(replace(GRANT, device_certificate=None))
    for code in GOOD_ANSWERS[:3]:
        edge.answer(code)
    _, resources = write_of(edge)
    assert list(resources) == [0, 1, 2, 4]


def test_writes_have_the_content_format_that_the_device_prefers(edge: Sequence) -> None:
    edge.ask("ep=dev-1", "pct=99")
    edge.settle()
    edge.grant()
    edge.answer(Code.DELETED)
    edge.answer(Code.NOT_FOUND)  # to Discover
    message, _ = write_of(edge)
    assert message.opt.content_format == 99


def test_every_step_is_on_the_timeline_with_its_times_and_code(edge: Sequence) -> None:
    edge.advance_to(5)
    completed = edge.effects[-1]
    assert isinstance(completed, Completed)
    names = ("Bootstrap-Request", *STEPS)
    codes = ("2.04", "2.02", "2.04", "2.04", "2.04", "2.04")
    assert [(step.name, step.started_at, step.ended_at, step.code) for step in completed.steps] == [
        (name, 100.0 + i, 101.0 + i, code) for i, (name, code) in enumerate(zip(names, codes, strict=True))
    ]


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED])
def test_a_delete_that_the_device_does_not_know_does_no_harm(edge: Sequence, code: Code) -> None:
    edge.advance_to(0)
    edge.answer(code)
    assert edge.session.state is BootstrapState.WRITING_LWM2M_SECURITY


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_write_may_also_be_answered_with_2_01(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    edge.answer(Code.CREATED)
    assert not isinstance(edge.effects[-1], Failed)


# --- ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "code", "payload"),
    [
        (Reason.ENROLLMENT_NOT_FOUND, Code.FORBIDDEN, b"Enrollment ID not registered"),
        (Reason.CA_NOT_IN_ACCOUNT, Code.BAD_REQUEST, b"Corresponding trusted certificate not in account"),
        (Reason.ACCOUNT_SUSPENDED, Code.FORBIDDEN, b"Account suspended"),
        (Reason.DUPLICATE_ENDPOINT, Code.FORBIDDEN, b"Duplicated device endpoint name"),
        (Reason.QUOTA_REACHED, Code.FORBIDDEN, b"Account device quota reached"),
        (Reason.ENDPOINT_NAME_MISMATCH, Code.BAD_REQUEST, b"ep does not match the certificate"),
        (Reason.CA_NOT_UPLOADED, Code.FORBIDDEN, b"Secure Connection Failed"),
        (Reason.INTERNAL_3, Code.INTERNAL_SERVER_ERROR, b"Internal error #3"),
        (Reason.FIELD_INVALID, Code.INTERNAL_SERVER_ERROR, b"Internal error #10"),
    ],
)
def test_a_refused_claim_is_told_and_nothing_is_written(
    edge: Sequence, reason: Reason, code: Code, payload: bytes
) -> None:
    asked = edge.ask()
    edge.settle()
    error = FtcError(reason)
    edge.session.claim_refused(error, 101.0)
    respond, failed = edge.settle()
    assert isinstance(respond, Respond)
    assert (respond.exchange, respond.message.code, respond.message.payload) == (asked, code, payload)
    assert respond.error is error
    assert isinstance(failed, Failed)
    assert failed.error is error
    assert edge.in_flight == {}


def test_details_of_our_own_failures_are_not_told_to_the_device(edge: Sequence) -> None:
    edge.ask()
    edge.settle()
    edge.session.claim_refused(FtcError(Reason.INTERNAL_1, "/var/lib/ftc: no such file"), 101.0)
    respond, failed = edge.settle()
    assert isinstance(respond, Respond)
    assert respond.message.payload == b"Internal error #1"
    assert isinstance(failed, Failed)
    assert failed.error.message == "/var/lib/ftc: no such file"


def test_overload_says_when_to_come_back(edge: Sequence) -> None:
    asked = edge.ask()
    edge.settle()
    edge.session.claim_refused(FtcError(Reason.OVERLOADED, retry_after_s=12.5), 101.0)
    edge.settle()
    assert edge.answered[asked].code == Code.SERVICE_UNAVAILABLE
    assert edge.answered[asked].opt.max_age == 13


@pytest.mark.parametrize("step", range(5))
def test_a_step_that_the_device_rejects_ends_it_as_internal_8(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    (failed,) = edge.answer(Code.BAD_REQUEST, b"BS FIN fails :\x00Invalid security object")
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.INTERNAL_8
    assert failed.error.metadata == {"step": STEPS[step]}
    assert failed.error.message == (
        f"{STEPS[step]}: the device answered 4.00 BS FIN fails :�Invalid security object"
    )
    assert (failed.steps[-1].name, failed.steps[-1].code) == (STEPS[step], "4.00")
    assert edge.in_flight == {}
    assert edge.session.get_timer() is None


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_what_a_delete_may_answer_a_write_may_not(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    (failed,) = edge.answer(Code.NOT_FOUND)
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.INTERNAL_8


def test_finish_must_be_answered_with_2_04(edge: Sequence) -> None:
    edge.advance_to(4)
    (failed,) = edge.answer(Code.CREATED)
    assert isinstance(failed, Failed)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (FailureCause.TIMED_OUT, Reason.INTERNAL_9),
        (FailureCause.RESET, Reason.INTERNAL_7),
        (FailureCause.TRANSFER_BROKEN, Reason.INTERNAL_8),
    ],
)
def test_a_step_without_an_answer_ends_it(
    edge: Sequence, step: int, cause: FailureCause, reason: Reason
) -> None:
    edge.advance_to(step)
    ((exchange, _),) = edge.in_flight.items()
    edge.session.exchange_failed(exchange, cause, edge.now + 93.0)
    (failed,) = edge.settle()
    assert isinstance(failed, Failed)
    assert failed.error.reason is reason
    assert failed.error.metadata == {"step": STEPS[step]}
    assert (failed.steps[-1].ended_at, failed.steps[-1].code) == (edge.now + 93.0, "")


@pytest.mark.parametrize("step", range(5))
def test_a_bootstrap_that_takes_too_long_is_cancelled(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    deadline = edge.session.get_timer()
    assert deadline == 100.0 + BOOTSTRAP_SESSION_TIMEOUT_S
    ((exchange, _),) = edge.in_flight.items()
    edge.session.handle_timer(deadline - 0.001)
    assert edge.settle() == []
    edge.session.handle_timer(deadline)
    cancel, failed = edge.settle()
    assert cancel == Cancel(exchange)
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.INTERNAL_9
    assert edge.session.get_timer() is None


def test_a_claim_that_takes_too_long_is_answered(edge: Sequence) -> None:
    asked = edge.ask()
    edge.settle()
    edge.session.handle_timer(100.0 + BOOTSTRAP_SESSION_TIMEOUT_S)
    _, failed = edge.settle()
    assert edge.answered[asked].payload == b"Internal error #9"
    assert isinstance(failed, Failed)
    assert edge.grant() == []  # too late


@pytest.mark.parametrize("step", range(5))
def test_a_lost_association_ends_it_without_a_word(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    edge.session.association_closed(200.0)
    (failed,) = edge.settle()
    assert isinstance(failed, Failed)
    assert failed.error.reason is Reason.INTERNAL_7


def test_losing_the_association_while_claiming_answers_nobody(edge: Sequence) -> None:
    edge.ask()
    edge.settle()
    edge.session.association_closed(101.0)
    (failed,) = edge.settle()
    assert isinstance(failed, Failed)


def test_losing_an_association_with_nothing_under_way_is_no_failure(edge: Sequence) -> None:
    edge.session.association_closed(1.0)
    assert edge.settle() == []
    edge.advance_to(5)
    edge.session.association_closed(200.0)
    assert edge.settle() == []


def test_the_private_key_is_dropped_at_the_end(edge: Sequence) -> None:
    edge.advance_to(5)
    assert edge.session._grant is None
    again = Sequence()
    again.advance_to(2)
    again.answer(Code.BAD_REQUEST)
    assert again.session._grant is None


# --- requests out of turn ----------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(5))
def test_a_malformed_request_in_the_middle_is_answered_and_changes_nothing(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    state, in_flight = edge.session.state, dict(edge.in_flight)
    wrong = [edge.ask("aid=x"), edge.ask(path=("x",)), edge.ask(code=Code.GET)]
    edge.settle()
    assert [dotted(edge.answered[exchange]) for exchange in wrong] == ["4.00", "4.04", "4.05"]
    assert edge.session.state is state
    assert edge.in_flight == in_flight
    for code in GOOD_ANSWERS[step:]:
        edge.answer(code)
    assert isinstance(edge.effects[-1], Completed)


@pytest.mark.parametrize("step", range(5))
def test_a_new_bootstrap_request_replaces_the_running_sequence(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    ((old, _),) = edge.in_flight.items()
    edge.ask("ep=dev-1", f"aid={'a' * 32}")
    cancel, superseded, claim = edge.settle()
    assert cancel == Cancel(old)
    assert isinstance(superseded, Superseded)
    assert superseded.steps[-1].name == STEPS[step]
    assert isinstance(claim, Claim)
    # Whatever still comes for the old request is of no interest.
    edge.session.response_received(old, response(Code.CHANGED), edge.now)
    edge.session.exchange_failed(old, FailureCause.TIMED_OUT, edge.now)
    assert edge.settle() == []
    edge.grant()
    for code in GOOD_ANSWERS:
        edge.answer(code)
    completed = edge.effects[-1]
    assert isinstance(completed, Completed)
    assert len(completed.steps) == 6


def test_the_same_request_again_shares_the_claim_under_way(edge: Sequence) -> None:
    first = edge.ask()
    edge.settle()
    second = edge.ask()
    assert [type(effect) for effect in edge.settle()] == [Cancel, Superseded]
    edge.grant()
    assert first not in edge.answered
    assert edge.answered[second].code == Code.CHANGED


def test_another_request_is_claimed_after_the_one_under_way(edge: Sequence) -> None:
    edge.ask("ep=dev-1")
    edge.settle()
    newest = edge.ask("ep=dev-1", f"aid={'a' * 32}")
    assert not any(isinstance(effect, Claim) for effect in edge.settle())
    edge.session.claim_refused(FtcError(Reason.ENROLLMENT_NOT_FOUND), 101.0)
    assert edge.settle() == [Claim(BootstrapRequest(endpoint_name="dev-1", account_id="a" * 32))]
    edge.grant()
    assert edge.answered[newest].code == Code.CHANGED


@pytest.mark.parametrize("step", [2, 5])
def test_a_device_may_begin_again_on_the_same_association_after_an_end(edge: Sequence, step: int) -> None:
    edge.advance_to(step)
    if step < 5:
        edge.answer(Code.BAD_REQUEST)
    edge.ask()
    assert [type(effect) for effect in edge.settle()] == [Claim]
    edge.grant()
    for code in GOOD_ANSWERS:
        edge.answer(code)
    assert isinstance(edge.effects[-1], Completed)


def test_a_claim_decided_out_of_turn_is_ignored(edge: Sequence) -> None:
    edge.session.claim_granted(GRANT, 1.0)
    edge.session.claim_refused(FtcError(Reason.INTERNAL_1), 1.0)
    assert edge.settle() == []
    edge.advance_to(2)
    edge.session.claim_granted(GRANT, 200.0)
    assert edge.settle() == []


def test_a_request_that_was_sent_too_late_is_cancelled(edge: Sequence) -> None:
    edge.ask()
    edge.settle()
    edge.session.claim_granted(GRANT, 101.0)
    edge.session.next_effect()
    send = edge.session.next_effect()
    assert isinstance(send, SendRequest)
    edge.session.association_closed(102.0)
    edge.session.request_sent(send.label, 77)
    assert Cancel(77) in edge.settle()


def test_an_old_label_does_not_stand_for_the_request_in_flight(edge: Sequence) -> None:
    edge.ask()
    edge.settle()
    edge.session.claim_granted(GRANT, 101.0)
    edge.session.next_effect()
    old = edge.session.next_effect()
    assert isinstance(old, SendRequest)
    edge.ask()
    edge.settle()
    edge.grant()
    edge.session.request_sent(old.label, 77)
    assert edge.settle() == [Cancel(77)]
    edge.answer(Code.DELETED)
    assert edge.session.state is BootstrapState.WRITING_LWM2M_SECURITY


# --- the table -----------------------------------------------------------------------------------------


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(BootstrapState)
    reachable = {BootstrapState.IDLE}
    for _ in BootstrapState:
        reachable |= {target for state in reachable for target in TRANSITIONS[state].values()}
    assert reachable == set(BootstrapState)


def test_a_bootstrap_request_is_taken_in_every_state() -> None:
    assert {inputs[BootstrapInput.REQUESTED] for inputs in TRANSITIONS.values()} == {BootstrapState.CLAIMING}
