"""Reading a list up to a limit, page by page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import grpc
from google.protobuf.message import Message

from ftc_core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from ftc_grpc.cli.connection import Connection

__all__ = ["Selection", "list_options", "take", "take_first"]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Selection:
    """Which resources to show, and how many at most."""

    limit: int
    filter: str
    order_by: str


def list_options(command: Command) -> Command:
    """Give a command the options that all lists have, as a `Selection` named `selection`."""

    @click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=PAGE_SIZE_DEFAULT,
        show_default=True,
        help="How many to show at most.",
    )
    @click.option(
        "--filter",
        "filter_",
        default="",
        help="""Show only these: comparisons joined by AND, such as 'created_at > 2030-01-31'.""",
    )
    @click.option("--newest-first", is_flag=True, help="In the reverse order of creation.")
    @functools.wraps(command)
    def run(*args: Any, limit: int, filter_: str, newest_first: bool, **kwargs: Any) -> Any:
        selection = Selection(limit, filter_, "id desc" if newest_first else "")
        return command(*args, selection=selection, **kwargs)

    return run  # type: ignore[return-value] # click takes the options away again


def take(
    connection: Connection,
    method: grpc.UnaryUnaryMultiCallable[Any, Any],
    request: Any,
    field: str,
    selection: Selection,
) -> tuple[list[Message], bool]:
    """The selected resources in `field` of the answers, and whether there are more."""
    request.filter, request.order_by = selection.filter, selection.order_by
    return take_first(connection, method, request, field, selection.limit)


def take_first(
    connection: Connection,
    method: grpc.UnaryUnaryMultiCallable[Any, Any],
    request: Any,
    field: str,
    limit: int,
) -> tuple[list[Message], bool]:
    """The first `limit` resources in `field` of the answers, and whether there are more."""
    request.page_size = min(limit, PAGE_SIZE_MAX)
    found: list[Message] = []
    more = False
    for page in connection.api.pages(method, request):
        found.extend(getattr(page, field))
        more = bool(page.next_page_token) or len(found) > limit
        if len(found) >= limit:
            break
    return found[:limit], more
