"""Bulk jobs: many enrollment IDs in one CSV, put on or taken off an account's list in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

import msgspec

from ftc_core.application.authentication import Principal
from ftc_core.application.bulk_input import BulkInputs, InputWriter, read_rows
from ftc_core.application.bulk_runner import BulkRunner
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.domain.bulk import BulkBatch, BulkJob, BulkKind
from ftc_core.domain.bulk_report import ReportKind, report_header, report_rows
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.bulk_commands import BulkWritten, CreateBulkJob, DeleteBulkJob, EndBulkJob
from ftc_core.storage.port import Submission

__all__ = ["BulkJobs", "NewBulkJob", "Upload"]

_BATCHES_READ = 100
"""Batches whose outcome is read from the store at once for a report."""


class NewBulkJob(msgspec.Struct, frozen=True):
    """A job as asked for."""

    account_id: str
    kind: BulkKind


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

    def __init__(self, context: ApplicationContext, inputs: BulkInputs) -> None:
        self._context = context
        self._inputs = inputs
        self.runner = BulkRunner(context, inputs)

    @asynccontextmanager
    async def upload(self, account_id: str) -> AsyncIterator[Upload]:
        """An upload for `start`; whatever ends the block before that leaves nothing of it.

        Raises FtcError RESOURCE_NOT_FOUND if there is no such account.
        """
        with self._context.store.view() as view:
            require_account(view, account_id)
        job_id = self._context.new_id()
        upload = Upload(job_id, self._inputs.create(job_id))
        self.runner.uploading.add(job_id)
        try:
            yield upload
        finally:
            self.runner.uploading.discard(job_id)
            with self._context.store.view() as view:
                started = view.get_bulk_job(job_id) is not None
            if not started:
                await asyncio.shield(upload.discard())

    async def start(
        self, caller: Principal, new: NewBulkJob, upload: Upload, options: WriteOptions
    ) -> BulkJob:
        """Make a job of a finished upload, and have it worked on.

        A repeat of the request, which is one whose file has the same bytes, gives the first one's job.
        Raises FtcError as the upload, and RESOURCE_NOT_FOUND if there is no such account.
        """
        total_count, digest = await upload.finish()
        job = BulkJob(
            id=upload.job_id,
            account_id=new.account_id,
            kind=new.kind,
            created_at=self._context.now(),
            total_count=total_count,
            validate_only=options.validate_only,
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
            CreateBulkJob(job), WriteOptions(request_id), scope=scope, request=request
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

    async def list_jobs(self, account_id: str, *, after: str | None, limit: int) -> list[BulkJob]:
        """An account's jobs, in the order of their creation, from the first past `after`.

        Raises FtcError RESOURCE_NOT_FOUND.
        """
        with self._context.store.view() as view:
            require_account(view, account_id)
            return view.list_bulk_jobs(account_id, after=after, limit=limit)

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

    async def read_report(self, job: BulkJob, report: ReportKind) -> AsyncIterator[bytes]:
        """A report in pieces, on the rows that are done by now.

        Raises FtcError RESOURCE_NOT_FOUND if the job is deleted meanwhile.
        """
        yield report_header(job.kind, report)
        file = await asyncio.to_thread(self._inputs.open, job.id)
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
    return report_rows(batch, read_rows(file, batch.start, batch.end), report)
