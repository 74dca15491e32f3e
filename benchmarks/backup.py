"""Backups: how long one takes, how large it is, and what it costs those who write meanwhile.

    python -m benchmarks.backup [ENROLLMENTS]

Fills a data directory with ENROLLMENTS (1,000,000 by default) by the store's own commands, in a temporary
directory (TMPDIR decides on which disk). Then `ftc backup` and `ftc restore` as a user runs them, processes
of their own, while this one puts one enrollment after the other on the list, each durable before the next:
what a device's claim costs the store. Its pace with and without the backup beside it is measured in turns.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ftc_core.application.context import new_id, utc_now
from ftc_core.application.initialise import initialise
from ftc_core.domain.account import Account
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError
from ftc_core.settings import Settings
from ftc_core.storage.commands import CreateAccount, CreateEnrollments, Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import Store
from ftc_storm.instance import own_bytes

__all__ = ["Result", "run"]

_BATCH = 1_000
_ALONE_S = 5.0


@dataclass(frozen=True)
class Result:
    """Sizes in bytes, times in seconds. `alone` and `beside` are enrollments written per second.

    `grown_bytes` is what the store's file grew by during the backup, `peak_mib` the most that the backup
    allocated, its share of the store's mapped file not counted.
    """

    enrollments: int
    store_bytes: int
    backup_bytes: int
    backup_s: float
    verify_s: float
    restore_s: float
    alone: float
    beside: float
    grown_bytes: int
    peak_mib: float


def run(enrollments: int = 1_000_000) -> Result:
    """One of everything."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as temporary:
        place = Path(temporary)
        directory = asyncio.run(
            initialise(Settings(data_dir=place / "data"), host_name="localhost", now=utc_now())
        )
        store = open_store(f"lmdb://{directory.store}")
        try:
            account = _fill(store, enrollments)
            writing = _one_by_one(store, account)
            alone = _alone(writing)
            size = (directory.store / "data.mdb").stat().st_size
            began = time.monotonic()
            backup = _start("backup", str(place / "backup"), "--data-dir", str(directory.root))
            beside, peak = _beside(writing, backup)
            backup_s = time.monotonic() - began
            grown = (directory.store / "data.mdb").stat().st_size - size
        finally:
            store.close()
        return Result(
            enrollments=enrollments,
            store_bytes=size,
            backup_bytes=(place / "backup").stat().st_size,
            backup_s=backup_s,
            verify_s=_timed("restore", str(place / "backup"), "--verify-only"),
            restore_s=_timed("restore", str(place / "backup"), "--data-dir", str(place / "restored")),
            alone=alone,
            beside=beside,
            grown_bytes=grown,
            peak_mib=peak / 2**20,
        )


def _fill(store: Store, enrollments: int) -> str:
    now = utc_now()
    account = Account(id=new_id(), display_name="Bench", created_at=now, updated_at=now)
    _write(store, CreateAccount(account))
    for _ in range(enrollments // _BATCH):
        _write(store, CreateEnrollments(tuple(_enrollment(account.id) for _ in range(_BATCH)), now))
    return account.id


def _enrollment(account_id: str) -> Enrollment:
    return Enrollment(id=new_id(), account_id=account_id, fingerprint=os.urandom(32), created_at=utc_now())


def _write(store: Store, command: CreateAccount | CreateEnrollments) -> None:
    [answer] = store.write([Submission(command)])
    if isinstance(answer, FtcError):
        raise answer


def _one_by_one(store: Store, account_id: str) -> Iterator[None]:
    while True:
        _write(store, CreateEnrollments((_enrollment(account_id),), utc_now()))
        yield


def _alone(writing: Iterator[None]) -> float:
    """Writes per second."""
    began, count = time.monotonic(), 0
    while time.monotonic() < began + _ALONE_S:
        next(writing)
        count += 1
    return count / (time.monotonic() - began)


def _beside(writing: Iterator[None], process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Writes per second until the process has ended well, and the most memory that it had."""
    began, count, peak = time.monotonic(), 0, 0
    while process.poll() is None:
        next(writing)
        count += 1
        with suppress(StopIteration, FileNotFoundError):  # it is ending
            peak = max(peak, own_bytes(process.pid))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return count / (time.monotonic() - began), peak


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "ftc_core", *arguments], stdout=subprocess.DEVNULL)


def _timed(*arguments: str) -> float:
    began = time.monotonic()
    process = _start(*arguments)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    result = run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    for name in Result.__dataclass_fields__:
        print(f"{name:>14}  {getattr(result, name):,.1f}")


if __name__ == "__main__":
    main()
