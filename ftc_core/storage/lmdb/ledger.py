"""Writing the ledger: an entry goes in with the change that it records. Checkpoints and keys."""

from __future__ import annotations

import os
from datetime import datetime

from ftc_core.domain import ledger
from ftc_core.domain.checkpoint import checkpoint_hash
from ftc_core.domain.device import Device
from ftc_core.domain.ledger import SALTS_BYTES, LedgerKind
from ftc_core.domain.ledger_keys import what_is_wrong
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import Done
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.tables import number_key, pack_id
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["add_checkpoint", "add_ledger_key", "append_entry"]


def append_entry(
    writer: Writer,
    kind: LedgerKind,
    device: Device,
    at: datetime,
    revision: int,
    *,
    from_account_id: str | None = None,
    transfer_id: str | None = None,
) -> None:
    """Record a change of ownership; `device` is as after it, as before it if it was released."""
    entry = ledger.append(
        writer.view.ledger_head(device.fingerprint),
        fingerprint=device.fingerprint,
        kind=kind,
        account_id=device.account_id,
        device_id=device.id,
        at=at,
        revision=revision,
        salts=os.urandom(SALTS_BYTES),
        from_account_id=from_account_id,
        transfer_id=transfer_id,
    )
    key = entry.fingerprint + number_key(entry.sequence)
    writer.put(writer.tables.ledger, key, records.LEDGER_ENTRY.encode(entry))
    if kind is not LedgerKind.RELEASED:
        writer.put(writer.tables.ledger_by_account, pack_id(device.account_id) + device.fingerprint)


def add_checkpoint(writer: Writer, command: AddCheckpoint) -> Done:
    """See the command."""
    checkpoint = command.signed.checkpoint
    last = writer.view.last_checkpoint()
    before = None if last is None else last.checkpoint
    keys = writer.view.list_ledger_keys()
    if (
        checkpoint.number != (before.number if before else 0) + 1
        or checkpoint.previous_hash != checkpoint_hash(before)
        or not keys
        or keys[-1].key_id != checkpoint.key_id
    ):
        raise FtcError(Reason.ETAG_MISMATCH, "the ledger has another checkpoint, or another key, by now")
    tables = writer.tables
    writer.put(tables.checkpoints, number_key(checkpoint.number), records.CHECKPOINT.encode(command.signed))
    writer.delete_prefix(tables.ledger_tiles, b"\x00")  # all of them: no number reaches 2^56
    writer.put_many(
        tables.ledger_tiles,
        [(number_key(number), tile.first + tile.root) for number, tile in enumerate(command.tiles)],
        append=True,
    )
    return Done(writer.next_revision())


def add_ledger_key(writer: Writer, command: AddLedgerKey) -> Done:
    """See the command."""
    statement = command.statement
    keys = writer.view.list_ledger_keys()
    last = writer.view.last_checkpoint()
    begins = 1 if last is None else last.checkpoint.number + 1
    if statement.first_checkpoint != begins or what_is_wrong(keys[-1] if keys else None, statement):
        raise FtcError(Reason.ETAG_MISMATCH, "the ledger has another key, or another checkpoint, by now")
    writer.put(writer.tables.ledger_keys, number_key(statement.number), records.LEDGER_KEY.encode(statement))
    return Done(writer.next_revision())
