"""Lists in pages: slices of a collection that is ordered by ID, which is the order of creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from ftc_core.limits import LIST_SCAN_MAX, PAGE_SIZE_DEFAULT

__all__ = ["Page", "PageRequest", "read_page"]

_CHUNK_ROWS = 250
"""Rows read at a time where only some of them are wanted."""


class Record(Protocol):
    """Anything with an ID."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Record)


class PageRequest(msgspec.Struct, frozen=True):
    """Which slice: past the ID `after` (None from the start), `size` records at most, counted or not.

    `filter` is as `filtering` says, "" for every record; `descending` begins with the newest.
    """

    after: str | None = None
    size: int = PAGE_SIZE_DEFAULT
    with_total: bool = False
    filter: str = ""
    descending: bool = False


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One slice. `next_after` is the next one's `after`, None at the end; `total` is None unless counted.

    Where not every record is wanted, a slice may hold less than its size, even nothing, before the end.
    """

    records: list[T]
    next_after: str | None
    total: int | None


def read_page(
    request: PageRequest,
    rows: Callable[[str | None, int], list[T]],
    count: Callable[[], int],
    wanted: Callable[[T], bool] | None = None,
) -> Page[T]:
    """A page from `rows(after, limit)` and `count()`, both of one snapshot: the records that are `wanted`.

    At most LIST_SCAN_MAX rows are looked at (and the page's size, if that is more), so that one call of a
    choosy list costs no more than another; the next page goes on from there.
    """
    total = count() if request.with_total else None
    if wanted is None:
        found = rows(request.after, request.size + 1)  # one more tells whether there is a next page
        records = found[: request.size]
        return Page(records, records[-1].id if len(found) > request.size else None, total)
    records = []
    position, budget = request.after, max(LIST_SCAN_MAX, request.size + 1)
    while budget > 0:
        limit = min(_CHUNK_ROWS, budget)
        chunk = rows(position, limit)
        for record in chunk:
            if not wanted(record):
                continue
            if len(records) == request.size:
                return Page(records, records[-1].id, total)
            records.append(record)
        if len(chunk) < limit:
            return Page(records, None, total)
        position = chunk[-1].id
        budget -= limit
    return Page(records, position, total)
