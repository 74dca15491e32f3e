"""Cutting a collection into pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from ftc_core.application.listing import Page, PageRequest, Source, between, read_page, single
from ftc_core.domain.ordering import position, sortable_time
from ftc_core.limits import LIST_SCAN_MAX

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Row:
    id: str


ROWS = [Row(f"{number:032x}") for number in range(5)]


def rows(after: str | None, limit: int) -> list[Row]:
    return [row for row in ROWS if after is None or row.id > after][:limit]


def never() -> int:
    raise AssertionError("counted without being asked")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_pages_together_are_the_collection(size: int) -> None:
    found: list[Row] = []
    after = None
    while True:
        page = read_page(PageRequest(after, size), Source(rows), never)
        assert len(page.records) <= size
        found += page.records
        after = page.next_after
        if after is None:
            break

    assert found == ROWS


def test_last_page_has_no_next_even_if_it_is_full() -> None:
    assert read_page(PageRequest(None, 5), Source(rows), never).next_after is None


def test_total_is_counted_only_if_asked_for() -> None:
    assert read_page(PageRequest(None, 1), Source(rows), never).total is None
    assert read_page(PageRequest(None, 1, with_total=True), Source(rows), lambda: 5).total == 5


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_pages_of_a_choosy_list_are_what_is_wanted_of_the_collection(size: int) -> None:
    def even(row: Row) -> bool:
        return int(row.id, 16) % 2 == 0

    found: list[Row] = []
    after = None
    while True:
        page = read_page(PageRequest(after, size), Source(rows), never, even)
        assert len(page.records) <= size
        found += page.records
        after = page.next_after
        if after is None:
            break

    assert found == [row for row in ROWS if even(row)]


def test_one_page_looks_at_a_bounded_number_of_rows_and_the_next_goes_on() -> None:
    looked = 0
    many = [Row(f"{number:032x}") for number in range(2 * LIST_SCAN_MAX + 10)]

    def read(after: str | None, limit: int) -> list[Row]:
        nonlocal looked
        start = 0 if after is None else int(after, 16) + 1
        looked += len(many[start : start + limit])
        return many[start : start + limit]

    def is_last(row: Row) -> bool:
        return row is many[-1]

    first = read_page(PageRequest(None, 10), Source(read), never, is_last)
    assert (first.records, looked) == ([], LIST_SCAN_MAX)
    second = read_page(PageRequest(first.next_after, 10), Source(read), never, is_last)
    assert (second.records, looked) == ([], 2 * LIST_SCAN_MAX)
    third = read_page(PageRequest(second.next_after, 10), Source(read), never, is_last)
    assert (third.records, third.next_after) == ([many[-1]], None)


@dataclass(frozen=True)
class Timed:
    id: str
    at: datetime | None


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMED = [Timed(f"{number:032x}", EPOCH + number * HOUR if number else None) for number in range(8)]
"""In order of time; the first has none."""


def place(row: Timed) -> str:
    return position(sortable_time(row.at), row.id)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("size", [1, 3, 9])
@pytest.mark.parametrize(
    ("low", "high"), [(2, 5), (None, 3), (4, None), (5, 5), (6, 3), (9, None), (None, None)]
)
def test_list_between_two_times_is_read_between_them_alone(
    low: int | None, high: int | None, size: int, descending: bool
) -> None:
    looked: set[Timed] = set()

    def rows(after: str | None, limit: int) -> list[Timed]:
        order = TIMED[::-1] if descending else TIMED
        past = [
            row
            for row in order
            if after is None or (place(row) < after if descending else place(row) > after)
        ]
        looked.update(past[:limit])
        return past[:limit]

    bounds = [None if hours is None else EPOCH + hours * HOUR for hours in (low, high)]
    source = between(Source(rows, place), lambda row: row.at, *bounds, descending=descending)
    found: list[Timed] = []
    page: Page[Timed] = Page([], None, None)
    while True:
        page = read_page(PageRequest(page.next_after, size), source, never)
        found += page.records
        if page.next_after is None:
            break

    bounded = low is not None or high is not None
    expected = [
        row
        for number, row in enumerate(TIMED)
        if (low or int(bounded)) <= number <= (len(TIMED) if high is None else high)
    ]
    assert found == (expected[::-1] if descending else expected)
    assert len(looked) <= len(expected) + size + 1, "no more than one page beyond the bound"


def test_list_of_a_single_row_is_that_row_or_nothing() -> None:
    assert read_page(PageRequest(), single(ROWS[0]), never) == Page([ROWS[0]], None, None)
    assert read_page(PageRequest(), single(None), never) == Page([], None, None)


def test_total_with_a_filter_is_counted_within_the_bound_and_absent_beyond_it() -> None:
    few = [Row(f"{number:032x}") for number in range(LIST_SCAN_MAX)]

    def total(collection: list[Row]) -> int | None:
        def read(after: str | None, limit: int) -> list[Row]:
            start = 0 if after is None else int(after, 16) + 1
            return collection[start : start + limit]

        def even(row: Row) -> bool:
            return int(row.id, 16) % 2 == 0

        return read_page(PageRequest(with_total=True, filter="x"), Source(read), never, even).total

    assert total(few) == LIST_SCAN_MAX // 2
    assert total([*few, Row(f"{LIST_SCAN_MAX:032x}")]) is None
