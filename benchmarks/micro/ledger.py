"""What the ledger's checkpoints, proofs and exports cost in a large store.

    python -m benchmarks.micro.ledger [DEVICES]

Builds a ledger of DEVICES histories of one entry each (1,000,000 by default) through the engine's own table
and record codec, in a temporary directory (TMPDIR decides on which disk; a million take 600 MB, and its
export 1.6 GB), then runs the use cases: the first checkpoint, one that also makes the first once more, the
verification of one device, an operator's export, and the verification of that. "Late" is by how much an
event loop beside it missed its time, at the 99th percentile and at most: it also tells what else the machine
was busy with.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from ftc_core.application.context import ApplicationContext
from ftc_core.application.ledger_checkpoints import make_checkpoint
from ftc_core.application.ledger_export import export_ledger
from ftc_core.application.named_device import NamedDevice
from ftc_core.application.ownership import verify_ownership
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.export_verifier import ExportVerifier
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger import SALTS_BYTES, LedgerKind, append
from ftc_core.errors import FtcError
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.lmdb import LmdbStore, open_lmdb, records
from ftc_core.storage.lmdb.tables import number_key

_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_TICK_S = 0.005
_PROOFS = 20


class _Commit:
    """One submission at a time, in a thread as the group commit's."""

    def __init__(self, store: LmdbStore) -> None:
        self._store = store

    async def execute(self, submission: Submission) -> Outcome:
        [answer] = await asyncio.to_thread(self._store.write, [submission])
        if isinstance(answer, FtcError):
            raise answer
        return answer


def build(store: LmdbStore, devices: range) -> None:
    """Claimed one after the other by one account; numbers are those of revisions, from 1."""
    fingerprints = sorted((_fingerprint(number), number) for number in devices)
    with store._environment.begin(write=True) as txn:
        for fingerprint, number in fingerprints:
            entry = append(
                None,
                fingerprint=fingerprint,
                kind=LedgerKind.CLAIMED,
                account_id="a" * 32,
                device_id=os.urandom(16).hex(),
                at=_NOW + timedelta(microseconds=number),
                revision=number,
                salts=os.urandom(SALTS_BYTES),
            )
            row = records.LEDGER_ENTRY.encode(entry)
            txn.put(fingerprint + number_key(1), row, db=store._tables.ledger)
        txn.put(b"revision", number_key(devices[-1]), db=store._tables.meta)


def _build_alone(path: Path, devices: int) -> None:
    with closing(open_lmdb(path, create=True)) as store:
        build(store, range(1, devices + 1))


async def run(devices: int, directory: Path) -> None:
    """Print each figure."""
    data = DataDirectory(directory)
    data.pki.mkdir(parents=True)
    keys = LedgerKeyFiles(data)
    keys.create()
    # In a process of its own, whose memory is not counted here.
    building = get_context("spawn").Process(target=_build_alone, args=(data.store, devices))
    building.start()
    building.join()
    with closing(open_lmdb(data.store)) as store:
        context = ApplicationContext(store=store, commit=_Commit(store), pepper=b"")
        async with _figures(f"first checkpoint of {devices:,} devices"):
            await make_checkpoint(context, keys)
        build(store, range(devices + 1, devices + 2))
        async with _figures("next checkpoint, the first made once more"):
            await make_checkpoint(context, keys)
        await _prove(context, devices)
        document = directory / "export"
        async with _figures("operator's export"):
            with document.open("wb") as file:
                async for piece in export_ledger(context, keys, None):
                    await asyncio.to_thread(file.write, piece)
        print(f"  {document.stat().st_size / 1e6:,.0f} MB")
        async with _figures("its verification, offline", beside=False):
            _verify(document, keys.first_public_key())


async def _prove(context: ApplicationContext, devices: int) -> None:
    took_ms = []
    for number in range(1, devices + 1, max(1, devices // _PROOFS)):
        target = NamedDevice(enrollment_identity=format_enrollment_id(_fingerprint(number)))
        began = time.perf_counter()
        verification = await verify_ownership(context, None, target)
        took_ms.append((time.perf_counter() - began) * 1e3)
        assert verification.covered == 1
    print(f"one device verified: {statistics.median(took_ms):.1f} ms (median of {len(took_ms)})")


def _verify(document: Path, public_key: bytes) -> None:
    verifier = ExportVerifier(public_key)
    with document.open("rb") as file:
        for line in file:
            verifier.feed(line)
    verifier.finish()
    assert verifier.summary.findings == 0


@asynccontextmanager
async def _figures(what: str, *, beside: bool = True) -> AsyncIterator[None]:
    """Print what the block took: seconds by the clock and of CPU, memory added.

    With `beside`, also how late the loop was.
    """
    late_s: list[float] = []
    ticking = asyncio.create_task(_tick(late_s))
    wall, cpu, memory = time.perf_counter(), time.process_time(), _anonymous_mb()
    yield
    wall, cpu, memory = time.perf_counter() - wall, time.process_time() - cpu, _anonymous_mb() - memory
    ticking.cancel()
    print(f"{what}: {wall:.1f} s, {cpu:.1f} s CPU, {memory:+.0f} MB")
    if beside and late_s:
        late = sorted(late_s)
        print(f"  late {late[len(late) * 99 // 100] * 1e3:.1f} ms (p99), {late[-1] * 1e3:.1f} ms at most")


async def _tick(late_s: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        late_s.append(time.perf_counter() - began - _TICK_S)


def _fingerprint(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def _anonymous_mb() -> float:
    """Of this process, in memory; the store's file is not counted."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no RssAnon in /proc/self/status")


def main() -> None:
    """Run in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, Path(directory)))


if __name__ == "__main__":
    main()
