"""Checking an instance: its store, and the data directory around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.integrity import CheckReport
from ftc_core.storage.engines import check_store

__all__ = ["check_instance"]


def check_instance(root: Path, *, progress: Callable[[str, int, int], None] | None = None) -> CheckReport:
    """Judge all of the data directory `root`, whether or not an instance runs in it. Blocks; writes nothing.

    `progress` is told what is looked at, how much of it is done, and how much there is. Raises FtcError only
    if there is nothing that this version could check: DATA_DIRECTORY_MISSING, DATA_DIRECTORY_INCOMPATIBLE.
    """
    directory = DataDirectory.open(root)
    return check_store(f"lmdb://{directory.store.absolute()}", progress=progress)
