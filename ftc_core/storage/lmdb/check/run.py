"""One check from beginning to end: the file page by page if nobody writes it, then every table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import lmdb

from ftc_core.domain.integrity import CheckReport, Finding, FindingKind, Findings
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import STORE_MAP_BYTES
from ftc_core.storage.lmdb.check.accounts import check_accounts, check_api_keys, check_counts
from ftc_core.storage.lmdb.check.blocks import check_blocks
from ftc_core.storage.lmdb.check.bulk import check_bulk_batches, check_bulk_jobs
from ftc_core.storage.lmdb.check.certificates import check_certificates, check_trust_anchors
from ftc_core.storage.lmdb.check.checkpoints import check_checkpoints, check_ledger_keys
from ftc_core.storage.lmdb.check.denials import check_denial_counts, check_denials
from ftc_core.storage.lmdb.check.devices import check_devices, check_last_bootstraps
from ftc_core.storage.lmdb.check.enrollments import check_enrollments
from ftc_core.storage.lmdb.check.history import check_events, check_meta, check_requests
from ftc_core.storage.lmdb.check.ledger import check_ledger
from ftc_core.storage.lmdb.check.pages import prove_pages
from ftc_core.storage.lmdb.check.snapshot import Progress, Snapshot
from ftc_core.storage.lmdb.check.transfers import check_transfers
from ftc_core.storage.lmdb.environment import begin, open_environment
from ftc_core.storage.lmdb.tables import Tables
from ftc_core.storage.lmdb.view import LmdbView
from ftc_core.storage.port import View

__all__ = ["check_lmdb"]

Also = Callable[[View], Iterable[Finding]]

_GROUPS: Final[tuple[Callable[[Snapshot], Iterator[Finding]], ...]] = (
    check_meta,
    check_accounts,
    check_api_keys,
    check_certificates,
    check_trust_anchors,
    check_enrollments,
    check_devices,
    check_last_bootstraps,
    check_counts,
    check_ledger,
    check_ledger_keys,
    check_checkpoints,
    check_events,
    check_requests,
    check_bulk_jobs,
    check_bulk_batches,
    check_transfers,
    check_blocks,
    check_denials,
    check_denial_counts,
)


def check_lmdb(
    path: Path, *, still: bool = True, also: Also | None = None, progress: Progress | None = None
) -> CheckReport:
    """Judge the store in the directory `path`, of which this process has no other handle open.

    If it is `still`, as far as the caller knows, the file is proven first; one that is damaged is not opened.
    `also` finds more, on the same snapshot. Raises FtcError DATA_DIRECTORY_MISSING, DATA_DIRECTORY_IN_USE;
    whatever else keeps the store from being read is a finding.
    """
    findings = Findings()
    if still and (file := path / "data.mdb").is_file():
        if progress is not None:
            progress("pages", 0, 1)
        findings.add(prove_pages(file))
        if findings.count:
            return findings.report()
    proven = still and not findings.notes
    try:
        environment, tables = open_environment(
            path,
            create=False,
            read_only=True,
            map_bytes=STORE_MAP_BYTES,
            # Without the file there is nobody to tell; it would be left behind, and maybe be somebody else's.
            lock=not still or (path / "lock.mdb").exists(),
        )
    except FtcError as error:
        if error.reason in (Reason.DATA_DIRECTORY_MISSING, Reason.DATA_DIRECTORY_IN_USE):
            raise
        findings.add([_unreadable(FindingKind.STORE_UNREADABLE, str(path), error)])
        return findings.report()
    try:
        with begin(environment) as txn:
            if also is not None:
                findings.add(_guarded(FindingKind.STORE_UNREADABLE, str(path), also(LmdbView(txn, tables))))
            snapshot = Snapshot(txn, tables, progress)
            for group in _GROUPS:
                name = group.__name__.removeprefix("check_")
                findings.add(_guarded(FindingKind.TABLE_UNREADABLE, name, group(snapshot)))
            counts = {name: snapshot.entries(name) for name in Tables.names()}
            return findings.report(counts=counts, revision=snapshot.revision, pages_proven=proven)
    except lmdb.Error as error:
        findings.add([_unreadable(FindingKind.STORE_UNREADABLE, str(path), error)])
        return findings.report()
    finally:
        environment.close()


def _guarded(kind: FindingKind, where: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """What is found up to where the file cannot be read any more, which is the last finding."""
    try:
        yield from findings
    except (lmdb.Error, FtcError) as error:
        yield _unreadable(kind, where, error)


def _unreadable(kind: FindingKind, where: str, error: Exception) -> Finding:
    cause = error.metadata.get("cause", error.message) if isinstance(error, FtcError) else str(error)
    return Finding(kind=kind, where=where, expected="what can be read", found=cause)
