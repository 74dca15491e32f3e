"""All that `ftc` prints: text that a terminal obeys in nothing, whoever chose it; and JSON, exact.

Names, notes, endpoint names and even an error's words come from other accounts, devices and servers.
Printed as they are, they could move the cursor, hide a line or type an answer (ECMA-48 controls), or show
letters in another order than they stand in (bidirectional overrides, UAX #9).
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["abandon_output", "open_streams", "print_json", "print_table", "say", "visible", "write"]

_PIPE_WIDTH = 400
"""Columns where output is no terminal: nothing is cut."""
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""General categories of what is no text: controls, formatting, half characters, line separators."""
_JOINERS = "\u200c\u200d"  # Cf, yet letters of Persian and Hindi, and harmless
_STREAMS = ("stdin", "stdout", "stderr")
"""In the order of their descriptors."""


def visible(text: str) -> str:
    """`text`, with the escape of each character that is obeyed, not shown: `\\x1b`, `\\u202e`, `\\n`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if _is_obeyed(character) else character
        for character in text
    )


def say(text: str = "", *, err: bool = False, file: IO[Any] | None = None) -> None:
    """Print a line: one, whatever `text` holds."""
    click.echo(visible(text), file=file, err=err)


def write(data: bytes) -> None:
    """Data for a program goes out as it is; a terminal, which is none, gets its lines made visible."""
    if sys.stdout.isatty():
        for line in data.decode(errors="backslashreplace").splitlines():
            say(line)
    else:
        click.echo(data, nl=False)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """A JSON document. In ASCII: its own escapes leave nothing that a terminal obeys, DEL excepted."""
    text = json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
    click.echo(text)


def print_table(table: Table) -> None:
    """As wide as the terminal is; where there is none, nothing is cut."""
    # Plain text: rich would show the octet in "…:AB:…" as an emoji.
    console = _TextConsole(emoji=False, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)


def open_streams() -> None:
    """See that whatever is printed can be, and that the three standard streams are there.

    What an output's encoding lacks is escaped. A stream that the caller has closed becomes /dev/null: the
    next file to be opened would take its number, and get what is meant for the stream.
    """
    for number, name in enumerate(_STREAMS):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nothing(number))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Let go of what standard output does not take, lest the interpreter try again, and fail, at its end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)


class _TextConsole(Console):
    """What is given to it as `str` is shown as text, in a table's cells as well."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in _OBEYED and character not in _JOINERS


def _nothing(number: int) -> IO[str]:
    """The standard stream of that descriptor, which is closed, on /dev/null."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    os.dup2(descriptor, number)  # inheritable, as a standard stream is
    if descriptor != number:
        os.close(descriptor)
    os.set_inheritable(number, True)
    return os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)
