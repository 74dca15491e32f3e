"""Blocks. An account blocks no device but its own, and its block ends with the ownership."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import block_key
from ftc_core.storage.lmdb.check.records_and_indexes import RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import party_of, place
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, ID_BYTES, pack_id

__all__ = ["check_blocks"]


def check_blocks(snapshot: Snapshot) -> Iterator[Finding]:
    """Every block, and that whoever placed it may."""

    def inspect(key: bytes, block: Block) -> Iterator[Finding]:
        if block.account_id is not None and block.kind is BlockedKind.DEVICE:
            device = snapshot.get("devices_by_fingerprint", block.fingerprint)
            if device is None or not device.startswith(pack_id(block.account_id)):
                yield Finding(
                    kind=FindingKind.REFERENCE_BROKEN,
                    where=place("blocks", key),
                    expected="a device of this account with this certificate",
                    found="none",
                    record=_name(block),
                )

    yield from check_records(
        snapshot,
        RecordTable(
            name="blocks",
            key_bytes=ID_BYTES + FINGERPRINT_BYTES,
            decode=records.BLOCK.decode,
            key=lambda block: block_key(block.fingerprint, block.account_id),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            inspect=inspect,
        ),
    )


def _name(block: Block) -> str:
    return f"block of {block.kind.value} {block.id} by {party_of(block.account_id)}"
