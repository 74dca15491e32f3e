"""Following events: what the verbs `watch` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import click
from google.protobuf.message import Message

from ftc_core.cli.terminal import print_json, say
from ftc_grpc.cli.output import to_json_object

__all__ = ["print_events", "watch_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


class WatchResponse(Protocol):
    """What the responses of all watches have."""

    @property
    def events(self) -> Iterable[Message]: ...


def watch_options(command: Command) -> Command:
    """The options that all watches have."""
    start = click.option(
        "--from",
        "start_revision",
        type=click.IntRange(0, 2**63 - 1),  # as the field of the API
        default=0,
        metavar="REVISION",
        help="The first revision wanted: one more than the last one seen. Default: what comes next.",
    )
    limit = click.option("--limit", type=click.IntRange(min=1), help="Stop after this many events.")
    return start(limit(command))


def print_events(
    responses: Iterable[WatchResponse], columns: Iterable[str], *, limit: int | None, as_json: bool
) -> None:
    """A line for each event as it comes, until the stream or the `limit` ends it.

    With `as_json` a line is an object; else it is revision, time, kind and the `columns`.
    """
    names = ("revision", "occurred_at", "kind", *columns)
    shown = 0
    for response in responses:
        for event in response.events:
            row = to_json_object(event)
            if as_json:
                print_json(row, indent=None)
            else:
                say("  ".join(str(row[name]) for name in names))
            shown += 1
            if shown == limit:
                return
