"""A bar on standard error, if that is a terminal, for what takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["stage_bar"]


@contextmanager
def stage_bar(*, counted: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Gives what is to be told, again and again, what is being done, how much of it is, and of how much.

    It shows how much in per cent, or, if that is `counted`, as "3/20". The bar is gone at the end.
    """
    console = Console(stderr=True)
    share: ProgressColumn = MofNCompleteColumn() if counted else TaskProgressColumn()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        share,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
