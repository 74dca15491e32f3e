"""Works on bulk jobs, from the byte at which each stands: a restarted server goes on where the last one was.

Theory of operation. A batch of rows and the job's new position are one transaction, so a job stands before a
batch or behind it, whenever the process dies. Memory holds one batch that is being committed and one that was
read meanwhile. Reading is done in threads, and commits go through the same queue as everybody's.

A job gives way. The batches of one that did not would follow each other closely, and keep devices waiting for
the store, and for a CPU where there are few. So it rests between them while others change the store, the
longer the more they do, and not at all while it is alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NoReturn

import structlog

from ftc_core.application.bulk_input import Batch, BulkInputs, read_batches
from ftc_core.application.context import ApplicationContext
from ftc_core.domain.bulk import BulkKind
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BULK_JOBS_AT_ONCE, BULK_REST_MAX, BULK_REST_PER_CHANGE_S, BULK_RETRY_S
from ftc_core.storage.bulk_commands import AdvanceBulkJob, BulkRow, BulkWritten, EndBulkJob
from ftc_core.storage.commands import Submission

__all__ = ["BulkRunner", "rest_s"]

_log = structlog.get_logger(__name__)

_PASSING = frozenset({Reason.INTERNAL_1, Reason.INTERNAL_2, Reason.INTERNAL_3, Reason.OVERLOADED})
"""Why a batch may fail that can succeed later."""


def rest_s(changes: int, batch_s: float) -> float:
    """Seconds to rest after a batch that took `batch_s`, and before which others made `changes`."""
    return min(changes * BULK_REST_PER_CHANGE_S, batch_s * BULK_REST_MAX)


class BulkRunner:
    """The queue of jobs. `changed` is notified whenever one moved; `uploading` has those still to be made."""

    def __init__(self, context: ApplicationContext, inputs: BulkInputs) -> None:
        self._context = context
        self._inputs = inputs
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self.changed = asyncio.Condition()
        self.uploading: set[str] = set()
        self._own_changes = 0  # of the store's revision, all jobs together
        self._foreign = 0  # the others

    def add(self, job_id: str) -> None:
        """Work on a job when its turn comes."""
        self._waiting.put_nowait(job_id)

    async def tell(self) -> None:
        """Wake those who wait for a job."""
        async with self.changed:
            self.changed.notify_all()

    async def run(self) -> NoReturn:
        """Take up what a server before left unfinished, then work until cancelled."""
        with self._context.store.view() as view:
            unfinished = view.list_unfinished_bulk_jobs()
        for job in unfinished:
            self.add(job.id)
        async with asyncio.TaskGroup() as workers:
            for _ in range(BULK_JOBS_AT_ONCE):
                workers.create_task(self._work())
            await self._remove_orphans()
        raise AssertionError("a worker never ends")

    async def _work(self) -> NoReturn:
        while True:
            job_id = await self._waiting.get()
            try:
                await self._process(job_id)
            except FtcError as error:
                await self._end(job_id, error)
            except Exception as error:
                _log.error("bulk job failed", job=job_id, exc_info=error)
                await self._end(job_id, FtcError(Reason.INTERNAL_10))
            await self.tell()

    async def _process(self, job_id: str) -> None:
        with self._context.store.view() as view:
            job = view.get_bulk_job(job_id)
        if job is None or job.done:
            return
        with await asyncio.to_thread(self._inputs.open, job_id) as file:
            batches = read_batches(file, job.offset)
            command = await asyncio.to_thread(self._next_command, job_id, job.kind, batches)
            while command is not None:
                reading = asyncio.create_task(
                    asyncio.to_thread(self._next_command, job_id, job.kind, batches)
                )
                started = time.monotonic()
                try:
                    written = await self._commit(command)
                    await self.tell()
                    await asyncio.sleep(rest_s(self._foreign_changes(written), time.monotonic() - started))
                except BaseException:
                    await asyncio.wait([reading])  # the file must not be closed under it
                    raise
                command = await reading

    def _next_command(self, job_id: str, kind: BulkKind, batches: Iterator[Batch]) -> AdvanceBulkJob | None:
        batch = next(batches, None)
        if batch is None:
            return None
        new_id = self._context.new_id if kind is BulkKind.CREATE else str
        rows = tuple(
            BulkRow(place, row.fingerprint, new_id())
            for place, row in enumerate(batch.rows)
            if row.fingerprint is not None
        )
        return AdvanceBulkJob(
            job_id=job_id,
            start=batch.start,
            end=batch.end,
            rows=rows,
            malformed=len(batch.rows) - len(rows),
            last=batch.last,
            now=self._context.now(),
        )

    async def _commit(self, command: AdvanceBulkJob) -> BulkWritten:
        while True:
            try:
                outcome = await self._context.commit.execute(Submission(command))
            except FtcError as error:
                if error.reason not in _PASSING:
                    raise
                _log.warning("bulk batch waits", job=command.job_id, reason=error.reason)
                await asyncio.sleep(BULK_RETRY_S)
            else:
                assert isinstance(outcome, BulkWritten)  # noqa: S101 - what the port answers to this command
                return outcome

    def _foreign_changes(self, written: BulkWritten) -> int:
        """How often others than these jobs changed the store since the last batch of any of them."""
        self._own_changes += written.after - written.before
        foreign = written.after - self._own_changes
        since, self._foreign = max(0, foreign - self._foreign), foreign
        return since

    async def _end(self, job_id: str, error: FtcError) -> None:
        """Give a job up for good; a cancelled one has ended already, one met at shutdown goes on later."""
        if error.reason in (Reason.OPERATION_CANCELLED, Reason.SHUTTING_DOWN):
            return
        _log.error("bulk job given up", job=job_id, reason=error.reason, error=error.message)
        try:
            await self._context.commit.execute(
                Submission(EndBulkJob(job_id, error.reason, self._context.now()))
            )
        except FtcError as failure:
            _log.error("bulk job not ended", job=job_id, reason=failure.reason)

    async def _remove_orphans(self) -> None:
        """Remove what uploads left that never became jobs."""
        for job_id in await asyncio.to_thread(self._inputs.job_ids):
            with self._context.store.view() as view:
                known = view.get_bulk_job(job_id) is not None
            if not known and job_id not in self.uploading:
                await asyncio.to_thread(self._inputs.remove, job_id)
