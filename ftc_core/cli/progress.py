"""A bar on standard error, if that is a terminal, for what takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["byte_bar"]


@contextmanager
def byte_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what is to be told, again and again, of how many bytes how many are done. Gone at the end."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda total, done: bar.update(task, total=total, completed=done)
