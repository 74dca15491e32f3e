"""Commands on bulk jobs. Rows and the note that they are done are in one transaction, or in none."""

from __future__ import annotations

import itertools
from datetime import datetime

import msgspec

from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkKind, BulkStatus, operation_limit_reached
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.bulk_commands import (
    AdvanceBulkJob,
    BulkSwept,
    BulkWritten,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
    ExpireBulkJobs,
)
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.enrollments import insert_enrollments, remove_enrollment
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, number_key, pack_id, time_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["advance_bulk_job", "create_bulk_job", "delete_bulk_job", "end_bulk_job", "expire_bulk_jobs"]


def create_bulk_job(writer: Writer, command: CreateBulkJob) -> BulkWritten:
    """See the command."""
    job = command.job
    writer.count(job.account_id)  # raises if there is no such account
    kept = writer.view.list_bulk_jobs(job.account_id, after=None, limit=command.kept_max)
    if len(kept) >= command.kept_max:
        raise operation_limit_reached(job.account_id, command.kept_max)
    key = pack_id(job.id)
    writer.add(writer.tables.bulk_jobs_by_account, pack_id(job.account_id) + key)
    writer.put(writer.tables.bulk_unfinished, key)
    return _put(writer, job)


def advance_bulk_job(writer: Writer, command: AdvanceBulkJob) -> BulkWritten:
    """See the command."""
    before = writer.revision
    job = writer.view.get_bulk_job(command.job_id)
    if job is None or job.done:
        raise FtcError(Reason.OPERATION_CANCELLED)
    if job.offset != command.start:
        raise FtcError(Reason.ETAG_MISMATCH)
    writer.count(job.account_id)  # raises if there is no such account
    do = _create if job.kind is BulkKind.CREATE else _delete
    refusals = do(writer, job, command)
    batch = BulkBatch(
        start=command.start,
        end=command.end,
        at=command.now,
        errors=command.malformed + len(refusals),
        refusals=refusals,
    )
    writer.put(
        writer.tables.bulk_batches,
        pack_id(job.id) + number_key(batch.start),
        records.BULK_BATCH.encode(batch),
    )
    advanced = msgspec.structs.replace(
        job,
        status=BulkStatus.PROCESSING,
        offset=command.end,
        processed_count=job.processed_count + len(command.rows) + command.malformed,
        errors_count=job.errors_count + batch.errors,
    )
    if command.last:
        whole = msgspec.structs.replace(advanced, total_count=advanced.processed_count)
        written = _complete(writer, whole, command.now)
    else:
        written = _put(writer, advanced)
    return msgspec.structs.replace(written, before=before, after=writer.revision)


def end_bulk_job(writer: Writer, command: EndBulkJob) -> BulkWritten:
    """See the command."""
    job = _existing(writer, command.job_id)
    if job.done:
        return BulkWritten(job)
    return _complete(writer, msgspec.structs.replace(job, ended_by=command.reason), command.now)


def delete_bulk_job(writer: Writer, command: DeleteBulkJob) -> BulkWritten:
    """See the command."""
    job = _existing(writer, command.job_id)
    if not job.done:
        raise FtcError(Reason.OPERATION_UNFINISHED)
    _remove(writer, job)
    return BulkWritten(job)


def expire_bulk_jobs(writer: Writer, command: ExpireBulkJobs) -> BulkSwept:
    """See the command."""
    due, more = writer.due(writer.tables.bulk_completed, time_key(command.until), command.limit)
    job_ids = tuple(key[NUMBER_BYTES:].hex() for key in due)
    for job_id in job_ids:
        _remove(writer, _existing(writer, job_id))
    return BulkSwept(job_ids, more)


def _create(writer: Writer, job: BulkJob, command: AdvanceBulkJob) -> dict[int, Reason]:
    taken = {}
    if job.validate_only:
        found = writer.view.find_enrollments([row.fingerprint for row in command.rows])
        for row, present in zip(command.rows, found, strict=True):
            if present is not None and not present.is_expired(command.now):
                taken[row.place] = Reason.ENROLLMENT_ALREADY_EXISTS
        return taken
    wanted = [
        Enrollment(
            id=row.enrollment_id,
            account_id=job.account_id,
            fingerprint=row.fingerprint,
            created_at=command.now,
            expires_at=job.expires_at,
        )
        for row in command.rows
    ]
    inserted = insert_enrollments(writer, job.account_id, wanted, itertools.repeat(command.now))
    return {
        row.place: Reason.ENROLLMENT_ALREADY_EXISTS
        for row, enrollment in zip(command.rows, inserted, strict=True)
        if enrollment is None
    }


def _delete(writer: Writer, job: BulkJob, command: AdvanceBulkJob) -> dict[int, Reason]:
    missing = {}
    for row in command.rows:
        # One by one: an identity may stand twice in the file, and is gone the second time.
        [present] = writer.view.find_enrollments((row.fingerprint,))
        if present is None or present.account_id != job.account_id:
            missing[row.place] = Reason.RESOURCE_NOT_FOUND
        elif not job.validate_only:
            remove_enrollment(writer, present, command.now)
    return missing


def _existing(writer: Writer, job_id: str) -> BulkJob:
    job = writer.view.get_bulk_job(job_id)
    if job is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "operation not found")
    return job


def _complete(writer: Writer, job: BulkJob, at: datetime) -> BulkWritten:
    key = pack_id(job.id)
    writer.delete(writer.tables.bulk_unfinished, key)
    writer.put(writer.tables.bulk_completed, time_key(at) + key)
    return _put(writer, msgspec.structs.replace(job, status=BulkStatus.COMPLETED, completed_at=at))


def _remove(writer: Writer, job: BulkJob) -> None:
    """Forget `job`, which is completed."""
    tables, key = writer.tables, pack_id(job.id)
    assert job.completed_at is not None  # noqa: S101 - what completed means
    writer.delete(tables.bulk_completed, time_key(job.completed_at) + key)
    writer.delete_prefix(tables.bulk_batches, key)
    writer.delete(tables.bulk_jobs, key)
    writer.delete(tables.bulk_jobs_by_account, pack_id(job.account_id) + key)


def _put(writer: Writer, job: BulkJob) -> BulkWritten:
    writer.put(writer.tables.bulk_jobs, pack_id(job.id), records.BULK_JOB.encode(job))
    return BulkWritten(job)
