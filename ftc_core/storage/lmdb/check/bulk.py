"""Bulk jobs and their batches, which cover the input without a gap up to where the job stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkStatus
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, place, unreadable
from ftc_core.storage.lmdb.tables import ID_BYTES, NUMBER_BYTES, number_key, pack_id, time_key

__all__ = ["check_bulk_batches", "check_bulk_jobs"]


def check_bulk_jobs(snapshot: Snapshot) -> Iterator[Finding]:
    """Every job with its indexes, and its batches. Its account may be gone."""

    def inspect(key: bytes, job: BulkJob) -> Iterator[Finding]:
        where, label = place("bulk_jobs", key), _name(job)
        if job.done is not (job.completed_at is not None):
            found = f"status {job.status.value}, completed_at {job.completed_at}"
            yield impossible(where, label, "completed_at with COMPLETED, and with nothing else", found)
        yield from _batches(snapshot, job, where)

    def entries(own: bytes, job: BulkJob) -> Iterable[Entry]:
        yield Entry("bulk_jobs_by_account", pack_id(job.account_id) + own)
        if not job.done:
            yield Entry("bulk_unfinished", own)
        elif job.completed_at is not None:
            yield Entry("bulk_completed", time_key(job.completed_at) + own)

    yield from check_records(
        snapshot,
        RecordTable(
            name="bulk_jobs",
            key_bytes=ID_BYTES,
            decode=records.BULK_JOB.decode,
            key=lambda job: pack_id(job.id),
            label=_name,
            entries=entries,
            inspect=inspect,
            indexes={
                "bulk_jobs_by_account": Index(2 * ID_BYTES, lambda _, key, value: key[ID_BYTES:]),
                "bulk_unfinished": Index(ID_BYTES, lambda _, key, value: key),
                "bulk_completed": Index(NUMBER_BYTES + ID_BYTES, lambda _, key, value: key[NUMBER_BYTES:]),
            },
        ),
    )


def check_bulk_batches(snapshot: Snapshot) -> Iterator[Finding]:
    """Every batch is of a job that there is. What is in them is the jobs' check."""
    for job, run in groupby(snapshot.keys("bulk_batches"), lambda key: key[:ID_BYTES]):
        keys = list(run) if snapshot.get("bulk_jobs", job) is None else []
        for key in keys[:1]:
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=place("bulk_batches", key),
                expected=f"no entry, or the job operations/{job.hex()}",
                found=f"no such job, and {len(keys)} batch(es) of it",
            )


def _batches(snapshot: Snapshot, job: BulkJob, where: str) -> Iterator[Finding]:
    reached = errors = count = 0
    for key, stored in snapshot.under("bulk_batches", pack_id(job.id)):
        count += 1
        at = place("bulk_batches", key)
        try:
            batch = records.BULK_BATCH.decode(stored)
        except FtcError as error:
            yield unreadable("bulk_batches", key, error, _name(job))
            return
        yield from _batch(batch, key, reached, at, _name(job))
        reached, errors = batch.end, errors + batch.errors
    if (reached, errors) != (job.offset, job.errors_count):
        found = f"byte {job.offset} with {job.errors_count} errors"
        expected = f"byte {reached} with {errors} errors, as its batches have it"
        yield impossible(where, _name(job), expected, found)
    if (job.status is BulkStatus.NEW) and count:
        yield impossible(where, _name(job), f"another status than NEW, for {count} batch(es) are done", "NEW")


def _batch(batch: BulkBatch, key: bytes, reached: int, where: str, label: str) -> Iterator[Finding]:
    if key[ID_BYTES:] != number_key(batch.start):
        yield Finding(
            kind=FindingKind.RECORD_MISPLACED,
            where=where,
            expected="the batch that begins there",
            found=f"that which begins at byte {batch.start}",
            record=label,
        )
    elif batch.start != reached or batch.end < batch.start or batch.errors < len(batch.refusals):
        found = f"bytes {batch.start} to {batch.end}, {batch.errors} errors, {len(batch.refusals)} refusals"
        yield impossible(where, label, f"a batch that goes on at byte {reached}", found)


def _name(job: BulkJob) -> str:
    return f"operations/{job.id} of accounts/{job.account_id}"
