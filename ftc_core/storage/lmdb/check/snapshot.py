"""What a check reads: one transaction, by the names of the tables, and how far it has come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import lmdb

from ftc_core.domain.identity import is_resource_id
from ftc_core.limits import CHECK_ACCOUNTS_REMEMBERED, CHECK_ROWS_AT_ONCE
from ftc_core.storage.lmdb.scan import Row, rows_under, rows_up
from ftc_core.storage.lmdb.tables import Tables, pack_id, unpack_number

__all__ = ["Progress", "Snapshot"]

Progress = Callable[[str, int, int], None]
"""Told the name of what is looked at, how much of it is done, and how much there is."""

_KEY_MAX_BYTES = 511
"""LMDB's bound: it refuses to look for a longer key, or an empty one."""


class Snapshot:
    """Reads for a check. Every method may raise lmdb.Error: the file is damaged."""

    def __init__(
        self, txn: lmdb.Transaction[bytes], tables: Tables, progress: Progress | None = None
    ) -> None:
        self._txn = txn
        self._tables = tables
        self._progress = progress
        self.revision = self.number(b"revision")
        """Of the newest change."""
        self.has_account = lru_cache(CHECK_ACCOUNTS_REMEMBERED)(self._has_account)

    def number(self, name: bytes) -> int:
        """One of the numbers in `meta`; 0 if it is not there."""
        return unpack_number(self.get("meta", name) or b"")

    def entries(self, table: str) -> int:
        """How many rows the table says it has."""
        return self._txn.stat(self._table(table))["entries"]

    def rows(self, table: str) -> Iterator[Row]:
        """All of a table, in order; progress is told of it."""
        total, done = self.entries(table), 0
        rows = rows_up(self._txn, self._table(table), b"", None)
        while batch := list(itertools.islice(rows, CHECK_ROWS_AT_ONCE)):
            yield from batch
            done += len(batch)
            if self._progress is not None:
                self._progress(table, done, total)

    def under(self, table: str, prefix: bytes) -> Iterator[Row]:
        """The rows whose keys begin with `prefix`, in order."""
        return rows_under(self._txn, self._table(table), prefix)

    def keys(self, table: str) -> Iterator[bytes]:
        """All of a table, in order."""
        return self._txn.cursor(self._table(table)).iternext(keys=True, values=False)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under `key`; None also for a key that none can be."""
        return self._txn.get(key, None, self._table(table)) if 0 < len(key) <= _KEY_MAX_BYTES else None

    def find(self, table: str, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The rows that there are of `keys`, none of which is empty."""
        with self._txn.cursor(self._table(table)) as cursor:
            return dict(cursor.getmulti(sorted(keys)))

    def _has_account(self, account_id: str) -> bool:
        """Whether there is one of this ID."""
        return is_resource_id(account_id) and self.get("accounts", pack_id(account_id)) is not None

    def _table(self, name: str) -> lmdb._Database:
        table: lmdb._Database = getattr(self._tables, name)
        return table
