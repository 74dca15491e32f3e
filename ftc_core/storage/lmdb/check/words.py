"""Names of records and places, and findings that every kind of record may have."""

from __future__ import annotations

from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError

__all__ = [
    "impossible",
    "malformed",
    "named",
    "no_account",
    "no_revision",
    "party_of",
    "place",
    "shown",
    "unreadable",
]

_SHOWN_BYTES = 48
"""Of a value: those of indexes have no more, unless they are damaged."""
_QUOTED_MAX_CHARS = 200


def named(account_id: str | None, kind: str, resource_id: str, fingerprint: bytes | None = None) -> str:
    """The resource name, with the enrollment ID where a device's certificate is known."""
    name = f"{party_of(account_id)}/{kind}/{resource_id}"
    if fingerprint is None or len(fingerprint) != 32:
        return name
    return f"{name}, {format_enrollment_id(fingerprint)}"


def party_of(account_id: str | None) -> str:
    """An account's resource name, or the operator."""
    return "operator" if account_id is None else f"accounts/{account_id}"


def no_account(account_id: str, where: str, record: str) -> Finding:
    """That the account of a record does not exist."""
    return Finding(
        kind=FindingKind.REFERENCE_BROKEN,
        where=where,
        expected=f"account {account_id}",
        found="no such account",
        record=record,
    )


def no_revision(reached: int, revision: int, where: str, record: str) -> Finding:
    """That a record is of a revision that there is not, or not yet."""
    return Finding(
        kind=FindingKind.REVISION_IMPOSSIBLE,
        where=where,
        expected=f"a revision from 1 to {reached}, the store's",
        found=str(revision),
        record=record,
    )


def impossible(where: str, record: str, expected: str, found: str) -> Finding:
    """That a record contradicts itself."""
    return Finding(
        kind=FindingKind.RECORD_IMPOSSIBLE, where=where, expected=expected, found=found, record=record
    )


def malformed(table: str, key: bytes, key_bytes: int) -> Finding:
    """That a key is of another length than those of its table."""
    return Finding(
        kind=FindingKind.KEY_MALFORMED,
        where=place(table, key),
        expected=f"a key of {key_bytes} bytes",
        found=f"one of {len(key)}",
    )


def unreadable(table: str, key: bytes, error: FtcError, record: str = "") -> Finding:
    """That a row holds no record."""
    return Finding(
        kind=FindingKind.RECORD_UNREADABLE,
        where=place(table, key),
        expected="a record",
        found=error.metadata.get("cause", error.message)[:_QUOTED_MAX_CHARS],
        record=record,
    )


def place(table: str, key: bytes) -> str:
    """Where a row is."""
    return f"{table} {key.hex()}"


def shown(value: bytes | None) -> str:
    """A value in words."""
    if value is None:
        return "no entry"
    more = f" and {len(value) - _SHOWN_BYTES} bytes more" if len(value) > _SHOWN_BYTES else ""
    return f"an entry with {value[:_SHOWN_BYTES].hex()}{more}" if value else "an entry"
