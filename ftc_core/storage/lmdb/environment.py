"""Opening the file: engine, flags, format check."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import lmdb

from ftc_core.errors import FtcError, Reason
from ftc_core.files import sync_directory
from ftc_core.limits import STORE_MAX_READERS
from ftc_core.storage.lmdb.faults import translate
from ftc_core.storage.lmdb.tables import Tables

__all__ = ["ENGINE", "FORMAT_VERSION", "LIB_VERSION", "begin", "open_environment"]

FORMAT_VERSION: Final = b"2"
"""Of the tables and their keys; another one is refused."""

LIB_VERSION: Final = 0
"""py-lmdb's number for its LMDB 0.9; the files of its LMDB 1.0 are another format."""

ENGINE: Final = ".".join(map(str, lmdb.version(lib_version=LIB_VERSION)[:2]))
"""Major and minor version of LMDB: what decides the format of the file."""

_SPARE_READS: Final = 16
"""Ended read transactions kept for renewal: cheaper than a new one, and each keeps one reader slot."""


def open_environment(
    path: Path, *, create: bool, read_only: bool, map_bytes: int, lock: bool = True
) -> tuple[lmdb.Environment, Tables]:
    """The environment in the directory `path`, format checked, with its tables.

    Without `lock`, readers are not told to writers: there must be none.

    Raises FtcError DATA_DIRECTORY_MISSING, DATA_DIRECTORY_IN_USE (this very process has it open),
    DATA_DIRECTORY_INCOMPATIBLE (another format or engine), or INTERNAL_1/2/5.
    """
    if create:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not (path / "data.mdb").is_file():
        raise FtcError(Reason.DATA_DIRECTORY_MISSING, f"no store in {path}")
    try:
        environment = _open(path, create=create, read_only=read_only, map_bytes=map_bytes, lock=lock)
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise FtcError(Reason.DATA_DIRECTORY_INCOMPATIBLE, f"{path} is not a store of LMDB 0.9") from error
    except lmdb.Error as error:
        if error.code == 0:  # not LMDB's: py-lmdb refuses a second environment on one file
            raise FtcError(Reason.DATA_DIRECTORY_IN_USE, f"{path} is open in this process already") from error
        raise translate(error) from error
    try:
        environment.reader_check()
        tables = _open_tables(environment, path, create=create, read_only=read_only)
    except lmdb.Error as error:
        environment.close()
        raise translate(error) from error
    except FtcError:
        environment.close()
        raise
    if create:
        sync_directory(path)
        sync_directory(path.parent)
    return environment, tables


def begin(environment: lmdb.Environment, *, write: bool = False) -> lmdb.Transaction[bytes]:
    """A transaction, also if another process has grown the map beyond ours: its size is taken over.

    Not while this process writes: the map cannot move under a write transaction. Raises lmdb.Error.
    """
    try:
        return environment.begin(write=write)
    except lmdb.MapResizedError:
        environment.set_mapsize(0)
        return environment.begin(write=write)


def _open(path: Path, *, create: bool, read_only: bool, map_bytes: int, lock: bool) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=map_bytes,
        subdir=True,
        readonly=read_only,
        create=create,
        mode=0o600,
        lock=lock,
        # Durable at return (sync, metasync); no writable map, where a full disk is a SIGBUS.
        metasync=True,
        sync=True,
        writemap=False,
        # A random access pattern: reading ahead would only push useful pages out.
        readahead=False,
        max_readers=STORE_MAX_READERS,
        max_dbs=len(Tables.names()),
        max_spare_txns=_SPARE_READS,
        lib_version=LIB_VERSION,
    )


def _open_tables(environment: lmdb.Environment, path: Path, *, create: bool, read_only: bool) -> Tables:
    try:
        if read_only:
            tables = Tables.open(environment, None, create=False)
            with environment.begin() as txn:
                _check_format(environment, txn, tables, path)
        else:
            with environment.begin(write=True) as txn:
                tables = Tables.open(environment, txn, create=create)
                if create:
                    txn.put(b"format", FORMAT_VERSION, db=tables.meta, overwrite=False)
                    txn.put(b"engine", ENGINE.encode(), db=tables.meta, overwrite=False)
                _check_format(environment, txn, tables, path)
    except lmdb.NotFoundError as error:
        raise FtcError(Reason.DATA_DIRECTORY_INCOMPATIBLE, f"{path} lacks a table: {error}") from error
    return tables


def _check_format(
    environment: lmdb.Environment, txn: lmdb.Transaction[bytes], tables: Tables, path: Path
) -> None:
    for key, expected in ((b"format", FORMAT_VERSION), (b"engine", ENGINE.encode())):
        found = txn.get(key, b"", db=tables.meta)
        if found != expected:
            raise FtcError(
                Reason.DATA_DIRECTORY_INCOMPATIBLE,
                f"{path} has {key.decode()} {found.decode(errors='replace')!r};"
                f" this version reads {expected.decode()!r}",
            )
