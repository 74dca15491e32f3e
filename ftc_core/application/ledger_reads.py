"""Reading the ledger's checkpoints, and the list of the keys that sign them."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from ftc_core.application.context import ApplicationContext
from ftc_core.application.listing import PageRequest
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.ledger_keys import KeyStatement
from ftc_core.errors import FtcError, Reason

__all__ = ["ORDERS", "NumberedPage", "get_checkpoint", "list_checkpoints", "list_keys", "number_position"]

ORDERS = ("number",)
"""What checkpoints and keys are ordered by."""

_POSITION_DIGITS = 16

T = TypeVar("T")


class NumberedPage(NamedTuple, Generic[T]):
    """As `listing.Page`, of records that are numbered from 1 without a gap."""

    records: list[T]
    next_after: str | None
    total: int | None


def number_position(number: int) -> str:
    """The position of a numbered record, as page tokens have it: hex."""
    return f"{number:0{_POSITION_DIGITS}x}"


async def get_checkpoint(context: ApplicationContext, number: int) -> SignedCheckpoint:
    """One checkpoint. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        found = view.list_checkpoints(after=number - 1, limit=1)
    if not found or found[0].checkpoint.number != number:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "checkpoint not found")
    return found[0]


async def list_checkpoints(context: ApplicationContext, page: PageRequest) -> NumberedPage[SignedCheckpoint]:
    """Checkpoints in the order of their numbers."""
    with context.store.view() as view:
        last = view.last_checkpoint()
        count = 0 if last is None else last.checkpoint.number
        wanted = _numbers(page, count)
        records = view.list_checkpoints(after=wanted.start - 1, limit=len(wanted)) if wanted else []
    return _page(records, wanted, count, page)


async def list_keys(context: ApplicationContext, page: PageRequest) -> NumberedPage[KeyStatement]:
    """Keys in the order of their numbers."""
    with context.store.view() as view:
        statements = view.list_ledger_keys()
    wanted = _numbers(page, len(statements))
    return _page(statements[wanted.start - 1 : wanted.stop - 1], wanted, len(statements), page)


def _numbers(page: PageRequest, count: int) -> range:
    """The numbers on the page, of `count` that there are, in rising order."""
    if page.descending:
        above = count + 1 if page.after is None else min(int(page.after, 16), count + 1)
        return range(max(1, above - page.size), above)
    first = 1 if page.after is None else int(page.after, 16) + 1
    return range(first, max(first, min(first + page.size, count + 1)))


def _page(rising: list[T], numbers: range, count: int, page: PageRequest) -> NumberedPage[T]:
    if page.descending:
        more, end, records = numbers.start > 1, numbers.start, rising[::-1]
    else:
        more, end, records = numbers.stop <= count, numbers.stop - 1, rising
    return NumberedPage(records, number_position(end) if more else None, count if page.with_total else None)
