"""LMDB: what a lookup costs with its transaction, and what a group commit carries.

    python -m benchmarks.micro.lmdb_lookup [ROWS]

Builds an index of ROWS enrollments (1,000,000 by default) through the engine's own tables and record codec,
in a temporary directory (TMPDIR decides on which disk), then asks for random ones. Lookups are wall time of
one thread, the best of several rounds, as other programs can only add to it; the fsync figure beside the
commits says how much of them is the disk.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import lmdb
import uuid6

from ftc_core.domain.account import Account
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError
from ftc_core.limits import STORE_MAP_BYTES
from ftc_core.storage.commands import ClaimDevice, CreateAccount, CreateTrustedCertificate, Submission
from ftc_core.storage.lmdb import LmdbStore, open_lmdb
from ftc_core.storage.lmdb.counts import Counts, join_account
from ftc_core.storage.lmdb.environment import open_environment
from ftc_core.storage.lmdb.records import ACCOUNT, ENROLLMENT
from ftc_core.storage.lmdb.tables import pack_id

__all__ = ["build", "find", "run"]

_ACCOUNT_ID = "a" * 32
_CA = hashlib.sha256(b"CA").digest()
_BATCHES = {1: 300, 10: 100, 100: 30, 1_000: 6}
"""Claims in one transaction → transactions measured."""


def run(rows: int = 1_000_000, lookups: int = 50_000, repeats: int = 5) -> dict[str, float]:
    """Microseconds per lookup (best of `repeats`) and fsync (median), claims per second per batch size."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        path = Path(directory) / "store"
        started = time.perf_counter()
        fingerprints = build(path, rows)
        figures = {"rows": float(rows), "build_s": time.perf_counter() - started}
        chance = random.Random(1)
        chance.shuffle(fingerprints)
        asked = fingerprints[:lookups]
        figures["raw_get_us"] = _raw(path, asked, repeats)
        store = open_lmdb(path)
        figures["find_enrollments_us"] = _per_call(lambda: find(store, asked), lookups, repeats)
        requests = [_request(fingerprint) for fingerprint in asked]
        figures["claim_facts_us"] = _per_call(lambda: _facts(store, requests), lookups, repeats)
        figures["fdatasync_us"] = _fdatasync_us(Path(directory))
        unclaimed = iter(fingerprints)
        for batch, transactions in _BATCHES.items():
            if batch * transactions <= rows // 10:
                chunks = [[next(unclaimed) for _ in range(batch)] for _ in range(transactions)]
                figures[f"claims_per_s_batch_{batch}"] = _claims_per_s(store, chunks)
        store.close()
    return figures


def build(path: Path, rows: int) -> list[bytes]:
    """A new store with `rows` enrollments of one account → their fingerprints, sorted."""
    now = datetime.now(UTC)
    store = open_lmdb(path, create=True)
    account = Account(id=_ACCOUNT_ID, display_name="Bench", created_at=now, updated_at=now)
    certificate = TrustedCertificate(
        id="c" * 32,
        account_id=_ACCOUNT_ID,
        display_name="CA",
        enrollment_mode=True,
        certificate="x" * 800,  # PEM of a P-256 CA
        certificate_der=bytes(550),
        fingerprint=_CA,
        subject="CN=CA",
        subject_der=b"subject",
        issuer="CN=CA",
        not_before=now,
        not_after=now,
        created_at=now,
        updated_at=now,
    )
    for answer in store.write(
        [Submission(CreateAccount(account)), Submission(CreateTrustedCertificate(certificate))]
    ):
        if isinstance(answer, FtcError):
            raise answer
    store.close()

    fingerprints = sorted(hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(rows))
    environment, tables = open_environment(path, create=False, read_only=False, map_bytes=STORE_MAP_BYTES)
    account_key = pack_id(_ACCOUNT_ID)
    with environment.begin(write=True) as txn:
        for number, fingerprint in enumerate(fingerprints, start=1):
            enrollment = Enrollment(
                id=f"{number:032x}",
                account_id=_ACCOUNT_ID,
                fingerprint=fingerprint,
                created_at=now,
                revision=number,
            )
            txn.put(fingerprint, ENROLLMENT.encode(enrollment), db=tables.enrollments, append=True)
            index_key = account_key + pack_id(enrollment.id)
            txn.put(index_key, fingerprint, db=tables.enrollments_by_account, append=True)
        stored = join_account(Counts(enrollments=rows, certificates=1), ACCOUNT.encode(account))
        txn.put(account_key, stored, db=tables.accounts)
        txn.put(b"revision", rows.to_bytes(8, "big"), db=tables.meta)
    environment.close()
    return fingerprints


def _raw(path: Path, fingerprints: Sequence[bytes], repeats: int) -> float:
    """LMDB alone: begin, get, decode, abort, without the port."""
    environment, tables = open_environment(path, create=False, read_only=False, map_bytes=STORE_MAP_BYTES)
    table, begin, decode = tables.enrollments, environment.begin, ENROLLMENT.decode

    def ask() -> None:
        for fingerprint in fingerprints:
            txn = begin()
            decode(txn.get(fingerprint, b"", table))
            txn.abort()

    try:
        return _per_call(ask, len(fingerprints), repeats)
    finally:
        environment.close()


def find(store: LmdbStore, fingerprints: Sequence[bytes]) -> None:
    """Look each enrollment up, in a view of its own."""
    for fingerprint in fingerprints:
        with store.view() as view:
            [enrollment] = view.find_enrollments((fingerprint,))
        assert enrollment is not None


def _facts(store: LmdbStore, requests: Sequence[ClaimRequest]) -> None:
    for request in requests:
        with store.view() as view:
            facts = view.claim_facts(request)
        assert facts.certificates


def _claims_per_s(store: LmdbStore, chunks: Sequence[Sequence[bytes]]) -> float:
    """Durable first claims a second, `len(chunk)` in one transaction."""
    now = datetime.now(UTC)
    batches = [
        [Submission(ClaimDevice(_request(f), uuid6.uuid7().hex, now)) for f in chunk] for chunk in chunks
    ]
    started = time.perf_counter()
    answers = [answer for batch in batches for answer in store.write(batch)]
    elapsed = time.perf_counter() - started
    assert not any(isinstance(answer, FtcError) for answer in answers)
    return len(answers) / elapsed


def _request(fingerprint: bytes) -> ClaimRequest:
    name = fingerprint.hex()
    return ClaimRequest(fingerprint=fingerprint, common_name=name, endpoint_name=name, issuing_cas=(_CA,))


def _per_call(work: Callable[[], None], calls: int, repeats: int) -> float:
    work()  # pages and caches
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) / calls)
    return min(times) * 1e6


def _fdatasync_us(directory: Path) -> float:
    """Of a 4 KiB write to the same disk."""
    descriptor = os.open(directory / "sync", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.pwrite(descriptor, bytes(1 << 20), 0)
        os.fsync(descriptor)
        times = []
        for number in range(200):
            os.pwrite(descriptor, os.urandom(4_096), 4_096 * (number % 256))
            started = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
        return statistics.median(times) * 1e6
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    print(f"LMDB {'.'.join(map(str, lmdb.version()))}, py-lmdb {lmdb.__version__}")
    for name, value in run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000).items():
        print(f"{name:26} {value:14,.2f}")
