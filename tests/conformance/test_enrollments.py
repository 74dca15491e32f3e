"""Enrollments: one owner per identity, windows that close, release."""

from __future__ import annotations

import msgspec
import pytest

from ftc_core.domain.event import EventKind
from ftc_core.errors import Reason
from ftc_core.storage.commands import (
    AnnounceExpiries,
    Created,
    CreateEnrollments,
    DeleteEnrollment,
    Done,
    ExpireEnrollments,
    Swept,
)
from ftc_core.storage.engines import open_store
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint


def test_an_enrollment_reads_back_by_id_and_by_fingerprint(scene: Scene) -> None:
    account = scene.account()
    enrollment = scene.enrollment(account, 1, expires_at=NOW + HOUR)
    with scene.store.view() as view:
        assert view.get_enrollment(account.id, enrollment.id) == enrollment
        assert view.get_enrollment(scene.new_id(), enrollment.id) is None
        assert view.find_enrollments([fingerprint(2), fingerprint(1), b""]) == [None, enrollment, None]
        assert view.count_enrollments(account.id) == 1


def test_creation_gives_each_enrollment_its_event_and_revision(scene: Scene) -> None:
    account = scene.account()
    before = scene.revision()
    command = CreateEnrollments(tuple(scene.new_enrollment(account.id, n) for n in range(3)), NOW)
    outcome = scene.run(command)
    assert isinstance(outcome, Created)
    events = scene.events(before)
    assert [e.kind for e in events] == [EventKind.ENROLLMENT_CREATED] * 3
    assert [e.revision for e in events] == [e.revision for e in outcome.enrollments]
    assert [e.enrollment_id for e in events] == [e.id for e in command.enrollments]
    assert [e.fingerprint for e in events] == [fingerprint(n) for n in range(3)]


def test_an_identity_stands_on_one_list_system_wide(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    scene.enrollment(one, 1)
    for account in (one, other):
        refusal = scene.refused(scene.create_enrollment(account, 1))
        assert refusal.reason is Reason.ENROLLMENT_ALREADY_EXISTS
        assert one.id not in repr((refusal.message, refusal.resource, refusal.metadata))


def test_a_batch_is_all_or_none_and_names_the_row_at_fault(scene: Scene) -> None:
    account = scene.account()
    scene.enrollment(account, 2)
    batch = tuple(scene.new_enrollment(account.id, n) for n in (1, 2, 3))
    refusal = scene.refused(CreateEnrollments(batch, NOW))
    assert (refusal.reason, refusal.metadata) == (Reason.ENROLLMENT_ALREADY_EXISTS, {"index": "1"})
    assert scene.find_enrollment(1) is None


def test_a_batch_with_an_identity_twice_is_refused(scene: Scene) -> None:
    account = scene.account()
    batch = tuple(scene.new_enrollment(account.id, n) for n in (1, 2, 1))
    refusal = scene.refused(CreateEnrollments(batch, NOW))
    assert (refusal.reason, refusal.metadata) == (Reason.ENROLLMENT_ALREADY_EXISTS, {"index": "2"})


def test_an_enrollment_needs_its_account(scene: Scene) -> None:
    batch = (scene.new_enrollment(scene.account().id, 1), scene.new_enrollment("f" * 32, 2))
    assert scene.refused(CreateEnrollments(batch, NOW)).reason is Reason.RESOURCE_NOT_FOUND


def test_an_expired_enrollment_gives_way(scene: Scene) -> None:
    old, new = scene.account(), scene.account()
    expired = scene.enrollment(old, 1, expires_at=NOW)
    before = scene.revision()
    taken = scene.enrollment(new, 1)
    assert scene.find_enrollment(1) == taken
    events = scene.events(before)
    assert [(e.kind, e.enrollment_id) for e in events] == [
        (EventKind.ENROLLMENT_EXPIRED, expired.id),
        (EventKind.ENROLLMENT_CREATED, taken.id),
    ]
    with scene.store.view() as view:
        assert (view.count_enrollments(old.id), view.count_enrollments(new.id)) == (0, 1)
        assert view.get_enrollment(old.id, expired.id) is None


def test_a_claimed_enrollment_never_gives_way(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1, expires_at=NOW + HOUR)
    scene.claim(1)
    late = scene.create_enrollment(account, 1, now=NOW + 2 * HOUR)
    assert scene.refused(late).reason is Reason.ENROLLMENT_ALREADY_EXISTS


def test_enrollments_are_listed_per_account_in_pages(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    ids = [scene.enrollment(one, n).id for n in range(5)]
    scene.enrollment(other, 9)
    with scene.store.view() as view:
        assert [e.id for e in view.list_enrollments(one.id, after=None, limit=3)] == ids[:3]
        assert [e.id for e in view.list_enrollments(one.id, after=ids[2], limit=3)] == ids[3:]
        assert view.count_enrollments(one.id) == 5


def test_deleting_an_unclaimed_enrollment_frees_the_identity(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    enrollment = scene.enrollment(one, 1, expires_at=NOW + HOUR)
    before = scene.revision()
    assert scene.release(enrollment) == Done(before + 1)
    assert [e.kind for e in scene.events(before)] == [EventKind.ENROLLMENT_DELETED]
    with scene.store.view() as view:
        assert view.get_enrollment(one.id, enrollment.id) is None
        assert view.count_enrollments(one.id) == 0
        assert view.ledger(fingerprint(1)) == []
    scene.enrollment(other, 1)
    # The old window is gone with the old enrollment.
    assert scene.run(ExpireEnrollments(NOW + 2 * HOUR)) == Swept(0, more=False)


def test_another_accounts_enrollment_is_not_found(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    enrollment = scene.enrollment(one, 1)
    command = DeleteEnrollment(other.id, enrollment.id, NOW)
    assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("enrollment_id", ["f" * 32, "nonsense", ""])
def test_deleting_what_is_not_there_is_not_found(scene: Scene, enrollment_id: str) -> None:
    command = DeleteEnrollment(scene.account().id, enrollment_id, NOW)
    assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


def test_deleting_needs_the_current_revision_if_one_is_given(scene: Scene) -> None:
    enrollment = scene.enrollment(scene.account(), 1)
    stale = DeleteEnrollment(enrollment.account_id, enrollment.id, NOW, enrollment.revision - 1)
    assert scene.refused(stale).reason is Reason.ETAG_MISMATCH
    scene.run(msgspec.structs.replace(stale, revision=enrollment.revision))
    assert scene.find_enrollment(1) is None


def test_a_sweep_removes_what_expired_by_now_and_nothing_else(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1, expires_at=NOW)
    scene.enrollment(account, 2, expires_at=NOW + HOUR)
    scene.enrollment(account, 3)
    scene.enrollment(account, 4, expires_at=NOW + HOUR)
    scene.claim(4)
    before = scene.revision()
    assert scene.run(ExpireEnrollments(NOW)) == Swept(1, more=False)
    assert [(e.kind, e.fingerprint) for e in scene.events(before)] == [
        (EventKind.ENROLLMENT_EXPIRED, fingerprint(1))
    ]
    assert scene.run(ExpireEnrollments(NOW + 2 * HOUR)) == Swept(1, more=False)
    with scene.store.view() as view:
        present = [e is not None for e in view.find_enrollments([fingerprint(n) for n in (1, 2, 3, 4)])]
        assert present == [False, False, True, True]
        assert view.count_enrollments(account.id) == 2


def test_a_sweep_stops_at_its_limit_and_says_so(scene: Scene) -> None:
    account = scene.account()
    for number in range(5):
        scene.enrollment(account, number, expires_at=NOW + number * HOUR)
    end = NOW + 10 * HOUR
    assert scene.run(ExpireEnrollments(end, limit=2)) == Swept(2, more=True)
    assert scene.find_enrollment(0) is None, "the longest overdue goes first"
    assert scene.find_enrollment(2) is not None
    assert scene.run(ExpireEnrollments(end, limit=3)) == Swept(3, more=False)
    assert scene.run(ExpireEnrollments(end)) == Swept(0, more=False)


def test_expiry_is_announced_once(scene: Scene) -> None:
    account = scene.account()
    soon = scene.enrollment(account, 1, expires_at=NOW + HOUR)
    scene.enrollment(account, 2, expires_at=NOW + 3 * HOUR)
    scene.enrollment(account, 3)
    before = scene.revision()

    assert scene.run(AnnounceExpiries(NOW, NOW + 2 * HOUR)) == Swept(1, more=False)
    assert scene.run(AnnounceExpiries(NOW, NOW + 2 * HOUR)) == Swept(0, more=False)

    [event] = scene.events(before)
    assert (event.kind, event.at, event.fingerprint) == (EventKind.ENROLLMENT_EXPIRING, NOW, fingerprint(1))
    assert (event.account_id, event.enrollment_id) == (account.id, soon.id)
    assert scene.find_enrollment(1) == soon, "its etag stays"
    assert scene.run(AnnounceExpiries(NOW, NOW + 3 * HOUR)) == Swept(1, more=False)


def test_expiry_is_not_announced_of_what_was_claimed_deleted_or_has_expired(scene: Scene) -> None:
    account = scene.trusting_account()
    claimed, deleted, expired = (
        scene.enrollment(account, number, expires_at=NOW + number * HOUR) for number in (3, 2, 1)
    )
    scene.claim(3)
    scene.release(deleted)
    before = scene.revision()

    assert scene.run(AnnounceExpiries(NOW + HOUR, NOW + 9 * HOUR)) == Swept(0, more=False)

    assert scene.revision() == before
    assert scene.find_enrollment(3) is not None
    assert scene.run(ExpireEnrollments(NOW + 9 * HOUR)) == Swept(1, more=False)
    assert [event.enrollment_id for event in scene.events(before)] == [expired.id]
    assert claimed.id != expired.id


def test_announcements_stop_at_their_limit_and_say_so(scene: Scene) -> None:
    account = scene.account()
    for number in range(3):
        scene.enrollment(account, number, expires_at=NOW + (number + 1) * HOUR)
    before = scene.revision()

    assert scene.run(AnnounceExpiries(NOW, NOW + 9 * HOUR, limit=2)) == Swept(2, more=True)
    assert scene.run(AnnounceExpiries(NOW, NOW + 9 * HOUR, limit=2)) == Swept(1, more=False)

    assert [event.fingerprint for event in scene.events(before)] == [fingerprint(n) for n in range(3)]


def test_enrollment_made_anew_is_announced_anew(scene: Scene) -> None:
    account = scene.account()
    first = scene.enrollment(account, 1, expires_at=NOW + HOUR)
    scene.run(AnnounceExpiries(NOW, NOW + HOUR))
    scene.release(first)
    again = scene.enrollment(account, 1, expires_at=NOW + HOUR)

    assert scene.run(AnnounceExpiries(NOW, NOW + HOUR)) == Swept(1, more=False)
    assert scene.events()[-1].enrollment_id == again.id


def test_what_was_announced_is_known_after_a_restart(scene: Scene, url: str) -> None:
    account = scene.account()
    for number in (1, 2):
        scene.enrollment(account, number, expires_at=NOW + number * HOUR)
    scene.run(AnnounceExpiries(NOW, NOW + HOUR))
    scene.store.close()
    scene.store = open_store(url)
    try:
        before = scene.revision()
        assert scene.run(AnnounceExpiries(NOW, NOW + 2 * HOUR)) == Swept(1, more=False)
        assert [event.fingerprint for event in scene.events(before)] == [fingerprint(2)]
    finally:
        scene.store.close()
