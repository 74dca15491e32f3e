"""`ftc check`: how long a whole store takes, and how much memory.

    python -m benchmarks.micro.check [ROWS [STORE]]

Builds a store with ROWS enrollments (1,000,000 by default), half of them claimed and registered, through the
store's own commands, in a temporary directory (TMPDIR decides on which disk), or in the directory STORE,
where it stays and is found the next time. Then checks it as `ftc check` does, in a process of its own: the
file page by page, then every table.
"""

from __future__ import annotations

import hashlib
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
    """Of one check: seconds by the clock and of CPU, the most memory of its own (MiB), findings."""

    pages_s: float
    pages_cpu_s: float
    tables_s: float
    tables_cpu_s: float
    own_mib: float
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
    times: list[tuple[float, float]] = []
    own_most = 0.0

    def note(stage: str, done: int, total: int) -> None:
        nonlocal own_most
        if len(times) == 1 and stage != "pages":
            times.append(_times())
        own_most = max(own_most, _own_mib())

    times.append(_times())
    report = check_store(f"lmdb://{path}", progress=note)
    times.append(_times())
    (began, cpu), (pages, pages_cpu), (ended, all_cpu) = times
    return Figures(
        pages - began, pages_cpu - cpu, ended - pages, all_cpu - pages_cpu, own_most, report.findings_count
    )


def _times() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _own_mib() -> float:
    """Without the pages of the mapped file, which are the system's to take back."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1_024


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
    print(f"{wanted:,} enrollments, {figures.findings} findings, {figures.own_mib:,.0f} MiB at most")
    print(f"pages  {figures.pages_s:6.1f} s, {figures.pages_cpu_s:.1f} s of CPU")
    print(f"tables {figures.tables_s:6.1f} s, {figures.tables_cpu_s:.1f} s of CPU")
