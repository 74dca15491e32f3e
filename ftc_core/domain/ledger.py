"""The ownership ledger: a hash-chained, append-only history per device certificate (PRODUCT §4.3).

What an entry is hashed from:

    commitment   SHA-256(context ‖ field name ‖ 0 ‖ salt ‖ value)      of each value that names somebody
    content hash SHA-256(context ‖ [kind, time, revision, commitments])   the array as MessagePack
    hash         SHA-256(context ‖ fingerprint ‖ sequence ‖ previous hash ‖ content hash)

So a changed, dropped, reordered or inserted entry breaks the chain at that place; and an entry can be shown
with some of its values withheld, or withheld as a whole, and the chain still verifies
(`ledger_disclosure`). Each commitment has a random salt of its own: who learns one value and its salt learns
nothing that would let him guess another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

__all__ = [
    "COMMITTED_FIELDS",
    "GENESIS_HASH",
    "SALTS_BYTES",
    "SALT_BYTES",
    "LedgerEntry",
    "LedgerKind",
    "append",
    "commit",
    "commitments",
    "first_broken",
    "hash_content",
    "hash_entry",
    "salt_of",
]

GENESIS_HASH = bytes(32)
"""The `previous_hash` of a device's first entry."""
COMMITTED_FIELDS: Final = ("account_id", "device_id", "from_account_id", "transfer_id")
"""Those that stand in the hash as commitments, in this order."""
SALT_BYTES: Final = 16
"""Of one commitment: 128 bits are not guessed."""
SALTS_BYTES: Final = SALT_BYTES * len(COMMITTED_FIELDS)

_SEQUENCE_BYTES = 8
_COMMITMENT_CONTEXT = b"ftc-ledger-commitment-v2\x00"
_CONTENT_CONTEXT = b"ftc-ledger-content-v2\x00"
_ENTRY_CONTEXT = b"ftc-ledger-entry-v2\x00"


class _Committed(NamedTuple):
    context: bytes
    salt: slice


_COMMITTED: Final = {
    field: _Committed(
        context=_COMMITMENT_CONTEXT + field.encode() + b"\x00",
        salt=slice(number * SALT_BYTES, (number + 1) * SALT_BYTES),
    )
    for number, field in enumerate(COMMITTED_FIELDS)
}
"""What is hashed before each field, and where its salt is; ready-made, for every claim needs them."""


class LedgerKind(StrEnum):
    """How ownership changed."""

    CLAIMED = "CLAIMED"
    RELEASED = "RELEASED"
    TRANSFERRED = "TRANSFERRED"


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of ownership, as it is stored. `sequence` counts from 1 per fingerprint; `hash` is 32 bytes.

    `account_id` is the owner after CLAIMED and TRANSFERRED, the last one before RELEASED. A TRANSFERRED one
    has the owner before it, and the transfer. `salts` are those of COMMITTED_FIELDS, one behind the other.
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
    salts: bytes
    previous_hash: bytes
    hash: bytes


def commit(field: str, salt: bytes, value: str) -> bytes:
    """The commitment to one value: 32 bytes that neither tell it nor fit another."""
    return hashlib.sha256(_COMMITTED[field].context + salt + value.encode()).digest()


def salt_of(entry: LedgerEntry, field: str) -> bytes:
    """The salt of one of COMMITTED_FIELDS."""
    return entry.salts[_COMMITTED[field].salt]


def commitments(entry: LedgerEntry) -> tuple[bytes, bytes, bytes | None, bytes | None]:
    """Those of COMMITTED_FIELDS, in order; None for a value that the entry does not have."""

    def of(field: str, value: str) -> bytes:
        return commit(field, salt_of(entry, field), value)

    former, transfer = entry.from_account_id, entry.transfer_id
    return (
        of("account_id", entry.account_id),
        of("device_id", entry.device_id),
        None if former is None else of("from_account_id", former),
        None if transfer is None else of("transfer_id", transfer),
    )


def hash_content(kind: LedgerKind, at: datetime, revision: int, committed: Sequence[bytes | None]) -> bytes:
    """The content hash. It tells nothing of the content, for that has commitments in it."""
    # MessagePack has one form for each of these types, and an array keeps their order: a canonical encoding.
    content = msgspec.msgpack.encode((kind.value, at, revision, *committed))
    return hashlib.sha256(_CONTENT_CONTEXT + content).digest()


def hash_entry(fingerprint: bytes, sequence: int, previous_hash: bytes, content_hash: bytes) -> bytes:
    """The hash of an entry; the sequence goes in as 8 bytes, big-endian."""
    place = fingerprint + sequence.to_bytes(_SEQUENCE_BYTES, "big")
    return hashlib.sha256(_ENTRY_CONTEXT + place + previous_hash + content_hash).digest()


def append(
    head: LedgerEntry | None,
    *,
    fingerprint: bytes,
    kind: LedgerKind,
    account_id: str,
    device_id: str,
    at: datetime,
    revision: int,
    salts: bytes,
    from_account_id: str | None = None,
    transfer_id: str | None = None,
) -> LedgerEntry:
    """The entry that follows `head` (None at the start of a device's history).

    `salts` are SALTS_BYTES fresh random bytes.
    """
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
        salts=salts,
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


def _hash(entry: LedgerEntry) -> bytes:
    content = hash_content(entry.kind, entry.at, entry.revision, commitments(entry))
    return hash_entry(entry.fingerprint, entry.sequence, entry.previous_hash, content)
