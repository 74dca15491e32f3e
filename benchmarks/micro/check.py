"""`ftc check`: how long a whole store takes, and how much memory.

    python -m benchmarks.micro.check [ROWS [STORE]]

Builds a store with ROWS enrollments (1,000,000 by default), half of them claimed and registered, through the
store's own commands, in a temporary directory (TMPDIR decides on which disk), or in the directory STORE,
where it stays and is found the next time. Then checks it as `ftc check` does, in a process of its own: the
file page by page, then every table.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from ftc_core.domain.account import Account
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError
from ftc_core.storage.commands import (
    ClaimDevice,
    Command,
    CreateAccount,
    CreateEnrollments,
    CreateTrustedCertificate,
    RegisterDevice,
    Submission,
)
from ftc_core.storage.engines import check_store, open_store
from ftc_core.storage.port import Store

_NOW = datetime(2026, 11, 23, tzinfo=UTC)
_ACCOUNT_ID = "a" * 32
_CA_DER = b"a CA"
_CA = hashlib.sha256(_CA_DER).digest()
_CHUNK = 1_000


class Figures(NamedTuple):
    """Of one check: seconds, peak of resident memory with the pages of the mapped file (MiB), findings."""

    pages_s: float
    tables_s: float
    peak_mib: float
    findings: int


def run(rows: int = 1_000_000, at: Path | None = None) -> Figures:
    """The figures of a store with so many enrollments."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        path = at or Path(directory) / "store"
        if not path.exists():
            with closing(open_store(f"lmdb://{path}", create=True)) as store:
                _fill(store, rows)
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(_check, (path,))


def _check(path: Path) -> Figures:
    began, tables_began = time.perf_counter(), 0.0

    def note(stage: str, done: int, total: int) -> None:
        nonlocal tables_began
        if stage != "pages" and not tables_began:
            tables_began = time.perf_counter()

    report = check_store(f"lmdb://{path}", progress=note)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return Figures(tables_began - began, ended - tables_began, peak, report.findings_count)


def _fill(store: Store, rows: int) -> None:
    account = Account(id=_ACCOUNT_ID, display_name="Fleet", created_at=_NOW, updated_at=_NOW)
    _write(store, [CreateAccount(account), CreateTrustedCertificate(_certificate())])
    for start in range(0, rows, _CHUNK):
        numbers = range(start, min(rows, start + _CHUNK))
        _write(store, [CreateEnrollments(tuple(map(_enrollment, numbers)), _NOW)])
        for command in (_claim, _register):
            _write(store, [command(number) for number in numbers if number % 2 == 0])


def _write(store: Store, commands: list[Command]) -> None:
    for answer in store.write([Submission(command) for command in commands]):
        if isinstance(answer, FtcError):
            raise answer


def _fingerprint(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _enrollment(number: int) -> Enrollment:
    return Enrollment(
        id=f"{number:032x}", account_id=_ACCOUNT_ID, fingerprint=_fingerprint(number), created_at=_NOW
    )


def _claim(number: int) -> Command:
    name = f"device-{number}"
    request = ClaimRequest(
        fingerprint=_fingerprint(number), common_name=name, endpoint_name=name, issuing_cas=(_CA,)
    )
    return ClaimDevice(request, f"{number:032x}", _NOW)


def _register(number: int) -> Command:
    return RegisterDevice(
        account_id=_ACCOUNT_ID,
        device_id=f"{number:032x}",
        endpoint_name=f"device-{number}",
        lifetime=86_400,
        lwm2m_version="1.1",
        binding="U",
        object_links="</1/0>,</3/0>",
        client_version="4.13",
        address="[2001:db8::1]:5683",
        now=_NOW,
    )


def _certificate() -> TrustedCertificate:
    return TrustedCertificate(
        id="c" * 32,
        account_id=_ACCOUNT_ID,
        display_name="CA",
        enrollment_mode=True,
        certificate="",
        certificate_der=_CA_DER,
        fingerprint=_CA,
        subject="CN=CA",
        subject_der=b"subject",
        issuer="CN=CA",
        not_before=_NOW,
        not_after=_NOW,
        created_at=_NOW,
        updated_at=_NOW,
    )


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    figures = run(wanted, Path(sys.argv[2]).absolute() if len(sys.argv) > 2 else None)
    print(f"{wanted:,} enrollments: pages {figures.pages_s:.1f} s, tables {figures.tables_s:.1f} s,")
    print(f"peak {figures.peak_mib:,.0f} MiB with the mapped pages, {figures.findings} findings")
