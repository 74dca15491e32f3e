"""Choosing an engine by URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from ftc_core.domain.integrity import CheckReport, Finding
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.lmdb.check import check_lmdb
from ftc_core.storage.lmdb.meter import LmdbMeter
from ftc_core.storage.lmdb.snapshot import LMDB_KIND, open_lmdb_snapshot
from ftc_core.storage.port import Store, View
from ftc_core.storage.snapshot import StoreKind, StoreSnapshot
from ftc_core.storage.statistics import StoreMeter

__all__ = ["READABLE_KINDS", "check_store", "open_meter", "open_snapshot", "open_store"]

READABLE_KINDS: frozenset[StoreKind] = frozenset({LMDB_KIND})
"""Of the stores that this version opens."""

_LMDB = "lmdb://"


def open_store(
    url: str,
    *,
    create: bool = False,
    read_only: bool = False,
    on_lost: Callable[[FtcError], None] | None = None,
) -> Store:
    """The store at `url`: `lmdb:///absolute/path`, taken literally (no percent-encoding).

    `on_lost` is told, on any thread, if the store can be used no more until it is opened anew.
    Raises FtcError SETTING_INVALID if no engine takes the URL, and what the engine's own opening raises.
    """
    return open_lmdb(_lmdb_path(url), create=create, read_only=read_only, on_lost=on_lost)


def open_meter(url: str) -> StoreMeter:
    """What measures the store at `url`. Raises as `open_store` does."""
    return LmdbMeter(_lmdb_path(url))


def check_store(
    url: str,
    *,
    still: bool = True,
    also: Callable[[View], Iterable[Finding]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Whether the store at `url` is whole, as one snapshot has it; nothing is written. Blocks.

    `still` says that nobody writes it, as far as the caller knows: then its file is proven first. `also`
    finds more on the same snapshot, as it begins. `progress` is told what is looked at, how much of it is
    done, and how much there is. Raises FtcError SETTING_INVALID, DATA_DIRECTORY_MISSING (there is no store),
    DATA_DIRECTORY_IN_USE (this very process has it open); anything else that is wrong is in the report.
    """
    return check_lmdb(_lmdb_path(url), still=still, also=also, progress=progress)


def open_snapshot(url: str) -> AbstractContextManager[StoreSnapshot]:
    """The store at `url` as it is now, to be copied while others use it. Raises as `open_store` does."""
    return open_lmdb_snapshot(_lmdb_path(url))


def _lmdb_path(url: str) -> Path:
    path = Path(url.removeprefix(_LMDB))
    if not url.startswith(_LMDB) or not path.is_absolute():
        scheme = url.partition(":")[0]  # the rest may hold a password
        raise FtcError(
            Reason.SETTING_INVALID,
            f"setting storage_url: no engine for '{scheme}:'; known: lmdb:///absolute/path",
            field="storage_url",
        )
    return path
