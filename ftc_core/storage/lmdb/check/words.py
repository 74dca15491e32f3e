"""Names of records, and findings that every kind of record may have."""

from __future__ import annotations

from collections.abc import Iterator

from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.storage.lmdb.check.snapshot import Snapshot

__all__ = ["account_of", "impossible", "named", "party_of", "revision_of"]


def named(account_id: str | None, kind: str, resource_id: str, fingerprint: bytes | None = None) -> str:
    """The resource name, with the enrollment ID where a device's certificate is known."""
    name = f"{party_of(account_id)}/{kind}/{resource_id}"
    if fingerprint is None or len(fingerprint) != 32:
        return name
    return f"{name}, {format_enrollment_id(fingerprint)}"


def party_of(account_id: str | None) -> str:
    """An account's resource name, or the operator."""
    return "operator" if account_id is None else f"accounts/{account_id}"


def account_of(snapshot: Snapshot, account_id: str, where: str, record: str) -> Iterator[Finding]:
    """That the account of a record exists."""
    if not snapshot.has_account(account_id):
        yield Finding(
            kind=FindingKind.REFERENCE_BROKEN,
            where=where,
            expected=f"account {account_id}",
            found="no such account",
            record=record,
        )


def revision_of(snapshot: Snapshot, revision: int, where: str, record: str) -> Iterator[Finding]:
    """That a record is not of a revision that the store has not reached."""
    if not 0 < revision <= snapshot.revision:
        yield Finding(
            kind=FindingKind.REVISION_IMPOSSIBLE,
            where=where,
            expected=f"a revision from 1 to {snapshot.revision}, the store's",
            found=str(revision),
            record=record,
        )


def impossible(where: str, record: str, expected: str, found: str) -> Finding:
    """That a record contradicts itself."""
    return Finding(
        kind=FindingKind.RECORD_IMPOSSIBLE, where=where, expected=expected, found=found, record=record
    )
