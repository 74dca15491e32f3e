"""The store's commands on bulk jobs, and what they answer; `commands` lists them with the others."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.bulk import BulkJob
from ftc_core.errors import Reason

__all__ = [
    "AdvanceBulkJob",
    "BulkRow",
    "BulkSwept",
    "BulkWritten",
    "CreateBulkJob",
    "DeleteBulkJob",
    "EndBulkJob",
    "ExpireBulkJobs",
]


class BulkRow(msgspec.Struct, frozen=True):
    """A row that names a device: its place among the batch's rows; a fresh ID where it may be enrolled."""

    place: int
    fingerprint: bytes
    enrollment_id: str = ""


class CreateBulkJob(msgspec.Struct, frozen=True, tag=True):
    """Add a job whose input is on disk → BulkWritten.

    RESOURCE_NOT_FOUND if its account does not exist; OPERATION_LIMIT_REACHED if that has `kept_max` jobs
    already, whether or not they are completed.
    """

    job: BulkJob
    kept_max: int


class AdvanceBulkJob(msgspec.Struct, frozen=True, tag=True):
    """Do the next batch of a job's rows, and note that it is done → BulkWritten.

    `start` and `end` are where the batch begins and ends in the input, `rows` those of its rows that name a
    device, `malformed` how many do not; with `last` the job is completed. Each row succeeds or is refused on
    its own, as by CreateEnrollments and DeleteEnrollment: ENROLLMENT_ALREADY_EXISTS, or RESOURCE_NOT_FOUND if
    the account's list lacks it. Of a job that only validates, rows are judged by what stands, each by itself.

    OPERATION_CANCELLED if the job is completed or gone; ETAG_MISMATCH if it does not stand at `start`;
    RESOURCE_NOT_FOUND if its account is gone.
    """

    job_id: str
    start: int
    end: int
    rows: tuple[BulkRow, ...]
    malformed: int
    last: bool
    now: datetime


class EndBulkJob(msgspec.Struct, frozen=True, tag=True):
    """Complete a job before its end, for `reason` → BulkWritten; one that is completed stays as it is.

    RESOURCE_NOT_FOUND.
    """

    job_id: str
    reason: Reason
    now: datetime


class DeleteBulkJob(msgspec.Struct, frozen=True, tag=True):
    """Forget a completed job → BulkWritten. RESOURCE_NOT_FOUND; OPERATION_UNFINISHED."""

    job_id: str


class ExpireBulkJobs(msgspec.Struct, frozen=True, tag=True):
    """Forget up to `limit` jobs that were completed by `until`, the longest ago first → BulkSwept."""

    until: datetime
    limit: int


class BulkWritten(msgspec.Struct, frozen=True, tag=True):
    """The job as it is now, or was when it was deleted; of a batch, the revision before and after it."""

    job: BulkJob
    before: int = 0
    after: int = 0


class BulkSwept(msgspec.Struct, frozen=True, tag=True):
    """The IDs of the jobs that are forgotten; `more` if the limit stopped it."""

    job_ids: tuple[str, ...]
    more: bool
