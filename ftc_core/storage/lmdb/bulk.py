"""Commands on bulk jobs. Rows and the note that they are done are in one transaction, or in none."""

from __future__ import annotations

import msgspec

from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkKind, BulkStatus
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.bulk_commands import (
    AdvanceBulkJob,
    BulkWritten,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
)
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.enrollments import insert_enrollments, remove_enrollment
from ftc_core.storage.lmdb.tables import number_key, pack_id
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["advance_bulk_job", "create_bulk_job", "delete_bulk_job", "end_bulk_job"]


def create_bulk_job(writer: Writer, command: CreateBulkJob) -> BulkWritten:
    """See the command."""
    job = command.job
    writer.count(job.account_id)  # raises if there is no such account
    key = pack_id(job.id)
    writer.add(writer.tables.bulk_jobs_by_account, pack_id(job.account_id) + key)
    writer.put(writer.tables.bulk_unfinished, key)
    return _put(writer, job)


def advance_bulk_job(writer: Writer, command: AdvanceBulkJob) -> BulkWritten:
    """See the command."""
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
        advanced = msgspec.structs.replace(
            advanced,
            status=BulkStatus.COMPLETED,
            completed_at=command.now,
            total_count=advanced.processed_count,
        )
        writer.delete(writer.tables.bulk_unfinished, pack_id(job.id))
    return _put(writer, advanced)


def end_bulk_job(writer: Writer, command: EndBulkJob) -> BulkWritten:
    """See the command."""
    job = _existing(writer, command.job_id)
    if job.done:
        return BulkWritten(job)
    ended = msgspec.structs.replace(
        job, status=BulkStatus.COMPLETED, completed_at=command.now, ended_by=command.reason
    )
    writer.delete(writer.tables.bulk_unfinished, pack_id(job.id))
    return _put(writer, ended)


def delete_bulk_job(writer: Writer, command: DeleteBulkJob) -> BulkWritten:
    """See the command."""
    job = _existing(writer, command.job_id)
    if not job.done:
        raise FtcError(Reason.OPERATION_UNFINISHED)
    key = pack_id(job.id)
    writer.delete_prefix(writer.tables.bulk_batches, key)
    writer.delete(writer.tables.bulk_jobs, key)
    writer.delete(writer.tables.bulk_jobs_by_account, pack_id(job.account_id) + key)
    return BulkWritten(job)


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
        )
        for row in command.rows
    ]
    standing = insert_enrollments(writer, job.account_id, wanted, command.now)
    return {command.rows[index].place: Reason.ENROLLMENT_ALREADY_EXISTS for index in standing}


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


def _put(writer: Writer, job: BulkJob) -> BulkWritten:
    writer.put(writer.tables.bulk_jobs, pack_id(job.id), records.BULK_JOB.encode(job))
    return BulkWritten(job)
