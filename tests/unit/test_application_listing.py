"""Cutting a collection into pages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ftc_core.application.listing import PageRequest, read_page


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
        page = read_page(PageRequest(after, size), rows, never)
        assert len(page.records) <= size
        found += page.records
        after = page.next_after
        if after is None:
            break

    assert found == ROWS


def test_last_page_has_no_next_even_if_it_is_full() -> None:
    assert read_page(PageRequest(None, 5), rows, never).next_after is None


def test_total_is_counted_only_if_asked_for() -> None:
    assert read_page(PageRequest(None, 1), rows, never).total is None
    assert read_page(PageRequest(None, 1, with_total=True), rows, lambda: 5).total == 5
