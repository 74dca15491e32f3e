"""The size of an LMDB store, read beside the processes that use it."""

from __future__ import annotations

import threading
from pathlib import Path

import lmdb

from ftc_core.limits import STORE_MAP_BYTES
from ftc_core.storage.lmdb.environment import begin, open_environment
from ftc_core.storage.lmdb.faults import translate
from ftc_core.storage.lmdb.tables import Tables
from ftc_core.storage.statistics import StoreStatistics

__all__ = ["LmdbMeter"]


class LmdbMeter:
    """The port's `StoreMeter`. Raises as `open_environment` does."""

    def __init__(self, path: Path) -> None:
        self._environment, self._tables = open_environment(
            path, create=False, read_only=True, map_bytes=STORE_MAP_BYTES
        )
        self._reading = threading.Lock()

    def read(self) -> StoreStatistics:
        """Pages in use are counted up to the last one ever used: LMDB uses freed ones again."""
        with self._reading:
            try:
                with begin(self._environment) as txn:
                    entries = {
                        name: txn.stat(getattr(self._tables, name))["entries"] for name in Tables.names()
                    }
                info, page_bytes = self._environment.info(), self._environment.stat()["psize"]
            except lmdb.Error as error:
                raise translate(error) from error
        return StoreStatistics((info["last_pgno"] + 1) * page_bytes, info["map_size"], entries)

    def close(self) -> None:
        """Idempotent."""
        with self._reading:
            self._environment.close()
