# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: the ledger, its checkpoints and keys."""

from __future__ import annotations

import itertools

from ftc_core.domain.checkpoint import LedgerTile, SignedCheckpoint
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.domain.ledger_keys import KeyStatement
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import LmdbBlockReads
from ftc_core.storage.lmdb.scan import rows_under, rows_up
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, ID_BYTES, number_key, pack_id, prefix_end

__all__ = ["LmdbLedgerReads"]


class LmdbLedgerReads(LmdbBlockReads):
    """A part of the port's `View` over one transaction. An ID of the wrong form names nothing."""

    __slots__ = ()

    def ledger(self, fingerprint: bytes) -> list[LedgerEntry]:
        if len(fingerprint) != FINGERPRINT_BYTES:
            return []
        entries = rows_under(self._txn, self._tables.ledger, fingerprint)
        return [records.LEDGER_ENTRY.decode(stored) for _, stored in entries]

    def ledger_head(self, fingerprint: bytes) -> LedgerEntry | None:
        """The newest entry of one certificate's history."""
        cursor = self._txn.cursor(self._tables.ledger)
        beyond = cursor.set_range(prefix_end(fingerprint))
        found = cursor.prev() if beyond else cursor.last()
        if not found or not cursor.key().startswith(fingerprint):
            return None
        return records.LEDGER_ENTRY.decode(cursor.value())

    def list_ledger(self, *, after: tuple[bytes, int] | None, limit: int) -> list[LedgerEntry]:
        low = b"" if after is None else after[0] + number_key(after[1] + 1)
        rows = rows_up(self._txn, self._tables.ledger, low, None)
        return [records.LEDGER_ENTRY.decode(stored) for _, stored in itertools.islice(rows, max(0, limit))]

    def list_owned(self, account_id: str, *, after: bytes | None, limit: int) -> list[bytes]:
        try:
            account = pack_id(account_id)
        except ValueError:
            return []
        # With a zero byte behind it, the least key past another.
        low = account if after is None else account + after + b"\x00"
        high = account + b"\xff" * (FINGERPRINT_BYTES + 1)
        rows = rows_up(self._txn, self._tables.ledger_by_account, low, high)
        return [key[ID_BYTES:] for key, _ in itertools.islice(rows, max(0, limit))]

    def count_ledger(self) -> int:
        return self._txn.stat(self._tables.ledger)["entries"]

    def last_checkpoint(self) -> SignedCheckpoint | None:
        cursor = self._txn.cursor(self._tables.checkpoints)
        return records.CHECKPOINT.decode(cursor.value()) if cursor.last() else None

    def list_checkpoints(self, *, after: int, limit: int) -> list[SignedCheckpoint]:
        rows = rows_up(self._txn, self._tables.checkpoints, number_key(max(0, after) + 1), None)
        return [records.CHECKPOINT.decode(stored) for _, stored in itertools.islice(rows, max(0, limit))]

    def list_ledger_tiles(self) -> list[LedgerTile]:
        rows = rows_up(self._txn, self._tables.ledger_tiles, b"", None)
        return [LedgerTile(stored[:FINGERPRINT_BYTES], stored[FINGERPRINT_BYTES:]) for _, stored in rows]

    def list_ledger_keys(self) -> list[KeyStatement]:
        rows = rows_up(self._txn, self._tables.ledger_keys, b"", None)
        return [records.LEDGER_KEY.decode(stored) for _, stored in rows]
