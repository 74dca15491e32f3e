"""What one certificate, and one transfer, may answer: histories that break a rule are rejected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from ftc_core.domain.transfer import TransferState
from ftc_core.errors import Reason
from tests.conformance.scene import NOW
from tests.proof import transfer
from tests.proof.history import (
    Action,
    Answer,
    Block,
    Claim,
    Decide,
    Decision,
    Enroll,
    Entry,
    LookUp,
    Offer,
    ReadDevice,
    ReadTransfer,
    Register,
    Release,
    Unblock,
)
from tests.proof.linearizability import is_linearizable
from tests.proof.ownership import UNOWNED, Rules

RULES = Rules(0, frozenset("AB"))
LATER = NOW + timedelta(minutes=1)
DONE = Answer()


def refused(reason: Reason, *, about: int | None = None, state: str = "") -> Answer:
    return Answer(reason=reason, about=about, state=state)


def call(
    action: Action, answer: Answer | None = DONE, *, began_at: datetime = NOW, ended_at: datetime = NOW
) -> Entry:
    """A call; `possible` and `decided` say when it was."""
    known = answer is not None
    return Entry(
        client="",
        action=action,
        answer=answer,
        invoked=0,
        returned=0 if known else None,
        revision_before=0,
        revision_after=0 if known else None,
        began_at=began_at,
        ended_at=ended_at if known else None,
    )


def in_turn(steps: Sequence[Entry | list[Entry]]) -> list[Entry]:
    """The calls with their times: one after the other, those in a list at the same time."""
    placed = []
    for tick, step in enumerate(steps):
        for entry in step if isinstance(step, list) else [step]:
            returned = None if entry.answer is None else 2 * tick + 1
            placed.append(msgspec.structs.replace(entry, invoked=2 * tick, returned=returned))
    return placed


def possible(*steps: Entry | list[Entry]) -> bool:
    return is_linearizable(UNOWNED, in_turn(steps), RULES.follow)


def enrolled(account: str = "A", *, expires_at: datetime | None = None) -> Entry:
    return call(Enroll(0, account, expires_at), Answer(enrollment_id=f"e{account}"))


def claimed(account: str = "A", device_id: str = "d", *, aid: str | None = None) -> Entry:
    return call(Claim(0, aid), Answer(account_id=account, device_id=device_id))


def offered(receiver: str = "B") -> Entry:
    return call(Offer((0, 1), ("d", "d1"), "A", receiver, LATER), Answer(transfer_id="t"))


def decide(decision: Decision, account: str = "B") -> Decide:
    return Decide((0, 1), account, "t", decision, LATER)


def accepted() -> Entry:
    return call(decide(Decision.ACCEPT))


UNCLAIMED = (LookUp(0, "A"), Answer(enrollment_id="eA"))
GONE = refused(Reason.RESOURCE_NOT_FOUND)


# --- claims ----------------------------------------------------------------------------------------


def test_the_way_of_a_device_through_two_accounts_is_possible() -> None:
    assert possible(
        enrolled(),
        call(*UNCLAIMED),
        claimed(),
        call(LookUp(0, "A"), Answer(enrollment_id="eA", device_id="d")),
        offered(),
        accepted(),
        call(LookUp(0, "A"), GONE),
        call(LookUp(0, "B"), Answer(enrollment_id="eA", device_id="d")),
        claimed("B", aid="A"),
        call(Register(0, "A", "d"), refused(Reason.CREDENTIALS_RELEASED)),
        call(Register(0, "B", "d")),
        call(Release(0, "B", "eA")),
        call(Claim(0, "B"), refused(Reason.ENROLLMENT_NOT_FOUND)),
    )


def test_two_winners_are_rejected() -> None:
    assert possible(enrolled(), [claimed("A", "d"), claimed("A", "d")])
    assert not possible(enrolled(), [claimed("A", "d"), claimed("A", "other")])
    assert not possible(enrolled(), [claimed("A", "d"), claimed("B", "d")])
    assert not possible([enrolled("A"), enrolled("B")])


def test_a_stale_read_is_rejected() -> None:
    released = call(Release(0, "A", "eA"))
    stale = call(LookUp(0, "A"), Answer(enrollment_id="eA", device_id="d"))
    assert not possible(enrolled(), claimed(), released, stale)
    assert possible(enrolled(), claimed(), [released, stale])
    assert not possible(enrolled(), claimed(), call(*UNCLAIMED))
    assert not possible(enrolled(), claimed(), call(ReadDevice(0, "A", "d"), GONE))


def test_a_lost_acknowledgement_is_rejected() -> None:
    assert not possible(enrolled(), call(LookUp(0, "A"), GONE))
    assert not possible(enrolled(), claimed(), offered(), accepted(), call(ReadDevice(0, "B", "d"), GONE))
    assert not possible(enrolled(), claimed(), call(Release(0, "A", "eA")), call(Register(0, "A", "d")))


def test_what_got_no_answer_may_have_happened_but_not_twice() -> None:
    unknown = call(Release(0, "A", "eA"), None)
    before = (enrolled(), claimed(), unknown)
    assert possible(*before, call(ReadDevice(0, "A", "d")))
    assert possible(*before, call(ReadDevice(0, "A", "d"), GONE))
    assert possible(*before, claimed())
    assert not possible(*before, call(ReadDevice(0, "A", "d"), GONE), call(ReadDevice(0, "A", "d")))
    assert not possible(enrolled(), claimed(), claimed("A", "other"))


def test_an_id_that_got_lost_is_whatever_is_read_first_and_stays_so() -> None:
    before = (call(Enroll(0, "A"), None), call(LookUp(0, "A"), Answer(enrollment_id="x")))
    assert possible(*before, call(LookUp(0, "A"), Answer(enrollment_id="x")))
    assert not possible(*before, call(LookUp(0, "A"), Answer(enrollment_id="y")))


def test_refusals_need_their_reason() -> None:
    unlisted = call(Claim(0), refused(Reason.ENROLLMENT_NOT_FOUND))
    assert possible(unlisted)
    assert not possible(enrolled(), unlisted)
    assert possible(enrolled("C"), call(Claim(0), refused(Reason.CA_NOT_IN_ACCOUNT)))
    assert not possible(enrolled(), call(Claim(0), refused(Reason.CA_NOT_IN_ACCOUNT)))
    assert not possible(enrolled(), claimed(), call(Claim(0), refused(Reason.QUOTA_REACHED)))
    assert not possible(call(Enroll(0, "A"), refused(Reason.ENROLLMENT_ALREADY_EXISTS)))
    assert not possible(enrolled(), call(Claim(0), refused(Reason.INTERNAL_10)))


def test_a_former_owner_s_aid_counts_after_a_transfer_and_not_after_a_release() -> None:
    moved = (enrolled(), claimed(), offered(), accepted())
    refusal = call(Claim(0, "A"), refused(Reason.ENROLLMENT_NOT_FOUND))
    assert possible(*moved, claimed("B", aid="A"))
    assert not possible(*moved, refusal)
    released = (*moved, call(Release(0, "B", "eA")), enrolled("B"))
    assert possible(*released, refusal)
    assert not possible(*released, claimed("B", "new", aid="A"))


# --- blocks ----------------------------------------------------------------------------------------


def test_a_block_lasts_until_it_is_lifted_or_the_device_is_released() -> None:
    blocked = (enrolled(), claimed(), call(Block(0, "A", "d")))
    refusal = refused(Reason.DEVICE_BLOCKED)
    assert possible(*blocked, call(Claim(0), refusal), call(Register(0, "A", "d"), refusal))
    assert not possible(*blocked, claimed())
    assert not possible(*blocked, offered())
    assert possible(*blocked, call(Unblock(0, "A", "d")), claimed())
    assert not possible(*blocked, call(Unblock(0, "A", "d")), call(Claim(0), refusal))
    assert possible(*blocked, call(Release(0, "A", "eA")), enrolled(), claimed("A", "new"))


# --- expiry ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [-1, 1])
def test_an_enrollment_is_refused_from_its_expiry_on_and_not_before(after_s: int) -> None:
    then = LATER + timedelta(seconds=after_s)
    listed = enrolled(expires_at=LATER)

    def at_that_time(entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, began_at=then, ended_at=then)

    expired = after_s > 0
    refusal = call(Claim(0), refused(Reason.ENROLLMENT_NOT_FOUND))
    assert possible(listed, at_that_time(refusal)) is expired
    assert possible(listed, at_that_time(claimed())) is not expired
    assert possible(listed, at_that_time(enrolled("B"))) is expired
    assert possible(listed, claimed(), at_that_time(claimed())), "once claimed, it does not expire"


# --- transfers -------------------------------------------------------------------------------------


def test_a_device_moves_once_and_only_by_the_transfer_that_it_is_in() -> None:
    before = (enrolled(), claimed(), offered())
    outdated = refused(Reason.TRANSFER_OUTDATED, about=0)
    assert not possible(*before, accepted(), accepted())
    assert not possible(*before, call(decide(Decision.CANCEL, "A")), accepted())
    assert not possible(*before, call(decide(Decision.ACCEPT), outdated))
    assert possible(*before, call(Release(0, "A", "eA")), call(decide(Decision.ACCEPT), outdated))
    assert not possible(*before, call(Release(0, "A", "eA")), accepted())
    assert not possible(*before, offered())
    assert possible(*before, call(decide(Decision.ACCEPT), refused(Reason.TRANSFER_OUTDATED, about=1)))


def decided(*steps: Entry | list[Entry]) -> bool:
    return is_linearizable(TransferState.OFFERED, in_turn(steps), transfer.follow)


def test_a_transfer_is_decided_once() -> None:
    accept, cancel = call(decide(Decision.ACCEPT)), call(decide(Decision.CANCEL, "A"))
    assert decided(accept)
    assert not decided([accept, cancel])
    late = call(decide(Decision.CANCEL, "A"), refused(Reason.TRANSFER_DECIDED, state="ACCEPTED"))
    assert decided(accept, late)
    assert not decided(late)
    wrong = call(decide(Decision.CANCEL, "A"), refused(Reason.TRANSFER_DECIDED, state="REJECTED"))
    assert not decided(accept, wrong)


def test_a_transfer_expires_in_time_and_for_good() -> None:
    def read(state: str, when: datetime) -> Entry:
        return call(ReadTransfer((0,), "A", "t", LATER), Answer(state=state), began_at=when, ended_at=when)

    def at(when: datetime, answer: Answer) -> Entry:
        return call(decide(Decision.ACCEPT), answer, began_at=when, ended_at=when)

    after, expired = LATER + timedelta(seconds=1), refused(Reason.TRANSFER_EXPIRED)
    assert decided(read("OFFERED", NOW), read("OFFERED", after), read("EXPIRED", after))
    assert not decided(read("EXPIRED", NOW))
    assert not decided(read("EXPIRED", after), read("OFFERED", after))
    assert decided(at(after, expired))
    assert not decided(at(NOW, expired))
    assert not decided(at(after, DONE))
