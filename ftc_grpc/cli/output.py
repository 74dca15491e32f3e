"""Printing resources: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.table import Table

from ftc_core.cli.terminal import print_json, print_table, say

__all__ = ["print_list", "print_resource", "text_of", "to_json_object"]

_PEM = "-----BEGIN "


def to_json_object(message: Message) -> dict[str, Any]:
    """The message as protobuf's JSON, with the field names of the protos and every field that has a value."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def print_resource(message: Message, *, as_json: bool) -> None:
    """One resource: a line for each field that is set and fits on one, or one JSON object."""
    if as_json:
        print_json(to_json_object(message))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in to_json_object(message).items():
        text = text_of(value)
        if text and not text.startswith(_PEM):  # which is for programs
            table.add_row(name, text)
    print_table(table)


def print_list(messages: Sequence[Message], columns: Iterable[str], *, more: bool, as_json: bool) -> None:
    """Several resources: a table of `columns`, or a JSON array. `more` says that there are others."""
    rows = [to_json_object(message) for message in messages]
    if as_json:
        print_json(rows)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        names = list(columns)
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(text_of(row.get(name, "")) for name in names))
        print_table(table)
    if more:
        say("there are more: raise --limit", err=True)


def text_of(value: object) -> str:
    """A value of a JSON object, for a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value == [] else str(value)
