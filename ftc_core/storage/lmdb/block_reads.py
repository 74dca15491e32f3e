# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: blocks."""

from __future__ import annotations

from collections.abc import Sequence

from ftc_core.domain.block import Block
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.scan import read_page, read_position, rows_under
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, ID_BYTES, fingerprint_key, pack_id
from ftc_core.storage.lmdb.transfer_reads import LmdbTransferReads

__all__ = ["LmdbBlockReads", "block_key", "party_key"]

_OPERATOR = bytes(ID_BYTES)
"""Stands in the place of an account; no UUIDv7 is all zeros (RFC 9562 §5.7)."""
_POSITION_BYTES = (FINGERPRINT_BYTES - ID_BYTES,)
"""How many bytes a fingerprint has beyond an ID, as `read_position` counts them."""


def party_key(account_id: str | None) -> bytes:
    """The key's first part, for one party. Raises ValueError if that is no account ID."""
    return _OPERATOR if account_id is None else pack_id(account_id)


def block_key(fingerprint: bytes, account_id: str | None) -> bytes:
    """The key of a party's block. Raises ValueError if one of the two is of the wrong form."""
    return party_key(account_id) + fingerprint_key(fingerprint)


class LmdbBlockReads(LmdbTransferReads):
    """A part of the port's `View` over one transaction. An ID of the wrong form names nothing."""

    __slots__ = ()

    def find_blocked(self, fingerprints: Sequence[bytes], account_id: str | None = None) -> frozenset[bytes]:
        parties = [_OPERATOR]
        if account_id is not None:
            parties += self._party(account_id)
        get, table = self._txn.get, self._tables.blocks
        return frozenset(
            fingerprint
            for fingerprint in fingerprints
            for party in parties
            if get(party + fingerprint, None, table) is not None
        )

    def list_blocks_of(self, fingerprint: bytes, account_id: str | None) -> list[Block]:
        parties = [_OPERATOR, *(self._party(account_id) if account_id is not None else ())]
        found = (self._txn.get(party + fingerprint, None, self._tables.blocks) for party in parties)
        return [records.BLOCK.decode(stored) for stored in found if stored is not None]

    def list_blocks(
        self, account_id: str | None, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Block]:
        position = read_position(after, value_bytes=_POSITION_BYTES)
        return [
            records.BLOCK.decode(stored)
            for party in self._party(account_id)
            for _, stored in read_page(
                self._txn,
                self._tables.blocks,
                party,
                party + b"\xff" * (FINGERPRINT_BYTES + 1),
                after=None if position is None else party + position,
                limit=limit,
                descending=descending,
            )
        ]

    def count_blocks(self, account_id: str | None) -> int:
        return sum(
            1 for party in self._party(account_id) for _ in rows_under(self._txn, self._tables.blocks, party)
        )

    def _party(self, account_id: str | None) -> list[bytes]:
        """Its key; none for an ID of the wrong form."""
        try:
            return [party_key(account_id)]
        except ValueError:
            return []
