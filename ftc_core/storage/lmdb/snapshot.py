"""A snapshot that can be copied: one read transaction for records and copy alike.

LMDB writes a compacted copy to a pipe, from a thread. The tar around it must say the size first: the copy
begins with its meta pages, which know the last page; LMDB itself reads them, from a file with nothing else.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import lmdb

from ftc_core.limits import STORE_MAP_BYTES
from ftc_core.storage.lmdb.environment import ENGINE, FORMAT_VERSION, LIB_VERSION, begin, open_environment
from ftc_core.storage.lmdb.faults import translate
from ftc_core.storage.lmdb.view import LmdbView
from ftc_core.storage.port import View
from ftc_core.storage.snapshot import StoreKind

__all__ = ["LMDB_KIND", "LmdbCopy", "LmdbSnapshot", "open_lmdb_snapshot"]

LMDB_KIND: Final = StoreKind(f"lmdb {ENGINE}", FORMAT_VERSION.decode())

_META_PAGES = 2
_PIPE_BYTES = 1024**2


@contextmanager
def open_lmdb_snapshot(path: Path) -> Iterator[LmdbSnapshot]:
    """The store in the directory `path` as it is now. Raises as `open_environment` does."""
    environment, tables = open_environment(path, create=False, read_only=True, map_bytes=STORE_MAP_BYTES)
    try:
        try:
            txn = begin(environment)
        except lmdb.Error as error:
            raise translate(error) from error
        with LmdbView(txn, tables) as view:
            yield LmdbSnapshot(environment, txn, view)
    finally:
        environment.close()


class LmdbSnapshot:
    """The port's `StoreSnapshot`."""

    def __init__(self, environment: lmdb.Environment, txn: lmdb.Transaction[bytes], view: View) -> None:
        self.kind = LMDB_KIND
        self.view = view
        self._environment = environment
        self._txn = txn

    @contextmanager
    def copy(self) -> Iterator[LmdbCopy]:
        """As the port says."""
        failures: list[lmdb.Error] = []
        reading, writing = os.pipe()

        def write() -> None:
            try:
                self._environment.copyfd(writing, compact=True, txn=self._txn)
            except lmdb.Error as error:
                failures.append(error)
            finally:
                os.close(writing)

        def check() -> None:
            writer.join()
            if failures:
                raise translate(failures[0]) from failures[0]

        writer = threading.Thread(target=write, name="store-copy")
        with os.fdopen(reading, "rb", _PIPE_BYTES) as pipe:
            writer.start()
            try:
                yield LmdbCopy(pipe, self._environment.stat()["psize"], check)
            finally:
                pipe.close()  # ends a copy that nobody reads any more
                writer.join()


class LmdbCopy:
    """The port's `StoreCopy`, from a pipe; `check` raises, at its end, what the other end of it met."""

    def __init__(self, pipe: BinaryIO, page_bytes: int, check: Callable[[], None]) -> None:
        self._pipe = pipe
        self._check = check
        self._head = self._filled(_META_PAGES * page_bytes)
        self.size = _last_page(self._head) * page_bytes + page_bytes

    def read(self, size: int, /) -> bytes:
        """As the port says."""
        head, self._head = self._head[:size], self._head[size:]
        return head + self._filled(size - len(head))

    def _filled(self, size: int) -> bytes:
        data = self._pipe.read(size)
        if len(data) < size:
            self._check()
        return data


def _last_page(head: bytes) -> int:
    """The number of the last page of a file that begins with `head`."""
    with tempfile.TemporaryDirectory(prefix="ftc-") as place:
        (Path(place) / "data.mdb").write_bytes(head)
        with lmdb.open(place, readonly=True, lock=False, lib_version=LIB_VERSION) as environment:
            return environment.info()["last_pgno"]
