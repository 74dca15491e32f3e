"""Reading a list up to a limit, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import grpc
from google.protobuf.message import Message

from ftc_core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from ftc_grpc.cli.connection import Connection

__all__ = ["limit_option", "take"]

Command = TypeVar("Command", bound=Callable[..., Any])


def limit_option(command: Command) -> Command:
    """The option that all lists have."""
    option = click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=PAGE_SIZE_DEFAULT,
        show_default=True,
        help="How many to show at most.",
    )
    return option(command)


def take(
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
