"""The ownership ledger: a hash-chained, append-only history per device certificate (PRODUCT §4.3).

Each entry's hash covers its content and the hash of the entry before it, so a changed, dropped, reordered
or inserted entry breaks the chain at that place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

__all__ = ["GENESIS_HASH", "LedgerEntry", "LedgerKind", "append", "first_broken"]

GENESIS_HASH = bytes(32)
"""The `previous_hash` of a device's first entry."""

_CONTEXT = b"ftc-ledger-v1\x00"


class LedgerKind(StrEnum):
    """How ownership changed."""

    CLAIMED = "CLAIMED"
    RELEASED = "RELEASED"
    TRANSFERRED = "TRANSFERRED"


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of ownership. `sequence` counts from 1 per fingerprint; `hash` is 32 bytes.

    `account_id` is the owner after CLAIMED and TRANSFERRED, the last one before RELEASED. A TRANSFERRED one
    has the owner before it, and the transfer.
    """

    fingerprint: bytes
    sequence: int
    kind: LedgerKind
    account_id: str
    device_id: str
    at: datetime
    revision: int
    from_account_id: str | None = None
    transfer_id: str | None = None
    previous_hash: bytes
    hash: bytes


def _hash(entry: LedgerEntry) -> bytes:
    # An array, in field order, is a canonical encoding: msgpack has one form for each of these types.
    content = msgspec.msgpack.encode(
        (
            entry.fingerprint,
            entry.sequence,
            entry.kind.value,
            entry.account_id,
            entry.device_id,
            entry.at,
            entry.revision,
            entry.from_account_id,
            entry.transfer_id,
            entry.previous_hash,
        )
    )
    return hashlib.sha256(_CONTEXT + content).digest()


def append(
    head: LedgerEntry | None,
    *,
    fingerprint: bytes,
    kind: LedgerKind,
    account_id: str,
    device_id: str,
    at: datetime,
    revision: int,
    from_account_id: str | None = None,
    transfer_id: str | None = None,
) -> LedgerEntry:
    """The entry that follows `head` (None at the start of a device's history)."""
    unsealed = LedgerEntry(
        fingerprint=fingerprint,
        sequence=head.sequence + 1 if head else 1,
        kind=kind,
        account_id=account_id,
        device_id=device_id,
        at=at,
        revision=revision,
        from_account_id=from_account_id,
        transfer_id=transfer_id,
        previous_hash=head.hash if head else GENESIS_HASH,
        hash=b"",
    )
    return msgspec.structs.replace(unsealed, hash=_hash(unsealed))


def first_broken(entries: Iterable[LedgerEntry]) -> int | None:
    """The position (from 0) of the first entry that does not follow from the one before; None if all do."""
    previous: LedgerEntry | None = None
    for position, entry in enumerate(entries):
        follows = (
            entry.sequence == (previous.sequence + 1 if previous else 1)
            and entry.previous_hash == (previous.hash if previous else GENESIS_HASH)
            and (previous is None or entry.fingerprint == previous.fingerprint)
            and entry.hash == _hash(entry)
        )
        if not follows:
            return position
        previous = entry
    return None
