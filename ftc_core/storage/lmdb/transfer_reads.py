# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: two-party transfers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftc_core.domain.transfer import DeviceTransfer
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.lists import LmdbLists
from ftc_core.storage.lmdb.scan import rows_under
from ftc_core.storage.lmdb.tables import ID_BYTES, pack_id

__all__ = ["OFFERED", "RECEIVED", "LmdbTransferReads"]

OFFERED, RECEIVED = b"O", b"R"
"""Values in `transfers_by_account`: which side of the transfer the account is."""


class LmdbTransferReads(LmdbLists):
    """A part of the port's `View` over one transaction. An ID of the wrong form names nothing."""

    __slots__ = ()

    def get_transfer(self, account_id: str, transfer_id: str) -> DeviceTransfer | None:
        transfer = self.find_transfer(transfer_id)
        return transfer if transfer is not None and transfer.concerns(account_id) else None

    def list_transfers(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[DeviceTransfer]:
        page = self._page_of(self._tables.transfers_by_account, account_id, after, limit, descending)
        return [self._indexed_transfer(key[ID_BYTES:]) for key, _ in page]

    def count_transfers(self, account_id: str) -> int:
        return sum(1 for _ in self._sides(account_id))

    def count_offered(self, account_id: str) -> int:
        """How many it offers, decided or not; a step for each that concerns it."""
        return sum(side == OFFERED for side in self._sides(account_id))

    def find_offers(self, fingerprints: Sequence[bytes]) -> list[str | None]:
        get, table = self._txn.get, self._tables.transfer_by_fingerprint
        found = (get(fingerprint, None, table) for fingerprint in fingerprints)
        return [None if transfer is None else transfer.hex() for transfer in found]

    def find_transfer(self, transfer_id: str) -> DeviceTransfer | None:
        """The transfer, whoever asks."""
        try:
            stored = self._txn.get(pack_id(transfer_id), None, self._tables.transfers)
        except ValueError:
            return None
        return None if stored is None else records.TRANSFER.decode(stored)

    def _sides(self, account_id: str) -> Iterator[bytes]:
        try:
            account = pack_id(account_id)
        except ValueError:
            return
        for _, side in rows_under(self._txn, self._tables.transfers_by_account, account):
            yield side

    def _indexed_transfer(self, key: bytes) -> DeviceTransfer:
        stored = self._txn.get(key, None, self._tables.transfers)
        if stored is None:
            raise corrupt(f"transfers lacks {key.hex()}")
        return records.TRANSFER.decode(stored)
