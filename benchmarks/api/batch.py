"""BatchCreateDeviceEnrollments of 1,000 rows against the store's own time for as many.

    python -m benchmarks.api.batch [--batches N] [--rounds N]

The API serves TLS in its process, and one caller sends one batch after the other. The store is a second one
of the same kind on the same disk, in this process: the command that the API makes of such a call, decided and
durable, and nothing around it. They take turns. The caller's requests are made beforehand.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.api.account import create_account
from benchmarks.api.load import Callers
from ftc_core.application.context import new_id, utc_now
from ftc_core.domain.account import Account
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError
from ftc_core.limits import BATCH_CREATE_MAX
from ftc_core.storage.commands import CreateAccount, CreateEnrollments, Submission
from ftc_core.storage.lmdb import LmdbStore, open_lmdb
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
)
from ftc_storm.instance import running_instance

__all__ = ["Round", "run"]

_METHOD = "/ftc.v1.DeviceEnrollmentService/BatchCreateDeviceEnrollments"


@dataclass(frozen=True)
class Round:
    """Rows per second of each."""

    api_per_s: float
    store_per_s: float

    @property
    def ratio(self) -> float:
        """Time of the API ÷ time of the store."""
        return self.store_per_s / self.api_per_s


def run(batches: int = 20, rounds: int = 5) -> list[Round]:
    """`rounds` turns of `batches` batches each."""
    with running_instance() as instance, tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        callers = create_account(instance, "Batches").callers(connections=1, in_flight=1)
        store = open_lmdb(Path(directory) / "store", create=True)
        account_id = new_id()
        now = utc_now()
        account = Account(id=account_id, display_name="Batches", created_at=now, updated_at=now)
        _write(store, CreateAccount(account))
        try:
            _turn(callers, store, account_id, 2)  # pages and caches
            return [_turn(callers, store, account_id, batches) for _ in range(rounds)]
        finally:
            store.close()


def _turn(callers: Callers, store: LmdbStore, account_id: str, batches: int) -> Round:
    fingerprints = [[os.urandom(32) for _ in range(BATCH_CREATE_MAX)] for _ in range(batches)]
    requests = [_request(batch) for batch in fingerprints]
    api_s = sum(uvloop.run(callers.call(_METHOD, requests)))
    store_s = 0.0
    for batch in fingerprints:
        started = time.perf_counter()
        now = utc_now()
        enrollments = tuple(
            Enrollment(id=new_id(), account_id=account_id, fingerprint=each, created_at=now) for each in batch
        )
        _write(store, CreateEnrollments(enrollments, now))
        store_s += time.perf_counter() - started
    rows = batches * BATCH_CREATE_MAX
    return Round(rows / api_s, rows / store_s)


def _request(fingerprints: Sequence[bytes]) -> bytes:
    rows = (
        CreateDeviceEnrollmentRequest(
            device_enrollment=DeviceEnrollment(enrollment_identity=format_enrollment_id(fingerprint))
        )
        for fingerprint in fingerprints
    )
    return BatchCreateDeviceEnrollmentsRequest(requests=rows).SerializeToString()


def _write(store: LmdbStore, command: CreateAccount | CreateEnrollments) -> None:
    [answer] = store.write([Submission(command)])
    if isinstance(answer, FtcError):
        raise answer


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    results = run(arguments.batches, arguments.rounds)
    for result in results:
        print(
            f"API {result.api_per_s:7,.0f} rows/s, store {result.store_per_s:7,.0f} rows/s,"
            f" {result.ratio:.2f} times its time"
        )
    print(
        f"median {statistics.median(result.api_per_s for result in results):,.0f} rows/s,"
        f" {statistics.median(result.ratio for result in results):.2f} times the store's time"
    )


if __name__ == "__main__":
    main()
