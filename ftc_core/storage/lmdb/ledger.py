"""Writing the ledger: an entry goes in with the change that it records."""

from __future__ import annotations

import os
from datetime import datetime

from ftc_core.domain import ledger
from ftc_core.domain.device import Device
from ftc_core.domain.ledger import SALTS_BYTES, LedgerKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.tables import number_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["append_entry"]


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
