"""Choosing an engine by URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ftc_core.errors import FtcError, Reason
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.lmdb.meter import LmdbMeter
from ftc_core.storage.port import Store
from ftc_core.storage.statistics import StoreMeter

__all__ = ["open_meter", "open_store"]

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
