"""What holds for every command: atomicity, revisions, request IDs, validation alone."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import REQUEST_ID_SWEEP, REQUEST_ID_TTL_S
from ftc_core.storage.commands import (
    Command,
    CreateAccount,
    CreateApiKey,
    Created,
    CreateEnrollments,
    CreateTrustedCertificate,
    IdempotencyKey,
    MarkBootstrapped,
    Outcome,
    Submission,
)
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import Store
from tests.conformance.scene import NOW, Scene, fingerprint, reasons

TTL = timedelta(seconds=REQUEST_ID_TTL_S)


def request_key(request_id: str = "r1", scope: str = "a/Create", digest: bytes = b"d" * 32) -> IdempotencyKey:
    return IdempotencyKey(scope, request_id, digest, NOW)


# --- atomicity -------------------------------------------------------------------------------------


def test_a_failing_command_does_not_disturb_its_neighbours(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    answers = scene.try_all(
        scene.create_enrollment(account, 2),
        scene.create_enrollment(account, 1),
        scene.claim_command(1),
        scene.claim_command(3),
        scene.create_enrollment(account, 3),
    )
    assert reasons(answers) == [
        None,
        Reason.ENROLLMENT_ALREADY_EXISTS,
        None,
        Reason.ENROLLMENT_NOT_FOUND,
        None,
    ]
    with scene.store.view() as view:
        assert view.count_enrollments(account.id) == 3
        assert view.count_devices(account.id) == 1


def test_a_command_sees_those_before_it_in_its_batch(scene: Scene) -> None:
    account = msgspec.structs.replace(scene.account(), id=scene.new_id())
    answers = scene.try_all(
        CreateAccount(account),
        CreateTrustedCertificate(scene.new_certificate(account.id)),
        scene.create_enrollment(account, 1),
        scene.claim_command(1),
    )
    assert reasons(answers) == [None] * 4


def test_a_bug_in_one_command_costs_no_other_its_effect(scene: Scene) -> None:
    account = scene.account()
    enrollment = scene.new_enrollment(account.id, 2)
    # IDs are made by us, so a malformed one is a bug; it shows up after the command's first writes.
    batch = (scene.new_enrollment(account.id, 1), msgspec.structs.replace(enrollment, id="not an id"))
    before = scene.revision()
    answers = scene.try_all(
        scene.create_enrollment(account, 3),
        CreateEnrollments(batch, NOW),
        scene.create_enrollment(account, 4),
    )
    assert reasons(answers) == [None, Reason.INTERNAL_10, None]
    assert scene.find_enrollment(1) is None
    with scene.store.view() as view:
        assert view.count_enrollments(account.id) == 2
    assert [e.revision for e in scene.events(before)] == [before + 1, before + 2]


ORDINARY = (1, 2, 2, 3, 11, 12, 4)
"""Numbers of devices, two of them on a list already, of which one's enrollment has expired."""


@pytest.mark.parametrize("odd", [None, "taken ID", "malformed ID", "unknown account"])
def test_creates_end_alike_together_and_one_by_one(url: str, odd: str | None) -> None:
    def standing(name: str) -> tuple[Scene, list[Command]]:
        scene = Scene(open_store(f"{url}-{name}", create=True))
        one, other = scene.account(), scene.account()
        taken = scene.enrollment(one, 11)
        scene.enrollment(other, 12, expires_at=NOW + timedelta(seconds=2))
        wanted = [
            scene.new_enrollment(account.id, number, expires_at=NOW + timedelta(days=number))
            for account in (one, other, one)
            for number in ORDINARY
        ]
        if odd == "taken ID":
            wanted[4] = msgspec.structs.replace(scene.new_enrollment(one.id, 5), id=taken.id)
        elif odd == "malformed ID":
            wanted[4] = msgspec.structs.replace(scene.new_enrollment(one.id, 5), id="not an id")
        elif odd == "unknown account":
            wanted[3:5] = [scene.new_enrollment(scene.new_id(), number) for number in (5, 6)]
        return scene, [
            CreateEnrollments((enrollment,), NOW + timedelta(seconds=second))
            for second, enrollment in enumerate(wanted)
        ]

    (together, commands), (alone, same) = standing("together"), standing("alone")
    answers = together.try_all(*commands)
    expected = [answer for command in same for answer in alone.try_all(command)]

    assert list(map(_told, answers)) == list(map(_told, expected))
    assert together.snapshot() == alone.snapshot()
    for scene in (together, alone):
        scene.store.close()


def _told(answer: Outcome | FtcError) -> object:
    return (answer.reason, answer.metadata) if isinstance(answer, FtcError) else answer


def test_an_empty_batch_is_answered(store: Store) -> None:
    assert store.write([]) == []


def test_a_view_is_a_snapshot(scene: Scene) -> None:
    account = scene.account()
    with scene.store.view() as early:
        scene.enrollment(account, 1)
        assert early.find_enrollments([fingerprint(1)]) == [None]
        assert early.count_enrollments(account.id) == 0
        with scene.store.view() as late:
            assert late.count_enrollments(account.id) == 1
            assert late.revision() == early.revision() + 1


def test_what_was_written_is_there_after_reopening(url: str) -> None:
    store = open_store(url, create=True)
    scene = Scene(store)
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    scene.claim(1)
    before = scene.snapshot()
    store.close()
    again = open_store(url)
    try:
        assert Scene(again).snapshot() == before
    finally:
        again.close()


def test_a_closed_store_is_unavailable(scene: Scene) -> None:
    command = scene.create_enrollment(scene.account(), 1)
    scene.store.close()
    scene.store.close()
    with pytest.raises(FtcError) as refusal:
        scene.store.write([Submission(command)])
    assert refusal.value.reason is Reason.INTERNAL_1
    with pytest.raises(FtcError) as refusal:
        scene.find_device(1)
    assert refusal.value.reason is Reason.INTERNAL_1


# --- revisions and events --------------------------------------------------------------------------


def test_revisions_count_changes_without_gaps(scene: Scene) -> None:
    assert scene.revision() == 0
    account = scene.trusting_account()  # an account and a certificate: changes without events
    assert scene.revision() == 2
    scene.enrollment(account, 1)
    assert scene.revision() == 3
    scene.refused(scene.claim_command(9))
    device = scene.claim(1).device
    assert scene.revision() == device.revision == 5
    scene.claim(1)
    assert scene.revision() == 6
    scene.run(MarkBootstrapped(account.id, device.id, NOW))
    assert [e.revision for e in scene.events()] == [3, 4, 5, 7]


def test_revisions_go_on_across_batches_and_failures_inside_them(scene: Scene) -> None:
    account = scene.account()
    start = scene.revision()
    scene.try_all(*(scene.create_enrollment(account, n) for n in (1, 1, 2, 2, 3)))
    scene.try_all(*(scene.create_enrollment(account, n) for n in (3, 4)))
    assert [e.revision for e in scene.events(start)] == [start + n for n in (1, 2, 3, 4)]
    assert scene.revision() == start + 4


def test_events_are_read_from_a_revision_on_in_portions(scene: Scene) -> None:
    account = scene.account()
    for number in range(5):
        scene.enrollment(account, number)
    events = scene.events()
    with scene.store.view() as view:
        assert view.events(after_revision=0, limit=2) == events[:2]
        assert view.events(after_revision=events[1].revision, limit=2) == events[2:4]
        assert view.events(after_revision=events[4].revision, limit=2) == []
        assert view.events(after_revision=-5, limit=9) == events
        assert view.events(after_revision=0, limit=0) == []
    assert {e.kind for e in events} == {EventKind.ENROLLMENT_CREATED}
    assert {e.account_id for e in events} == {account.id}


def test_no_history_of_an_unknown_certificate(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    scene.claim(1)
    with scene.store.view() as view:
        assert view.ledger(fingerprint(2)) == view.ledger(b"") == []


# --- request IDs -----------------------------------------------------------------------------------


def test_a_repeated_request_gets_its_outcome_and_has_one_effect(scene: Scene) -> None:
    account = scene.account()
    first = scene.run(scene.create_enrollment(account, 1), idempotency=request_key())
    before = scene.snapshot()
    again = scene.run(scene.create_enrollment(account, 1), idempotency=request_key())
    assert again == first
    assert scene.snapshot() == before


def test_every_kind_of_outcome_is_remembered(scene: Scene) -> None:
    account = scene.trusting_account()
    enrollment = scene.enrollment(account, 1)
    device = scene.claim(1).device
    assert enrollment.account_id == account.id
    commands: list[Command] = [
        CreateApiKey(scene.new_key(account.id)),
        scene.claim_command(1),
        MarkBootstrapped(account.id, device.id, NOW),
        scene.register_command(device),
    ]
    for number, command in enumerate(commands):
        key = request_key(str(number))
        assert scene.run(command, idempotency=key) == scene.run(command, idempotency=key)


def test_a_repeat_in_the_same_batch_has_one_effect(scene: Scene) -> None:
    account = scene.account()
    submissions = [
        Submission(scene.create_enrollment(account, 1), idempotency=request_key()) for _ in range(2)
    ]
    first, second = scene.store.write(submissions)
    assert isinstance(first, Created)
    assert first == second


def test_another_request_under_the_same_id_is_refused(scene: Scene) -> None:
    account = scene.account()
    scene.run(scene.create_enrollment(account, 1), idempotency=request_key())
    other = scene.create_enrollment(account, 2)
    refusal = scene.refused(other, idempotency=request_key(digest=b"e" * 32))
    assert (refusal.reason, refusal.field) == (Reason.REQUEST_ID_REUSED, "request_id")


def test_request_ids_of_different_callers_never_meet(scene: Scene) -> None:
    account = scene.account()
    scene.run(scene.create_enrollment(account, 1), idempotency=request_key("bc", scope="a"))
    outcome = scene.run(scene.create_enrollment(account, 2), idempotency=request_key("c", scope="ab"))
    assert isinstance(outcome, Created)
    assert outcome.enrollments[0].fingerprint == fingerprint(2)


def test_a_refused_request_is_judged_afresh(scene: Scene) -> None:
    account = scene.account()
    blocking = scene.enrollment(account, 1)
    command = scene.create_enrollment(account, 1)
    scene.refused(command, idempotency=request_key())
    scene.release(blocking)
    assert isinstance(scene.run(command, idempotency=request_key()), Created)


def test_a_request_id_is_free_again_after_its_time(scene: Scene) -> None:
    account = scene.account()
    scene.run(scene.create_enrollment(account, 1), idempotency=request_key())
    last = msgspec.structs.replace(request_key(), now=NOW + TTL - timedelta(microseconds=1))
    assert scene.run(scene.create_enrollment(account, 1), idempotency=last)
    late = msgspec.structs.replace(request_key(digest=b"e" * 32), now=NOW + TTL)
    outcome = scene.run(scene.create_enrollment(account, 2), idempotency=late)
    assert isinstance(outcome, Created)
    assert outcome.enrollments[0].fingerprint == fingerprint(2)
    # From here on the ID is the second request's.
    assert scene.run(scene.create_enrollment(account, 2), idempotency=late) == outcome


def test_a_request_id_that_is_used_again_is_not_swept_with_its_old_request(scene: Scene) -> None:
    account = scene.account()
    for number in range(REQUEST_ID_SWEEP):  # these are swept first
        older = msgspec.structs.replace(request_key(str(number)), now=NOW - TTL + timedelta(seconds=1))
        scene.run(scene.create_enrollment(account, number), idempotency=older)
    scene.run(scene.create_enrollment(account, 100), idempotency=request_key())
    again = msgspec.structs.replace(request_key(), now=NOW + TTL)
    outcome = scene.run(scene.create_enrollment(account, 101), idempotency=again)
    for number in range(2):
        other = msgspec.structs.replace(request_key(f"other {number}"), now=NOW + TTL)
        scene.run(scene.create_enrollment(account, 200 + number), idempotency=other)
    assert scene.run(scene.create_enrollment(account, 101), idempotency=again) == outcome


# --- validation alone ------------------------------------------------------------------------------


def test_validation_alone_tells_the_outcome_and_keeps_nothing(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    before = scene.snapshot()
    outcomes: list[Outcome] = [
        scene.run(scene.create_enrollment(account, 2), validate_only=True),
        scene.run(scene.claim_command(1), validate_only=True),
    ]
    assert [type(outcome).__name__ for outcome in outcomes] == ["Created", "Claimed"]
    assert scene.snapshot() == before
    refusal = scene.refused(scene.create_enrollment(account, 1), validate_only=True)
    assert refusal.reason is Reason.ENROLLMENT_ALREADY_EXISTS


def test_validation_alone_does_not_use_up_the_request_id(scene: Scene) -> None:
    account = scene.account()
    command = scene.create_enrollment(account, 1)
    scene.run(command, idempotency=request_key(), validate_only=True)
    scene.run(command, idempotency=request_key(digest=b"e" * 32))
    assert scene.find_enrollment(1) is not None


def test_validation_alone_does_not_disturb_its_neighbours(scene: Scene) -> None:
    account = scene.account()
    start = scene.revision()
    answers = scene.store.write(
        [
            Submission(scene.create_enrollment(account, 1)),
            Submission(scene.create_enrollment(account, 2), validate_only=True),
            Submission(scene.create_enrollment(account, 2)),
        ]
    )
    assert reasons(answers) == [None] * 3
    assert [e.revision for e in scene.events(start)] == [start + 1, start + 2]
