"""Lists in pages: a slice of a collection that is ordered by ID, which is the order of creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from ftc_core.limits import PAGE_SIZE_DEFAULT

__all__ = ["Page", "PageRequest", "read_page"]


class Record(Protocol):
    """Anything with an ID."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Record)


class PageRequest(msgspec.Struct, frozen=True):
    """Which slice: past the ID `after` (None from the start), `size` records at most, counted or not."""

    after: str | None = None
    size: int = PAGE_SIZE_DEFAULT
    with_total: bool = False


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One slice. `next_after` is the next one's `after`, None at the end; `total` is None unless counted."""

    records: list[T]
    next_after: str | None
    total: int | None


def read_page(
    request: PageRequest, rows: Callable[[str | None, int], list[T]], count: Callable[[], int]
) -> Page[T]:
    """A page from `rows(after, limit)` and `count()`, both of one snapshot."""
    found = rows(request.after, request.size + 1)  # one more tells whether there is a next page
    records = found[: request.size]
    return Page(
        records=records,
        next_after=records[-1].id if len(found) > request.size else None,
        total=count() if request.with_total else None,
    )
