"""Works on bulk jobs, from the byte at which each stands: a restarted server goes on where the last one was.

Theory of operation. A batch of rows and the job's new position are one transaction, so a job stands before a
batch or behind it, whenever the process dies. Memory holds one batch that is being committed and one that was
read meanwhile. Reading is done in threads, and commits go through the same queue as everybody's.

A job gives way. The batches of one that did not would follow each other closely, and keep devices waiting for
the store, and for a CPU where there are few. So it rests between them while others change the store, the
longer the more they do, and not at all while it is alone.

What fails is tried again if it can succeed later (`bulk_retry`), from where the job stands; only what cannot
heal ends a job. No failure is that of another job: not one of a job's, nor one of the look for what uploads
left. A bug that no job is to blame for ends a turn of the whole, which is logged, and begins anew.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import NoReturn

import structlog

from ftc_core.application.bulk_input import Batch, BulkInputs, read_batches, translated
from ftc_core.application.bulk_retry import PASSING, BulkRetry
from ftc_core.application.context import ApplicationContext
from ftc_core.domain.bulk import BulkKind
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BULK_JOBS_AT_ONCE, BULK_REST_MAX, BULK_REST_PER_CHANGE_S
from ftc_core.storage.bulk_commands import AdvanceBulkJob, BulkRow, BulkWritten, EndBulkJob
from ftc_core.storage.commands import Submission

__all__ = ["BulkRunner", "rest_s"]

_log = structlog.get_logger(__name__)


def rest_s(changes: int, batch_s: float) -> float:
    """Seconds to rest after a batch that took `batch_s`, and before which others made `changes`."""
    return min(changes * BULK_REST_PER_CHANGE_S, batch_s * BULK_REST_MAX)


class BulkRunner:
    """The queue of jobs. `changed` is notified whenever one moved; `uploading` has those still to be made."""

    def __init__(
        self, context: ApplicationContext, inputs: BulkInputs, retry: BulkRetry | None = None
    ) -> None:
        self._context = context
        self._inputs = inputs
        self._retry = retry or BulkRetry()
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._taken: set[str] = set()  # those that wait or are worked on
        self.changed = asyncio.Condition()
        self.uploading: set[str] = set()
        self._own_changes = 0  # of the store's revision, all jobs together
        self._foreign = 0  # the others

    def add(self, job_id: str) -> None:
        """Work on a job when its turn comes; nothing happens if it has been added and is not through yet."""
        if job_id not in self._taken:
            self._taken.add(job_id)
            self._waiting.put_nowait(job_id)

    async def tell(self) -> None:
        """Wake those who wait for a job."""
        async with self.changed:
            self.changed.notify_all()

    async def run(self) -> NoReturn:
        """Take up what a server before left unfinished, then work until cancelled."""
        failures = 0
        while True:
            try:
                await self._run()
            except Exception as error:
                failures += 1
                _log.error("bulk runner failed, starting again", failures=failures, exc_info=error)
                self._taken.clear()
                self._waiting = asyncio.Queue()
                await asyncio.sleep(self._retry.after(failures))

    async def _run(self) -> NoReturn:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(BULK_JOBS_AT_ONCE):
                tasks.create_task(self._work())
            await self._until_done("list of unfinished bulk jobs", self._take_up)
            await self._until_done("look for uploads without a job", self._remove_orphans)
        raise AssertionError("a worker never ends")

    async def _until_done(self, what: str, chore: Callable[[], Awaitable[None]]) -> None:
        """Do `chore`, again while it fails of what passes; what does not is logged, and left."""
        for failures in itertools.count(1):
            try:
                await chore()
                return
            except Exception as error:
                passes = (
                    error.reason in PASSING if isinstance(error, FtcError) else isinstance(error, OSError)
                )
                _log.error(f"{what} failed", error=_text(error), exc_info=None if passes else error)
                if not passes:
                    return
            await asyncio.sleep(self._retry.after(failures))

    async def _work(self) -> NoReturn:
        while True:
            job_id = await self._waiting.get()
            try:
                await self._see_through(job_id)
            finally:
                self._taken.discard(job_id)
            await self.tell()

    async def _see_through(self, job_id: str) -> None:
        """Work on a job until it is completed, or the server stops."""
        trouble = _Trouble()
        while True:
            try:
                await self._process(job_id, trouble)
                return
            except (FtcError, OSError, MemoryError) as error:
                failure = error
            except Exception as error:
                _log.error("bulk job failed", job=job_id, exc_info=error)
                failure = FtcError(Reason.INTERNAL_10)
            final = trouble.meet(failure, time.monotonic(), self._retry)
            if final is not None:
                await self._end(job_id, final)
                return
            _log.warning("bulk job waits", job=job_id, failures=trouble.failures, error=_text(failure))
            await asyncio.sleep(self._retry.after(trouble.failures))

    async def _process(self, job_id: str, trouble: _Trouble) -> None:
        """Do what is left of a job. Raises FtcError of the store, OSError or MemoryError of the input."""
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
                    trouble.over()
                    await self.tell()
                    await asyncio.sleep(rest_s(self._foreign_changes(written), time.monotonic() - started))
                except BaseException:
                    await asyncio.wait([reading])  # the file must not be closed under it
                    if not reading.cancelled():
                        reading.exception()  # what it met is met again
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
        outcome = await self._context.commit.execute(Submission(command))
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
        _log.error("bulk job given up", job=job_id, reason=error.reason, error=_text(error))
        for failures in itertools.count(1):
            try:
                await self._context.commit.execute(
                    Submission(EndBulkJob(job_id, error.reason, self._context.now()))
                )
                return
            except FtcError as failure:
                _log.error("bulk job not ended", job=job_id, error=_text(failure))
                if failure.reason not in PASSING:
                    return
                await asyncio.sleep(self._retry.after(failures))

    async def _take_up(self) -> None:
        """Add what a server before left unfinished."""
        with self._context.store.view() as view:
            unfinished = view.list_unfinished_bulk_jobs()
        for job in unfinished:
            self.add(job.id)

    async def _remove_orphans(self) -> None:
        """Remove what uploads left that never became jobs."""
        for job_id in await asyncio.to_thread(self._inputs.job_ids):
            with self._context.store.view() as view:
                known = view.get_bulk_job(job_id) is not None
            if not known and job_id not in self.uploading:
                await asyncio.to_thread(self._inputs.remove, job_id)


class _Trouble:
    """The failures of a job in a row: since its last batch was committed."""

    def __init__(self) -> None:
        self.failures = 0
        self._unreadable_since: float | None = None

    def over(self) -> None:
        """A batch was committed."""
        self.failures, self._unreadable_since = 0, None

    def meet(self, failure: Exception, now: float, retry: BulkRetry) -> FtcError | None:
        """Count a failure; why to give the job up for it, None if it is to be tried again."""
        self.failures += 1
        if isinstance(failure, FtcError):
            self._unreadable_since = None
            return None if failure.reason in PASSING else failure
        if self._unreadable_since is None:
            self._unreadable_since = now
        patient = now - self._unreadable_since < retry.input_patience_s
        return None if patient else translated(failure)


def _text(error: Exception) -> str:
    if isinstance(error, FtcError):
        return f"{error.reason}: {error.metadata.get('cause') or error.message}"
    return f"{type(error).__name__}: {error}"
