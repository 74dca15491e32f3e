"""What is shown of a device's history, and to whom.

An operator sees all of it. An account sees the entries by which it got or gave up the device; of a transfer,
the other side's ID is withheld. All other entries are withheld as a whole: their content hash alone is
shown, which is what the chain needs to be verified from its first entry to its last. Since the content has
commitments with random salts in it, its hash tells neither who, nor when, nor how.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from ftc_core.domain import ledger
from ftc_core.domain.ledger import COMMITTED_FIELDS, LedgerEntry, LedgerKind

__all__ = [
    "Committed",
    "Digest",
    "EntryContent",
    "Number",
    "Opening",
    "ShownEntry",
    "content_hash",
    "disclose",
    "opened",
    "own_entries",
    "recomputed_hash",
]

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""A SHA-256 hash, or a commitment."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A count, a sequence or a revision."""


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value with the salt that shows it to be the one committed to."""

    value: str
    salt: bytes


Committed = Opening | Digest
"""A value that is shown, or its commitment alone."""


class EntryContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of an entry; the fields are those of `LedgerEntry`."""

    kind: LedgerKind
    at: datetime
    revision: Number
    account_id: Committed
    device_id: Committed
    from_account_id: Committed | None = None
    transfer_id: Committed | None = None


class ShownEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry as somebody sees it; `content` is its hash alone (32 bytes) if it is withheld."""

    fingerprint: Digest
    sequence: Number
    previous_hash: Digest
    hash: Digest
    content: EntryContent | Digest


def opened(committed: Committed | None) -> str | None:
    """The value; None if it is withheld or there is none."""
    return committed.value if isinstance(committed, Opening) else None


def disclose(entries: Sequence[LedgerEntry], account_id: str | None) -> list[ShownEntry]:
    """A device's whole history as the account sees it, None: an operator.

    Withheld entries are among them; empty if the account never had the device.
    """
    if account_id is not None and not any(_concerns(entry, account_id) for entry in entries):
        return []
    return [_show(entry, account_id) for entry in entries]


def own_entries(shown: Iterable[ShownEntry]) -> list[ShownEntry]:
    """Those that are not withheld."""
    return [entry for entry in shown if isinstance(entry.content, EntryContent)]


def recomputed_hash(entry: ShownEntry) -> bytes | None:
    """The hash that follows from what is shown; None if the content is such as no entry has."""
    try:
        content = content_hash(entry.content) if isinstance(entry.content, EntryContent) else entry.content
    except (ValueError, OverflowError):  # text beyond UTF-8, a time beyond those that can be encoded
        return None
    return ledger.hash_entry(entry.fingerprint, entry.sequence, entry.previous_hash, content)


def content_hash(content: EntryContent) -> bytes:
    """Of what is shown; values are committed to again. Raises ValueError or OverflowError: none has such."""
    committed = [_commitment(field, getattr(content, field)) for field in COMMITTED_FIELDS]
    return ledger.hash_content(content.kind, content.at, content.revision, committed)


def _commitment(field: str, committed: Committed | None) -> bytes | None:
    return (
        ledger.commit(field, committed.salt, committed.value) if isinstance(committed, Opening) else committed
    )


def _concerns(entry: LedgerEntry, account_id: str) -> bool:
    return account_id in (entry.account_id, entry.from_account_id)


def _show(entry: LedgerEntry, account_id: str | None) -> ShownEntry:
    return ShownEntry(
        fingerprint=entry.fingerprint,
        sequence=entry.sequence,
        previous_hash=entry.previous_hash,
        hash=entry.hash,
        content=_content(entry, account_id),
    )


def _content(entry: LedgerEntry, account_id: str | None) -> EntryContent | bytes:
    account, device, former, transfer = ledger.commitments(entry)
    if account_id is not None and not _concerns(entry, account_id):
        return ledger.hash_content(entry.kind, entry.at, entry.revision, (account, device, former, transfer))
    sees_account = account_id in (None, entry.account_id)
    sees_former = account_id in (None, entry.from_account_id)
    return EntryContent(
        kind=entry.kind,
        at=entry.at,
        revision=entry.revision,
        account_id=_open(entry, "account_id") if sees_account else account,
        device_id=_open(entry, "device_id"),
        from_account_id=former and (_open(entry, "from_account_id") if sees_former else former),
        transfer_id=transfer and _open(entry, "transfer_id"),
    )


def _open(entry: LedgerEntry, field: str) -> Opening:
    return Opening(getattr(entry, field), ledger.salt_of(entry, field))
