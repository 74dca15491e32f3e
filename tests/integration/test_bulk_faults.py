"""Bulk jobs and what fails beneath them: what passes is waited out, what does not ends one job alone."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ftc_core.application.authentication import Principal, bootstrap_operator
from ftc_core.application.bulk import BulkJobs, NewBulkJob
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.application.bulk_retry import BulkRetry
from ftc_core.application.context import ApplicationContext, WriteOptions, utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.bulk import BulkJob, BulkKind
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.bulk_commands import EndBulkJob
from ftc_core.storage.commands import Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit
from ftc_core.storage.port import Store
from tests.faults import (
    data_file_writes_to,
    readers_all_taken,
    unreadable_from_now_on,
    writer_that_sleeps,
)

ROWS, MANY_ROWS, QUEUE = 3_000, 20_000, 8
PATIENCE = BulkRetry(first_s=0.02, most_s=0.1)


class Site:
    """Bulk jobs over a store of their own, on the test's event loop, with a clock that can be broken."""

    def __init__(self, directory: Path, store: Store, commit: GroupCommit) -> None:
        self.directory, self.store, self.commit = directory, store, commit
        self.now: Callable[[], datetime] = utc_now
        self.context = ApplicationContext(
            store=store,
            commit=AsyncCommit(commit, asyncio.get_running_loop()),
            pepper=bytes(32),
            now=lambda: self.now(),
        )
        self.inputs = directory / "bulk"
        self.jobs = BulkJobs(self.context, BulkInputs(self.inputs), PATIENCE)
        self.caller = Principal("", Role.OPERATOR, "")
        self.lines: list[MutableMapping[str, Any]] = []

    async def upload(self, count: int = ROWS) -> BulkJob:
        """A job of so many rows."""
        lines = ["id", *(format_enrollment_id(os.urandom(32)) for _ in range(count))]
        async with self.jobs.upload(self.caller.account_id) as upload:
            await upload.write("\n".join(lines).encode())
            new = NewBulkJob(self.caller.account_id, BulkKind.CREATE)
            return await self.jobs.start(self.caller, new, upload, WriteOptions())

    def input_of(self, job: BulkJob) -> Path:
        return self.inputs / job.id / "input.csv"

    def state(self, job: BulkJob) -> BulkJob:
        with self.store.view() as view:
            found = view.get_bulk_job(job.id)
        assert found is not None
        return found

    async def told(self, event: str, **fields: str) -> None:
        """Return once that has been logged."""
        async with asyncio.timeout(20):
            while not any(  # noqa: ASYNC110 - nobody wakes those who wait for a line
                line["event"] == event and all(text in str(line[name]) for name, text in fields.items())
                for line in self.lines
            ):
                await asyncio.sleep(0.005)

    async def done(self, job: BulkJob) -> BulkJob:
        """The job once it is."""
        async with asyncio.timeout(20):
            while not (now := self.state(job)).done:  # noqa: ASYNC110 - as a caller of the API sees it
                await asyncio.sleep(0.005)
        return now

    async def completed(self, job: BulkJob) -> None:
        """Return once all of its rows have been enrolled."""
        done = await self.done(job)
        assert (done.ended_by, done.processed_count, done.errors_count) == (None, job.total_count, 0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The runner at work."""
        runner = asyncio.create_task(self.jobs.runner.run())
        try:
            yield
        finally:
            runner.cancel()
            await asyncio.wait([runner])

    async def fill_queue(self) -> None:
        """Let so much wait for the store that no more is taken; the store's lock must be held."""
        nothing = Submission(EndBulkJob("0" * 32, Reason.OPERATION_CANCELLED, utc_now()))
        for _ in range(2):  # the first lot is taken off the queue, and waits for the lock
            with pytest.raises(FtcError) as full:
                while True:
                    self.commit.submit(nothing, lambda answer: None)
            assert full.value.reason is Reason.OVERLOADED
            await asyncio.sleep(0.2)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = open_store(f"lmdb://{tmp_path / 'store'}", create=True)
    commit = GroupCommit(store, max_queue=QUEUE)
    made = Site(tmp_path, store, commit)
    operator = await bootstrap_operator(made.context)
    made.caller = Principal(operator.account.id, Role.OPERATOR, operator.key.id)
    with capture_logs() as made.lines:
        yield made
    await asyncio.to_thread(commit.close)
    store.close()


async def test_job_waits_while_the_store_cannot_be_read(site: Site) -> None:
    job = await site.upload()
    with readers_all_taken(site.store):
        running = asyncio.create_task(site.jobs.runner.run())
        await site.told("bulk job waits", job=job.id, error="INTERNAL_1")
    await site.completed(job)
    running.cancel()
    await asyncio.wait([running])


async def test_start_waits_while_the_store_cannot_be_read(site: Site) -> None:
    job = await site.upload()
    site.jobs = BulkJobs(site.context, BulkInputs(site.inputs), PATIENCE)  # those of the server's next start
    with readers_all_taken(site.store):
        running = asyncio.create_task(site.jobs.runner.run())
        await site.told("list of unfinished bulk jobs failed", error="INTERNAL_1")
    await site.completed(job)
    running.cancel()
    await asyncio.wait([running])


async def test_look_for_orphans_that_fails_ends_no_work_and_is_repeated(site: Site) -> None:
    orphan = site.directory / "real" / "019a0c5e7b1d7c2e8f00112233445566"
    orphan.mkdir(parents=True)
    site.inputs.symlink_to(site.directory / "store/data.mdb")  # no directory: it cannot be listed
    async with site.running():
        await site.told("look for uploads without a job failed", error="NotADirectoryError")
        (site.directory / "right").symlink_to(orphan.parent)
        (site.directory / "right").replace(site.inputs)
        await site.completed(await site.upload())
        async with asyncio.timeout(20):
            while orphan.exists():  # noqa: ASYNC110 - a directory gives no sign
                await asyncio.sleep(0.01)


async def test_job_waits_while_the_disk_is_full(site: Site) -> None:
    job = await site.upload()
    with data_file_writes_to(site.directory / "store", Path("/dev/full"), os.O_WRONLY):
        async with site.running():
            await site.told("bulk job waits", job=job.id, error="INTERNAL_2")
    async with site.running():
        await site.completed(job)


async def test_job_waits_while_the_store_takes_no_more(site: Site) -> None:
    job = await site.upload()
    with writer_that_sleeps(site.directory / "store"):
        await site.fill_queue()
        async with site.running():
            await site.told("bulk job waits", job=job.id, error="OVERLOADED")
    async with site.running():
        await site.completed(job)


async def test_end_that_the_store_does_not_take_is_tried_again(site: Site) -> None:
    job = await site.upload()
    shutil.rmtree(site.input_of(job).parent)
    with writer_that_sleeps(site.directory / "store"):
        await site.fill_queue()
        running = asyncio.create_task(site.jobs.runner.run())
        await site.told("bulk job not ended", job=job.id, error="OVERLOADED")
    assert (await site.done(job)).ended_by is Reason.RESOURCE_NOT_FOUND
    running.cancel()
    await asyncio.wait([running])


async def test_job_whose_input_is_gone_ends_alone(site: Site) -> None:
    gone, other = await site.upload(), await site.upload()
    shutil.rmtree(site.input_of(gone).parent)
    async with site.running():
        assert (await site.done(gone)).ended_by is Reason.RESOURCE_NOT_FOUND
        await site.completed(other)
        await site.completed(await site.upload())


async def test_job_waits_while_its_input_cannot_be_opened(site: Site) -> None:
    job = await site.upload()
    path = site.input_of(job)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    async with site.running():
        await site.told("bulk job waits", job=job.id, error="IsADirectoryError")
        path.rmdir()
        path.write_bytes(content)
        await site.completed(job)


async def test_job_goes_on_after_a_disk_error_in_the_middle_of_its_input(site: Site) -> None:
    job = await site.upload(MANY_ROWS)
    async with site.running(), asyncio.timeout(20):
        while not site.state(job).processed_count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        assert unreadable_from_now_on(site.input_of(job))
        await site.told("bulk job waits", job=job.id, error="IsADirectoryError")
        await site.completed(job)


async def test_job_whose_input_stays_unreadable_ends_with_its_reason(site: Site) -> None:
    site.jobs = BulkJobs(site.context, BulkInputs(site.inputs), PATIENCE._replace(input_patience_s=0.2))
    job, other = await site.upload(), await site.upload()
    site.input_of(job).unlink()
    site.input_of(job).mkdir()
    async with site.running():
        await site.completed(other)
        ended = await site.done(job)

    assert ended.ended_by is Reason.INTERNAL_1
    assert "IsADirectoryError" in next(
        line["error"] for line in site.lines if line["event"] == "bulk job waits" and line["job"] == job.id
    )


async def test_job_that_is_added_again_is_worked_on_once(site: Site) -> None:
    job = await site.upload()
    for _ in range(3):
        site.jobs.runner.add(job.id)
    async with site.running():  # which finds it in the store, too
        await site.completed(job)
    assert site.lines == []


async def test_runner_that_fails_by_a_bug_is_logged_and_begins_anew(site: Site) -> None:
    job, other = await site.upload(), await site.upload()

    def broken() -> datetime:
        raise ZeroDivisionError

    site.now = broken
    async with site.running():
        await site.told("bulk runner failed, starting again")
        site.now = utc_now
        await site.completed(job)
        await site.completed(other)


def test_waits_grow_to_a_bound() -> None:
    retry = BulkRetry(first_s=1.0, most_s=30.0)
    assert [retry.after(failures) for failures in (1, 2, 3, 5, 6, 10_000)] == [1, 2, 4, 16, 30, 30]
