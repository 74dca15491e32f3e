"""Bulk jobs: many enrollment IDs in one CSV, put on or taken off an account's list in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import BinaryIO

import msgspec

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal
from ftc_core.application.bulk_input import BulkInputs, InputWriter, read_rows, translated
from ftc_core.application.bulk_retry import BulkRetry
from ftc_core.application.bulk_runner import BulkRunner
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.application.enrollments import expiry_of
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkKind, BulkStatus, operation_limit_reached
from ftc_core.domain.bulk_report import ReportKind, report_header, report_rows
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BULK_JOBS_SWEPT_AT_ONCE, OPERATIONS_MAX
from ftc_core.storage.bulk_commands import (
    BulkSwept,
    BulkWritten,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
    ExpireBulkJobs,
)
from ftc_core.storage.commands import Submission

__all__ = ["BulkJobs", "NewBulkJob", "Upload"]

FILTERS: filtering.Schema[BulkJob] = {
    "done": filtering.boolean(lambda job: job.done),
    "metadata.kind": filtering.choice(BulkKind, lambda job: job.kind),
    "metadata.status": filtering.choice(BulkStatus, lambda job: job.status),
    "metadata.validate_only": filtering.boolean(lambda job: job.validate_only),
    "metadata.errors_count": filtering.number(lambda job: job.errors_count),
    "metadata.created_at": filtering.moment(lambda job: job.created_at),
    "metadata.completed_at": filtering.moment(lambda job: job.completed_at),
}
"""What ListOperations filters by, as the fields are called there."""

_BATCHES_READ = 100
"""Batches whose outcome is read from the store at once for a report."""


class NewBulkJob(msgspec.Struct, frozen=True):
    """A job as asked for; `expires_at` is for the enrollments that it creates, None: as the policy says."""

    account_id: str
    kind: BulkKind
    expires_at: datetime | None = None


class Upload:
    """An input under way, of the job that is to have the ID `job_id`."""

    def __init__(self, job_id: str, writer: InputWriter) -> None:
        self.job_id = job_id
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Append. Raises FtcError UPLOAD_TOO_LARGE, INTERNAL_1 or INTERNAL_2."""
        await asyncio.to_thread(self._writer.write, data)

    async def finish(self) -> tuple[int, bytes]:
        """Make it durable; its number of rows and its digest. Raises as `write`."""
        return await asyncio.to_thread(self._writer.finish)

    async def discard(self) -> None:
        """Leave nothing."""
        await asyncio.to_thread(self._writer.discard)


class BulkJobs:
    """What can be done with bulk jobs. `runner` works on them, and must be run beside."""

    def __init__(
        self, context: ApplicationContext, inputs: BulkInputs, retry: BulkRetry | None = None
    ) -> None:
        self._context = context
        self._inputs = inputs
        self.runner = BulkRunner(context, inputs, retry)

    @asynccontextmanager
    async def upload(self, account_id: str, *, may_repeat: bool = False) -> AsyncIterator[Upload]:
        """An upload for `start`; whatever ends the block before that leaves nothing of it.

        Raises FtcError RESOURCE_NOT_FOUND if there is no such account, and OPERATION_LIMIT_REACHED before a
        file is taken in vain, unless it may turn out to repeat a request that has its job already.
        """
        kept_max = self._context.policy.operations_max
        with self._context.store.view() as view:
            require_account(view, account_id)
            if (
                not may_repeat
                and len(view.list_bulk_jobs(account_id, after=None, limit=kept_max)) == kept_max
            ):
                raise operation_limit_reached(account_id, kept_max)
        job_id = self._context.new_id()
        upload = Upload(job_id, self._inputs.create(job_id))
        self.runner.uploading.add(job_id)
        try:
            yield upload
        finally:
            self.runner.uploading.discard(job_id)
            if not self._may_be_started(job_id):
                await asyncio.shield(upload.discard())

    def _may_be_started(self, job_id: str) -> bool:
        """Whether there is such a job; also if nobody can tell: the next start can, and looks for orphans."""
        try:
            with self._context.store.view() as view:
                return view.get_bulk_job(job_id) is not None
        except FtcError:
            return True

    async def start(
        self, caller: Principal, new: NewBulkJob, upload: Upload, options: WriteOptions
    ) -> BulkJob:
        """Make a job of a finished upload, and have it worked on.

        A repeat of the request, which is one whose file has the same bytes, gives the first one's job.
        Raises FtcError as the upload, RESOURCE_NOT_FOUND if there is no such account, FIELD_INVALID for an
        expiry that has passed, OPERATION_LIMIT_REACHED.
        """
        now = self._context.now()
        expires_at = expiry_of(self._context, new.expires_at, now, field="expires_at")
        total_count, digest = await upload.finish()
        job = BulkJob(
            id=upload.job_id,
            account_id=new.account_id,
            kind=new.kind,
            created_at=now,
            total_count=total_count,
            validate_only=options.validate_only,
            expires_at=expires_at if new.kind is BulkKind.CREATE else None,
        )
        scope = f"{caller.account_id}/Bulk{new.kind.value.title()}DeviceEnrollments"
        request = (new, options.validate_only, digest)
        creating = asyncio.create_task(self._create(job, options.request_id, scope, request))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            # It cannot be taken back: whether the input belongs to a job must be known before we leave.
            await asyncio.wait([creating])
            raise

    async def _create(self, job: BulkJob, request_id: str, scope: str, request: object) -> BulkJob:
        # Not with `validate_only`: that is for the rows, the job itself is made.
        outcome = await self._context.submit(
            CreateBulkJob(job, self._context.policy.operations_max),
            WriteOptions(request_id),
            scope=scope,
            request=request,
        )
        assert isinstance(outcome, BulkWritten)  # noqa: S101 - what the port answers to this command
        if outcome.job.id == job.id:
            self.runner.add(job.id)
            return job
        return await self.get(outcome.job.id)

    async def get(self, job_id: str) -> BulkJob:
        """One job. Raises FtcError RESOURCE_NOT_FOUND."""
        with self._context.store.view() as view:
            job = view.get_bulk_job(job_id)
        if job is None:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "operation not found")
        return job

    async def list_jobs(self, account_id: str, page: PageRequest) -> Page[BulkJob]:
        """An account's jobs, in the order of their creation.

        Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID for a bad filter.
        """
        wanted = parse_filter(page.filter, FILTERS)
        with self._context.store.view() as view:
            require_account(view, account_id)

            def rows(after: str | None, limit: int) -> list[BulkJob]:
                return view.list_bulk_jobs(account_id, after=after, limit=limit)

            return read_page(page, Source(rows), lambda: len(rows(None, OPERATIONS_MAX)), wanted)

    async def wait(self, job_id: str, timeout_s: float) -> BulkJob:
        """The job once it is completed, or as it is after `timeout_s`. Raises FtcError RESOURCE_NOT_FOUND."""
        try:
            async with asyncio.timeout(timeout_s), self.runner.changed:
                while not (job := await self.get(job_id)).done:
                    await self.runner.changed.wait()
                return job
        except TimeoutError:
            return await self.get(job_id)

    async def cancel(self, job_id: str) -> None:
        """End a job before its next batch; what is done stays. Raises FtcError RESOURCE_NOT_FOUND."""
        end = EndBulkJob(job_id, Reason.OPERATION_CANCELLED, self._context.now())
        await self._context.commit.execute(Submission(end))
        await self.runner.tell()

    async def delete(self, job_id: str) -> None:
        """Forget a completed job, its input and its reports.

        Raises FtcError RESOURCE_NOT_FOUND, OPERATION_UNFINISHED.
        """
        await self._context.commit.execute(Submission(DeleteBulkJob(job_id)))
        await asyncio.to_thread(self._inputs.remove, job_id)

    async def sweep(self) -> int:
        """Forget the jobs that were completed long enough ago, as `delete` does; gives how many."""
        forgotten = 0
        while True:
            until = self._context.now() - self._context.policy.operation_retention
            outcome = await self._context.commit.execute(
                Submission(ExpireBulkJobs(until, BULK_JOBS_SWEPT_AT_ONCE))
            )
            assert isinstance(outcome, BulkSwept)  # noqa: S101 - what the port answers to this command
            # Were we to die here, the next start would find inputs without a job, and remove them.
            for job_id in outcome.job_ids:
                await asyncio.to_thread(self._inputs.remove, job_id)
            forgotten += len(outcome.job_ids)
            if not outcome.more:
                return forgotten

    async def read_report(self, job: BulkJob, report: ReportKind) -> AsyncGenerator[bytes, None]:
        """A report in pieces, on the rows that are done by now.

        Raises FtcError RESOURCE_NOT_FOUND if the job is deleted meanwhile, INTERNAL_1 if its input cannot be
        read.
        """
        yield report_header(job.kind, report)
        try:
            file = self._inputs.open(job.id)  # here: a thread's file would be lost to a caller who leaves
        except OSError as error:
            raise translated(error) from error
        with file:
            position = 0
            while True:
                with self._context.store.view() as view:
                    batches = view.list_bulk_batches(job.id, start=position, limit=_BATCHES_READ)
                for batch in batches:
                    if report is ReportKind.ERRORS and not batch.errors:
                        continue
                    yield await asyncio.to_thread(_report_batch, file, batch, report)
                if len(batches) < _BATCHES_READ:
                    return
                position = batches[-1].end


def _report_batch(file: BinaryIO, batch: BulkBatch, report: ReportKind) -> bytes:
    try:
        rows = read_rows(file, batch.start, batch.end)
    except OSError as error:
        raise translated(error) from error
    return report_rows(batch, rows, report)
