"""Bulk CSV against raw LMDB: how much of the engine's own insert rate is left to an upload.

    python -m benchmarks.bulk [ROWS]

Both write ROWS random 32-byte keys (1,000,000 by default) into a fresh file in the same temporary directory
(TMPDIR decides on which disk), 1,000 to a transaction, each durable (fdatasync) before the next. Raw: one
table, the key and a value as long as an enrollment's record, nothing else. Bulk: the CSV through the job
runner, group commit and engine of the API's process: grammar, new IDs, three tables, an event for each row,
counts, progress. They take turns in slices, so that a change of the disk's mood meets both.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import lmdb

from ftc_core.application.authentication import Principal, bootstrap_operator
from ftc_core.application.bulk import BulkJobs, NewBulkJob
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.application.context import ApplicationContext, WriteOptions, utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.bulk import BulkKind
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.limits import BULK_BATCH_ROWS, STORE_MAP_BYTES
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.group_commit import GroupCommit
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.lmdb.records import ENROLLMENT

__all__ = ["Result", "run"]

_SLICES = 10


@dataclass(frozen=True)
class Result:
    """Rows per second of each, over the whole run, and the peak of the process's own memory in MiB.

    Own: without the pages of the mapped files, which the system takes back whenever it needs them.
    """

    rows: int
    raw_per_s: float
    bulk_per_s: float
    peak_mib: float

    @property
    def ratio(self) -> float:
        """Bulk ÷ raw."""
        return self.bulk_per_s / self.raw_per_s


def run(rows: int = 1_000_000) -> Result:
    """Measure."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        return asyncio.run(_run(Path(directory), rows))


async def _run(directory: Path, rows: int) -> Result:
    raw = lmdb.open(str(directory / "raw"), map_size=STORE_MAP_BYTES, readahead=False)
    store = open_lmdb(directory / "store", create=True)
    commit = GroupCommit(store)
    context = ApplicationContext(
        store=store, commit=AsyncCommit(commit, asyncio.get_running_loop()), pepper=bytes(32)
    )
    operator = await bootstrap_operator(context)
    jobs = BulkJobs(context, BulkInputs(directory / "bulk"))
    running = asyncio.create_task(jobs.runner.run())
    caller = Principal(operator.account.id, Role.OPERATOR, operator.key.id)
    sampling = asyncio.create_task(_sample_memory(samples := [0.0]))
    raw_s = bulk_s = 0.0
    size = rows // _SLICES
    for _ in range(_SLICES):
        keys = [os.urandom(32) for _ in range(size)]
        raw_s += await asyncio.to_thread(_insert_raw, raw, keys)
        csv = b"enrollment_id\n" + b"".join(format_enrollment_id(key).encode() + b"\n" for key in keys)
        bulk_s += await _insert_bulk(jobs, caller, csv, size)
        del keys, csv
    for task in (running, sampling):
        task.cancel()
    await asyncio.wait([running, sampling])
    commit.close()
    store.close()
    raw.close()
    return Result(size * _SLICES, size * _SLICES / raw_s, size * _SLICES / bulk_s, max(samples))


async def _sample_memory(samples: list[float]) -> NoReturn:
    while True:
        status = await asyncio.to_thread(Path("/proc/self/status").read_text)
        own = next(line for line in status.splitlines() if line.startswith("RssAnon"))
        samples.append(int(own.split()[1]) / 1_024)
        await asyncio.sleep(0.1)


def _insert_raw(environment: lmdb.Environment, keys: list[bytes]) -> float:
    value = ENROLLMENT.encode(
        Enrollment(id="a" * 32, account_id="b" * 32, fingerprint=bytes(32), created_at=utc_now())
    )
    started = time.perf_counter()
    for start in range(0, len(keys), BULK_BATCH_ROWS):
        with environment.begin(write=True) as txn:
            for key in keys[start : start + BULK_BATCH_ROWS]:
                txn.put(key, value)
    return time.perf_counter() - started


async def _insert_bulk(jobs: BulkJobs, caller: Principal, csv: bytes, rows: int) -> float:
    """Seconds from the end of the upload to the end of the job."""
    account_id = caller.account_id
    async with jobs.upload(account_id) as upload:
        await upload.write(csv)
        started = time.perf_counter()
        job = await jobs.start(caller, NewBulkJob(account_id, BulkKind.CREATE), upload, WriteOptions())
    job = await jobs.wait(job.id, 3_600)
    elapsed = time.perf_counter() - started
    assert (job.processed_count, job.errors_count) == (rows, 0)
    await jobs.delete(job.id)
    return elapsed


if __name__ == "__main__":
    result = run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    sys.stdout.write(
        f"{result.rows:,} rows: raw {result.raw_per_s:,.0f}/s, bulk {result.bulk_per_s:,.0f}/s, "
        f"ratio {result.ratio:.2f}, peak of own memory {result.peak_mib:,.0f} MiB\n"
    )
