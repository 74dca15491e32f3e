"""Printing resources: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

__all__ = ["print_list", "print_resource", "print_table", "to_json_object"]

_PIPE_WIDTH = 400
"""Columns where output is no terminal: nothing is cut."""


def to_json_object(message: Message) -> dict[str, Any]:
    """The message as protobuf's JSON, with the field names of the protos and every field that has a value."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def print_resource(message: Message, *, as_json: bool) -> None:
    """One resource: a line for each field that is set and fits on one, or one JSON object."""
    if as_json:
        click.echo(json.dumps(to_json_object(message), indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in to_json_object(message).items():
        text = _text(value)
        if text and "\n" not in text:  # PEM is for programs
            table.add_row(name, text)
    print_table(table)


def print_list(messages: Sequence[Message], columns: Iterable[str], *, more: bool, as_json: bool) -> None:
    """Several resources: a table of `columns`, or a JSON array. `more` says that there are others."""
    rows = [to_json_object(message) for message in messages]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        names = list(columns)
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(_text(row.get(name, "")) for name in names))
        print_table(table)
    if more:
        click.echo("there are more: raise --limit", err=True)


def print_table(table: Table) -> None:
    """As wide as the terminal is; where there is none, nothing is cut."""
    _console().print(table)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value == [] else str(value)


def _console() -> Console:
    # Plain text: rich would show the octet in "…:AB:…" as an emoji.
    console = Console(emoji=False, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
