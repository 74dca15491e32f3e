"""What is built beside its place and put there by one rename: whole or absent, whenever its maker is killed.

Until then it has a name that ends in `.ftc-partial`, and its maker holds a lock on it (flock). What a killed
one left has no lock, and the next one for the same place removes it.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, sync_directory

__all__ = ["remove_leftovers", "scratch_directory", "staged_directory", "staged_file"]

_BUFFER_BYTES = 256 * 1024
_SUFFIX = ".ftc-partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def staged_file(target: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A file to write, mode 0600, which is `target` once the block has ended well and it is on disk.

    Raises FileExistsError if there is a `target`, before and after the block, unless it may `replace` it;
    FtcError DISK_FULL.
    """
    if not replace and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    place, descriptor = _stage(target, _new_file)
    try:
        with _full_disk_told(target), os.fdopen(descriptor, "wb", _BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _put(place, target, replace=replace)
    finally:
        place.unlink(missing_ok=True)
    sync_directory(target.parent)


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """A directory to fill, mode 0700, which is `target` once the block has ended well and all is on disk.

    There must be no `target`, or an empty directory. Raises OSError ENOTEMPTY if something came there
    meanwhile, FtcError DISK_FULL.
    """
    with scratch_directory(target) as place:
        yield place
        for directory, _, _ in os.walk(place):
            sync_directory(Path(directory))
        place.rename(target)
    sync_directory(target.parent)


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """A directory to fill, mode 0700, named after `target` and beside it, gone after the block.

    Raises FtcError DISK_FULL.
    """
    place, descriptor = _stage(target, _new_directory)
    try:
        with _full_disk_told(target):
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(target: Path) -> list[Path]:
    """Remove what makers of `target` left who were killed; gives what it was."""
    removed = []
    for place in sorted(target.parent.glob(f".{glob.escape(target.name)}.*{_SUFFIX}")):
        descriptor = None
        with suppress(OSError):  # somebody else's, or gone by now
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink()
            removed.append(place)
        if descriptor is not None:
            os.close(descriptor)
    return removed


def _stage(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A new place beside `target`, and a descriptor that holds its lock."""
    while True:
        place = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}")
        descriptor = make(place)
        # Before it was locked, somebody may have taken it for a leftover.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(place.stat(), os.fstat(descriptor)):
                return place, descriptor
        os.close(descriptor)


def _new_file(place: Path) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)


def _new_directory(place: Path) -> int:
    place.mkdir(mode=0o700)
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY)


def _put(place: Path, target: Path, *, replace: bool) -> None:
    if not replace:
        try:
            os.link(place, target)  # unlike a rename it never replaces what came meanwhile
        except OSError as error:
            if error.errno not in _NO_LINKS or os.path.lexists(target):
                raise
        else:
            return
    place.rename(target)


@contextmanager
def _full_disk_told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        message = f"no room for {target}: {error.strerror or error}"
        raise FtcError(Reason.DISK_FULL, message) from error
