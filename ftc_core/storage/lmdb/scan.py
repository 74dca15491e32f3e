"""Walking through a table between two keys, up or down, a page at a time."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator

import lmdb

from ftc_core.errors import FtcError, Reason
from ftc_core.storage.lmdb.tables import ID_BYTES

__all__ = ["Row", "above", "read_page", "read_position", "rows_down", "rows_under", "rows_up"]

Row = tuple[bytes, bytes]


def above(prefix: bytes) -> bytes:
    """A key above all that begin with `prefix` and go on with an ID, a time, or UTF-8 (which has no 0xFF)."""
    return prefix + b"\xff" * (ID_BYTES + 1)


def rows_up(
    txn: lmdb.Transaction[bytes], table: lmdb._Database, low: bytes, high: bytes | None
) -> Iterator[Row]:
    """Rows with `low` ≤ key < `high` (None: to the end), upwards."""
    cursor = txn.cursor(table)
    # LMDB takes no empty key, not even to search from.
    found = cursor.set_range(low) if low else cursor.first()
    while found:
        key, value = cursor.item()
        if high is not None and key >= high:
            return
        yield key, value
        found = cursor.next()


def rows_down(txn: lmdb.Transaction[bytes], table: lmdb._Database, low: bytes, high: bytes) -> Iterator[Row]:
    """The same rows downwards."""
    cursor = txn.cursor(table)
    found = cursor.prev() if cursor.set_range(high) else cursor.last()
    while found:
        key, value = cursor.item()
        if key < low:
            return
        yield key, value
        found = cursor.prev()


def rows_under(txn: lmdb.Transaction[bytes], table: lmdb._Database, prefix: bytes) -> Iterator[Row]:
    """Rows whose keys begin with `prefix`, upwards."""
    for row in rows_up(txn, table, prefix, None):
        if not row[0].startswith(prefix):
            return
        yield row


def read_page(
    txn: lmdb.Transaction[bytes],
    table: lmdb._Database,
    low: bytes,
    high: bytes,
    *,
    after: bytes | None,
    limit: int,
    descending: bool,
) -> Iterator[Row]:
    """Up to `limit` rows with `low` ≤ key < `high`, in the order asked for, those past the key `after`."""
    if descending:
        rows = rows_down(txn, table, low, high if after is None else after)
    else:
        # With a zero byte behind it, the least key past another.
        rows = rows_up(txn, table, low if after is None else after + b"\x00", high)
    return itertools.islice(rows, max(0, limit))


def read_position(after: str | None, *, value_bytes: Container[int] = (0,)) -> bytes | None:
    """The bytes of a position (`domain.ordering`) whose value has one of `value_bytes`.

    Raises FtcError PAGE_TOKEN_INVALID for another text.
    """
    if after is None:
        return None
    try:
        position = bytes.fromhex(after)
    except ValueError:
        raise FtcError(Reason.PAGE_TOKEN_INVALID, field="page_token") from None
    # fromhex takes white space and capitals too: two spellings of one ID must not meet in one position.
    if position.hex() != after or len(position) - ID_BYTES not in value_bytes:
        raise FtcError(Reason.PAGE_TOKEN_INVALID, field="page_token")
    return position
