"""Files that survive a crash: whole or absent, and readable by their owner only where secret.

Data goes to disk (fsync) before its name appears, and the name before the call returns, so that an order of
calls is also the order in which a power loss can cut them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ftc_core.errors import FtcError, Reason

__all__ = [
    "PRIVATE",
    "PUBLIC",
    "read_file",
    "remove_file",
    "replace_file",
    "sync_directory",
    "whole_file",
    "write_new_file",
]

PRIVATE = 0o600
"""Mode of a file that holds a secret."""
PUBLIC = 0o644
"""Mode of a file that anyone may read."""


def read_file(path: Path) -> bytes:
    """The content of `path`. Raises FtcError FILE_UNREADABLE, with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FtcError(Reason.FILE_UNREADABLE, f"{path}: {error.strerror or error}") from error


def write_new_file(path: Path, content: bytes, mode: int = PUBLIC, *, durable: bool = True) -> None:
    """Create `path` with `content`, whole or not at all. Raises FtcError FILE_EXISTS rather than overwrite.

    With `durable` False the content is left to the system's write-back (for bulk output whose loss is no
    harm); the caller syncs the directory when its names must be on disk too.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise FtcError(Reason.FILE_EXISTS, f"{path} exists") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _about(path, error) from error
        raise


@contextmanager
def whole_file(path: Path, mode: int = PUBLIC) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` in one durable step once the block ends.

    If an exception ends the block, all is as it was. What is no regular file (/dev/stdout, a FIFO) is written
    to directly, and where `path` is a symbolic link, what it leads to is replaced. An OSError names `path`.
    """
    if path.absolute().is_relative_to("/dev") or (path.exists() and not path.is_file()):
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _about(path, error) from error
        raise
    sync_directory(target.parent)


def replace_file(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Create or replace `path` in one durable step: a reader sees the old content or the new."""
    with whole_file(path, mode) as file:
        file.write(content)


def remove_file(path: Path) -> None:
    """Delete `path` durably; nothing happens if it is absent."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Put the names in directory `path` on disk (fsync on the directory, POSIX)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _about(path: Path, error: OSError) -> OSError:
    """The same error, of the file that the caller knows."""
    return OSError(error.errno, error.strerror, str(path))
