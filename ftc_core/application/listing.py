"""Lists in pages: slices of a collection in an order that an index serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from ftc_core.domain.ordering import TIME_BYTES, position, sortable_time
from ftc_core.limits import LIST_SCAN_MAX, PAGE_SIZE_DEFAULT

__all__ = [
    "Page",
    "PageRequest",
    "Source",
    "between",
    "of_all_accounts",
    "position_by_id",
    "read_page",
    "single",
]

_CHUNK_ROWS = 250
"""Rows read at a time where only some of them are wanted."""
_ID_CHARS = 32
_LEAST_ID, _GREATEST_ID = "0" * _ID_CHARS, "f" * _ID_CHARS
_FIRST_TIME = (1).to_bytes(TIME_BYTES, "big")
"""The least that a time that is there can be: before it stand the rows that have none."""


class Record(Protocol):
    """Anything with an ID."""

    @property
    def id(self) -> str: ...


class OwnedRecord(Record, Protocol):
    """One that belongs to an account."""

    @property
    def account_id(self) -> str: ...


T = TypeVar("T", bound=Record)
Owned = TypeVar("Owned", bound=OwnedRecord)


class ListOfAccount(Protocol, Generic[Owned]):
    """The port's list of one account's records."""

    def __call__(
        self, account_id: str, /, *, after: str | None, limit: int, descending: bool
    ) -> list[Owned]: ...


class ListOfAll(Protocol, Generic[Owned]):
    """The port's list of all accounts' records."""

    def __call__(self, *, after: str | None, limit: int, descending: bool) -> list[Owned]: ...


class PageRequest(msgspec.Struct, frozen=True):
    """Which slice: past the position `after` (None from the start), `size` records at most, counted or not.

    `filter` is as `filtering` says, "" for every record. `order` names the order, `descending` turns it.
    """

    after: str | None = None
    size: int = PAGE_SIZE_DEFAULT
    with_total: bool = False
    filter: str = ""
    order: str = "id"
    descending: bool = False


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One slice. `next_after` is the next one's `after`, None at the end.

    `total` is None unless it was asked for and could be counted. Where not every record is wanted, a slice
    may hold less than its size, even nothing, before the end.
    """

    records: list[T]
    next_after: str | None
    total: int | None


def position_by_id(record: Record) -> str:
    """Where a record stands in the order of IDs."""
    return record.id


class Source(NamedTuple, Generic[T]):
    """A collection in one order: `rows(after, limit)`, fewer than `limit` only at its end.

    `position` says where a row stands in it.
    """

    rows: Callable[[str | None, int], list[T]]
    position: Callable[[T], str] = position_by_id


def single(found: T | None) -> Source[T]:
    """The collection of one record that an index found, or of none."""
    present = [] if found is None else [found]
    return Source(lambda after, limit: present[:limit] if after is None else [])


def of_all_accounts(
    of_account: ListOfAccount[Owned], of_all: ListOfAll[Owned], account_id: str | None, *, descending: bool
) -> Source[Owned]:
    """The records of all accounts, in order of account and ID; those of one alone if a filter says so."""

    def rows(after: str | None, limit: int) -> list[Owned]:
        if not account_id:
            return of_all(after=after, limit=limit, descending=descending)
        return of_account(account_id, after=after and after[_ID_CHARS:], limit=limit, descending=descending)

    return Source(rows, lambda record: record.account_id + record.id)


def between(
    source: Source[T],
    time: Callable[[T], datetime | None],
    low: datetime | None,
    high: datetime | None,
    *,
    descending: bool,
) -> Source[T]:
    """What lies from `low` to `high` (None: no bound) in a collection that is in order of `time`.

    It begins at its bound and ends at the other: the rest is never looked at.
    """
    if low is None and high is None:
        return source
    least = _FIRST_TIME if low is None else sortable_time(low)
    greatest = None if high is None else sortable_time(high)
    if descending:
        start = None if greatest is None else position(greatest, _GREATEST_ID)
    else:
        start = position(least, _LEAST_ID)

    def inside(row: T) -> bool:
        value = sortable_time(time(row))
        return least <= value and (greatest is None or value <= greatest)

    def rows(after: str | None, limit: int) -> list[T]:
        found = source.rows(start if after is None else after, limit)
        outside = next((place for place, row in enumerate(found) if not inside(row)), len(found))
        return found[:outside]

    return Source(rows, source.position)


def read_page(
    request: PageRequest,
    source: Source[T],
    count: Callable[[], int],
    wanted: Callable[[T], bool] | None = None,
) -> Page[T]:
    """A page of the records of `source` that are `wanted`; `count()` is of the collection without the filter.

    At most LIST_SCAN_MAX rows are looked at (and the page's size, if that is more), so that one call of a
    choosy list costs no more than another; the next page goes on from there. What a filter lets through is
    counted if that, too, takes no more than LIST_SCAN_MAX rows.
    """
    total = None
    if request.with_total:
        total = _count(source, wanted) if wanted is not None and request.filter.strip() else count()
    rows, place = source
    if wanted is None:
        found = rows(request.after, request.size + 1)  # one more tells whether there is a next page
        records = found[: request.size]
        return Page(records, place(records[-1]) if len(found) > request.size else None, total)
    records = []
    reached = request.after
    budget = max(LIST_SCAN_MAX, request.size + 1)
    for chunk, at_end in _chunks(source, request.after, budget, first=request.size + 1):
        for record in chunk:
            if not wanted(record):
                continue
            if len(records) == request.size:
                return Page(records, place(records[-1]), total)
            records.append(record)
        if at_end:
            return Page(records, None, total)
        reached = place(chunk[-1])
    return Page(records, reached, total)


def _count(source: Source[T], wanted: Callable[[T], bool]) -> int | None:
    total = 0
    for chunk, at_end in _chunks(source, None, LIST_SCAN_MAX + 1, first=_CHUNK_ROWS):
        total += sum(map(wanted, chunk))
        if at_end:
            return total
    return None


def _chunks(
    source: Source[T], after: str | None, budget: int, *, first: int
) -> Iterator[tuple[list[T], bool]]:
    """Up to `budget` rows in chunks, the first of `first`, and of each whether it is the last of all."""
    size = first
    while budget > 0:
        limit = min(size, budget)
        chunk = source.rows(after, limit)
        yield chunk, len(chunk) < limit
        if len(chunk) < limit:
            return
        after = source.position(chunk[-1])
        budget -= limit
        size = _CHUNK_ROWS
