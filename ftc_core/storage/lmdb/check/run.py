"""One check from beginning to end: the file page by page if nobody writes it, then every table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from ftc_core.storage.lmdb.check.snapshot import Progress, Snapshot
from ftc_core.storage.lmdb.check.transfers import check_transfers
from ftc_core.storage.lmdb.environment import open_environment
from ftc_core.storage.lmdb.tables import Tables

__all__ = ["check_lmdb", "check_tables"]

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


def check_lmdb(path: Path, *, progress: Progress | None = None) -> CheckReport:
    """Judge the store in the directory `path`, of which this process has no other handle open.

    Raises FtcError DATA_DIRECTORY_MISSING, DATA_DIRECTORY_IN_USE; whatever else keeps it from being read is a
    finding.
    """
    findings = Findings()
    try:
        environment, tables = open_environment(path, create=False, read_only=True, map_bytes=STORE_MAP_BYTES)
    except FtcError as error:
        if error.reason in (Reason.DATA_DIRECTORY_MISSING, Reason.DATA_DIRECTORY_IN_USE):
            raise
        findings.add([_unreadable(str(path), error.message)])
        return CheckReport(findings=tuple(findings.held), findings_count=findings.count)
    try:
        return check_tables(environment, tables, findings, progress)
    finally:
        environment.close()


def check_tables(
    environment: lmdb.Environment, tables: Tables, findings: Findings, progress: Progress | None = None
) -> CheckReport:
    """Judge what one snapshot has; `findings` has those of before."""
    with environment.begin() as txn:
        snapshot = Snapshot(txn, tables, progress)
        for group in _GROUPS:
            try:
                findings.add(group(snapshot))
            except lmdb.Error as error:
                findings.add([_unreadable(group.__name__, str(error))])
        return CheckReport(
            findings=tuple(findings.held),
            findings_count=findings.count,
            counts={name: snapshot.entries(name) for name in Tables.names()},
            revision=snapshot.revision,
        )


def _unreadable(where: str, cause: str) -> Finding:
    return Finding(
        kind=FindingKind.STORE_UNREADABLE, where=where, expected="a store that can be read", found=cause
    )
