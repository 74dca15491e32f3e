"""Cutting a collection into pages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ftc_core.application.listing import Page, PageRequest, Source, between, read_page
from ftc_core.limits import LIST_SCAN_MAX


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
