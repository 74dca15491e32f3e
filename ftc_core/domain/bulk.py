"""Bulk jobs: an uploaded CSV of enrollment IDs that are put on, or taken off, an account's list row by row.

A job is its input file, which never changes, and what is stored of it: the record below, and one `BulkBatch`
for every batch of rows that took effect. Reports follow from these two (`bulk_report`), so there is nothing
else that a crash could leave behind half-written.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from ftc_core.errors import FtcError, Reason

__all__ = ["BulkBatch", "BulkJob", "BulkKind", "BulkStatus", "operation_limit_reached"]


class BulkKind(StrEnum):
    """What a job does with each row."""

    CREATE = "CREATE"
    DELETE = "DELETE"


class BulkStatus(StrEnum):
    """How far a job has come [Izuma's words]."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"


class BulkJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job. Counts are of rows that are neither blank nor the first line.

    `expires_at` is that of the enrollments that it creates, None: never.
    `offset` is the byte of the input at which the next batch begins. `ended_by` says why a job that is
    completed did not come to its end: OPERATION_CANCELLED, or what made it impossible to go on.
    """

    id: str
    account_id: str
    kind: BulkKind
    created_at: datetime
    total_count: int
    validate_only: bool = False
    expires_at: datetime | None = None
    status: BulkStatus = BulkStatus.NEW
    offset: int = 0
    processed_count: int = 0
    errors_count: int = 0
    completed_at: datetime | None = None
    ended_by: Reason | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.status is BulkStatus.COMPLETED


class BulkBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that took effect together, at `at`: those in the bytes from `start` to `end` of the input.

    `refusals` has those that the store refused, by their place among the batch's rows (blank lines do not
    count), `errors` how many failed in all: these, and those that are no enrollment ID at all.
    """

    start: int
    end: int
    at: datetime
    errors: int
    refusals: dict[int, Reason]


def operation_limit_reached(account_id: str, kept_max: int) -> FtcError:
    """The refusal of a job where an account has as many as it may keep."""
    return FtcError(
        Reason.OPERATION_LIMIT_REACHED,
        f"account has {kept_max} operations, the most that are kept",
        resource=f"accounts/{account_id}",
        metadata={"operations_max": str(kept_max)},
    )
