"""Orders of lists, and where a row stands in one.

A position is a text: the value that rows are ordered by, as bytes that sort like it, in hex; then the row's
ID, which decides among equals. In the order of IDs there is no value before it. So a position outlives its
row: what comes past it is the same whether or not the row still stands.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["TIME_BYTES", "position", "sortable_time"]

TIME_BYTES = 8
"""Of a time as `sortable_time` gives it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ABSENT = bytes(TIME_BYTES)


def sortable_time(at: datetime | None) -> bytes:
    """Microseconds since 1970, big-endian; what is absent, or earlier, sorts with 1970, before all others."""
    if at is None:
        return _ABSENT
    return max(0, (at - _EPOCH) // _MICROSECOND).to_bytes(TIME_BYTES, "big")


def position(value: bytes, row_id: str) -> str:
    """The position of the row `row_id` in an order by `value`."""
    return value.hex() + row_id
