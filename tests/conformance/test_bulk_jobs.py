"""Bulk jobs in the store: rows take effect together with the note that they are done."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from ftc_core.domain.account import Account
from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkKind, BulkStatus
from ftc_core.domain.event import EventKind
from ftc_core.errors import Reason
from ftc_core.storage.bulk_commands import (
    AdvanceBulkJob,
    BulkRow,
    BulkSwept,
    BulkWritten,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
    ExpireBulkJobs,
)
from ftc_core.storage.commands import AnnounceExpiries, ExpireEnrollments, Swept
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint

LATER = NOW + timedelta(seconds=1)


def job_of(
    scene: Scene,
    account: Account,
    kind: BulkKind,
    *,
    validate_only: bool = False,
    expires_at: datetime | None = None,
) -> BulkJob:
    job = BulkJob(
        id=scene.new_id(),
        account_id=account.id,
        kind=kind,
        created_at=NOW,
        total_count=9,
        validate_only=validate_only,
        expires_at=expires_at,
    )
    assert scene.run(CreateBulkJob(job, kept_max=9)) == BulkWritten(job)
    return job


def batch(
    scene: Scene, job: BulkJob, *numbers: int, start: int = 0, malformed: int = 0, last: bool = False
) -> AdvanceBulkJob:
    rows = tuple(BulkRow(place, fingerprint(number), scene.new_id()) for place, number in enumerate(numbers))
    return AdvanceBulkJob(job.id, start, start + 100, rows, malformed, last, LATER)


def advance(scene: Scene, command: AdvanceBulkJob) -> BulkJob:
    outcome = scene.run(command)
    assert isinstance(outcome, BulkWritten)
    return outcome.job


def listed(scene: Scene, account: Account) -> set[bytes]:
    with scene.store.view() as view:
        found = view.list_enrollments(account.id, after=None, limit=100)
        assert view.count_enrollments(account.id) == len(found)
    return {enrollment.fingerprint for enrollment in found}


def batches(scene: Scene, job: BulkJob) -> list[BulkBatch]:
    with scene.store.view() as view:
        return view.list_bulk_batches(job.id, start=0, limit=100)


def test_rows_are_enrolled_or_refused_each_on_its_own(scene: Scene) -> None:
    account, other = scene.account(), scene.account()
    scene.enrollment(other, 1)
    scene.enrollment(account, 2, expires_at=NOW + timedelta(milliseconds=1))
    job = job_of(scene, account, BulkKind.CREATE)

    after = advance(scene, batch(scene, job, 1, 2, 3, 3, malformed=2))

    assert listed(scene, account) == {fingerprint(2), fingerprint(3)}
    assert (after.status, after.offset, after.processed_count, after.errors_count) == (
        *(BulkStatus.PROCESSING, 100, 6, 4),
    )
    refusals = {0: Reason.ENROLLMENT_ALREADY_EXISTS, 3: Reason.ENROLLMENT_ALREADY_EXISTS}
    assert batches(scene, job) == [BulkBatch(start=0, end=100, at=LATER, errors=4, refusals=refusals)]


def test_rows_are_released_or_refused_each_on_its_own(scene: Scene) -> None:
    account, other = scene.trusting_account(), scene.account()
    scene.enrollment(account, 1)
    scene.enrollment(other, 2)
    scene.claim(1)
    job = job_of(scene, account, BulkKind.DELETE)

    after = advance(scene, batch(scene, job, 1, 1, 2, 3))

    assert (listed(scene, account), listed(scene, other)) == (set(), {fingerprint(2)})
    assert after.errors_count == 3
    assert batches(scene, job)[0].refusals == dict.fromkeys((1, 2, 3), Reason.RESOURCE_NOT_FOUND)
    with scene.store.view() as view:
        assert view.count_devices(account.id) == 0
        assert view.events(after_revision=0, limit=100)[-1].kind is EventKind.DEVICE_RELEASED


@pytest.mark.parametrize("kind", BulkKind)
def test_job_that_only_validates_judges_and_changes_nothing(scene: Scene, kind: BulkKind) -> None:
    account = scene.account()
    scene.enrollment(account, 1)
    job = job_of(scene, account, kind, validate_only=True)
    with scene.store.view() as view:
        before = view.revision()

    after = advance(scene, batch(scene, job, 1, 2, last=True))

    refused = (
        {0: Reason.ENROLLMENT_ALREADY_EXISTS} if kind is BulkKind.CREATE else {1: Reason.RESOURCE_NOT_FOUND}
    )
    assert batches(scene, job)[0].refusals == refused
    assert (after.status, after.errors_count) == (BulkStatus.COMPLETED, 1)
    assert listed(scene, account) == {fingerprint(1)}
    with scene.store.view() as view:
        assert view.revision() == before


def test_batch_takes_effect_once(scene: Scene) -> None:
    account = scene.account()
    job = job_of(scene, account, BulkKind.CREATE)
    command = batch(scene, job, 1)
    advance(scene, command)

    assert scene.refused(command).reason is Reason.ETAG_MISMATCH
    assert scene.refused(batch(scene, job, 2, start=99)).reason is Reason.ETAG_MISMATCH


def test_last_batch_completes_the_job(scene: Scene) -> None:
    job = job_of(scene, scene.account(), BulkKind.CREATE)
    with scene.store.view() as view:
        assert view.list_unfinished_bulk_jobs() == [job]

    after = advance(scene, batch(scene, job, 1, last=True))

    assert (after.done, after.completed_at, after.total_count, after.ended_by) == (True, LATER, 1, None)
    with scene.store.view() as view:
        assert view.list_unfinished_bulk_jobs() == []
        assert view.get_bulk_job(job.id) == after
    assert scene.refused(batch(scene, job, 2, start=100)).reason is Reason.OPERATION_CANCELLED


def test_cancelled_job_does_no_more(scene: Scene) -> None:
    account = scene.account()
    job = job_of(scene, account, BulkKind.CREATE)
    cancel = EndBulkJob(job.id, Reason.OPERATION_CANCELLED, LATER)

    outcome = scene.run(cancel)

    assert isinstance(outcome, BulkWritten)
    assert (outcome.job.done, outcome.job.ended_by) == (True, Reason.OPERATION_CANCELLED)
    assert scene.run(EndBulkJob(job.id, Reason.INTERNAL_10, NOW + HOUR)) == outcome
    assert scene.refused(batch(scene, job, 1)).reason is Reason.OPERATION_CANCELLED
    assert listed(scene, account) == set()


def test_job_is_forgotten_once_it_is_completed(scene: Scene) -> None:
    account = scene.account()
    job, other = job_of(scene, account, BulkKind.CREATE), job_of(scene, account, BulkKind.CREATE)
    assert scene.refused(DeleteBulkJob(job.id)).reason is Reason.OPERATION_UNFINISHED
    advance(scene, batch(scene, job, 1, last=True))
    advance(scene, batch(scene, other, 2))

    scene.run(DeleteBulkJob(job.id))

    with scene.store.view() as view:
        assert view.get_bulk_job(job.id) is None
        assert [left.id for left in view.list_bulk_jobs(account.id, after=None, limit=9)] == [other.id]
        assert view.list_bulk_batches(job.id, start=0, limit=9) == []
        assert len(view.list_bulk_batches(other.id, start=0, limit=9)) == 1
    assert listed(scene, account) == {fingerprint(1), fingerprint(2)}
    for command in (DeleteBulkJob(job.id), EndBulkJob(job.id, Reason.OPERATION_CANCELLED, NOW)):
        assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


def test_jobs_are_listed_by_account_in_pages(scene: Scene) -> None:
    account, other = scene.account(), scene.account()
    jobs = [job_of(scene, account, BulkKind.CREATE) for _ in range(3)]
    job_of(scene, other, BulkKind.DELETE)

    with scene.store.view() as view:
        assert view.list_bulk_jobs(account.id, after=None, limit=2) == jobs[:2]
        assert view.list_bulk_jobs(account.id, after=jobs[1].id, limit=2) == jobs[2:]
        assert view.get_bulk_job("no ID") is None


def test_batches_are_found_from_a_place_in_the_input(scene: Scene) -> None:
    job = job_of(scene, scene.account(), BulkKind.CREATE)
    for number in range(3):
        advance(scene, batch(scene, job, number, start=100 * number))

    with scene.store.view() as view:
        found = view.list_bulk_batches(job.id, start=100, limit=1)
        assert [(done.start, done.end) for done in found] == [(100, 200)]
        assert [done.start for done in view.list_bulk_batches(job.id, start=101, limit=9)] == [200]


def test_job_needs_its_account(scene: Scene) -> None:
    nowhere = BulkJob(
        id=scene.new_id(), account_id=scene.new_id(), kind=BulkKind.CREATE, created_at=NOW, total_count=0
    )

    assert scene.refused(CreateBulkJob(nowhere, kept_max=9)).reason is Reason.RESOURCE_NOT_FOUND


def test_rows_of_a_job_expire_when_the_job_says(scene: Scene) -> None:
    account = scene.account()
    job = job_of(scene, account, BulkKind.CREATE, expires_at=NOW + HOUR)
    advance(scene, batch(scene, job, 1, 2, last=True))

    assert scene.run(AnnounceExpiries(LATER, NOW + HOUR)) == Swept(2, more=False)
    assert scene.run(ExpireEnrollments(NOW + HOUR)) == Swept(2, more=False)
    assert listed(scene, account) == set()


def test_account_keeps_no_more_jobs_than_allowed(scene: Scene) -> None:
    account, other = scene.account(), scene.account()
    first = job_of(scene, account, BulkKind.CREATE)
    surplus = msgspec.structs.replace(first, id=scene.new_id())

    assert scene.refused(CreateBulkJob(surplus, kept_max=1)).reason is Reason.OPERATION_LIMIT_REACHED
    advance(scene, batch(scene, first, last=True))
    assert scene.refused(CreateBulkJob(surplus, kept_max=1)).reason is Reason.OPERATION_LIMIT_REACHED
    scene.run(CreateBulkJob(msgspec.structs.replace(surplus, account_id=other.id), kept_max=1))
    scene.run(DeleteBulkJob(first.id))
    scene.run(CreateBulkJob(msgspec.structs.replace(surplus, id=scene.new_id()), kept_max=1))


def test_jobs_are_forgotten_in_the_order_in_which_they_were_completed(scene: Scene) -> None:
    account = scene.account()
    unfinished, ended, done, later = (job_of(scene, account, BulkKind.CREATE) for _ in range(4))
    scene.run(EndBulkJob(ended.id, Reason.OPERATION_CANCELLED, NOW))
    advance(scene, batch(scene, done, 1, last=True))
    scene.run(EndBulkJob(later.id, Reason.OPERATION_CANCELLED, NOW + HOUR))

    assert scene.run(ExpireBulkJobs(LATER, limit=1)) == BulkSwept((ended.id,), more=True)
    assert scene.run(ExpireBulkJobs(LATER, limit=1)) == BulkSwept((done.id,), more=False)
    assert scene.run(ExpireBulkJobs(LATER, limit=1)) == BulkSwept((), more=False)

    with scene.store.view() as view:
        left = [job.id for job in view.list_bulk_jobs(account.id, after=None, limit=9)]
        assert left == [unfinished.id, later.id]
        assert view.list_bulk_batches(done.id, start=0, limit=9) == []
    assert listed(scene, account) == {fingerprint(1)}, "what a job did stays"


def test_deleted_job_is_not_swept_again(scene: Scene) -> None:
    job = job_of(scene, scene.account(), BulkKind.CREATE)
    advance(scene, batch(scene, job, last=True))
    scene.run(DeleteBulkJob(job.id))

    assert scene.run(ExpireBulkJobs(NOW + HOUR, limit=9)) == BulkSwept((), more=False)


def test_batch_tells_which_changes_of_the_store_are_its_own(scene: Scene) -> None:
    account = scene.account()
    job = job_of(scene, account, BulkKind.CREATE)

    first = scene.run(batch(scene, job, 1, 2))
    scene.enrollment(account, 3)
    second = scene.run(batch(scene, job, 3, 4, start=100))

    assert isinstance(first, BulkWritten)
    assert isinstance(second, BulkWritten)
    assert first.after - first.before == 2
    assert second.before - first.after == 1
    assert second.after - second.before == 1, "one of its rows stood already"
