"""The name under which a process counts, so that its successor goes on where it ended.

prometheus_client keeps files for each process, by its ID, and reads them all at each scrape: a process that
cannot stay up, and is started every few seconds, would leave more and more of them. Ours have names, of which
never two live at once, and a successor opens the files of the one before it.
"""

from __future__ import annotations

import os

from prometheus_client import values

__all__ = ["PROCESS_NAME_VARIABLE", "count_under_name", "rename_process"]

PROCESS_NAME_VARIABLE = "PROMETHEUS_MULTIPROC_NAME"
"""Environment variable with the name of the process that is started."""

_name = os.environ.get(PROCESS_NAME_VARIABLE)


def count_under_name() -> None:
    """Before the first metric is made, and only where metrics are kept in files (multiprocess mode)."""
    if _name is not None:
        values.ValueClass = values.MultiProcessValue(_current)  # type: ignore[no-untyped-call] # has no types


def rename_process(name: str) -> None:
    """After a fork, in the child: it counts under this name from now on."""
    global _name
    _name = name


def _current() -> str | None:
    return _name
