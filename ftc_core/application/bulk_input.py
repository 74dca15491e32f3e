"""The inputs of bulk jobs on disk: `<directory>/<job ID>/input.csv`, written once, read in batches.

A directory without a job is left by an upload that a client or the server did not live to finish; nothing
refers to it, and the next start removes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ftc_core.domain.bulk_csv import Line, LineSplitter, Row, is_blank, parse_row
from ftc_core.errors import FtcError, Reason
from ftc_core.files import sync_directory
from ftc_core.limits import BULK_BATCH_BYTES, BULK_BATCH_ROWS, BULK_INPUT_MAX_BYTES

__all__ = ["Batch", "BulkInputs", "InputWriter", "read_batches", "read_rows", "translated"]

_NAME = "input.csv"
_READ_BYTES = 256 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Batch(NamedTuple):
    """Rows that are not blank, between two bytes of the input; `last` if nothing is behind them."""

    start: int
    end: int
    rows: list[Row]
    last: bool


class InputWriter:
    """Takes an upload as it comes; counts its rows and digests its bytes on the way.

    For one thread at a time, which may be another on each call.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._size = 0
        self._digest = hashlib.sha256()
        self._splitter = LineSplitter()
        self._first_line_passed = False
        self._row_count = 0
        directory.mkdir(mode=0o700)
        self._file: BinaryIO = (directory / _NAME).open("xb")

    def write(self, data: bytes) -> None:
        """Append. Raises FtcError UPLOAD_TOO_LARGE, or INTERNAL_2 if the disk is full."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise FtcError(
                Reason.UPLOAD_TOO_LARGE, f"upload is larger than {self._max_bytes} bytes", field="data"
            )
        self._digest.update(data)
        self._count(self._splitter.feed(data))
        try:
            self._file.write(data)
        except OSError as error:
            raise translated(error) from error

    def finish(self) -> tuple[int, bytes]:
        """Put all of it on disk; how many rows it has, and the SHA-256 of its bytes. Raises as `write`."""
        self._count(self._splitter.feed(b"", final=True))
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sync_directory(self._directory)
            sync_directory(self._directory.parent)
        except OSError as error:
            raise translated(error) from error
        return self._row_count, self._digest.digest()

    def discard(self) -> None:
        """Leave nothing."""
        self._file.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _count(self, lines: list[Line]) -> None:
        if lines and not self._first_line_passed:
            self._first_line_passed = True
            del lines[0]
        self._row_count += sum(not is_blank(line) for line in lines)


class BulkInputs:
    """All inputs, under one directory, which is made when it is first needed."""

    def __init__(self, directory: Path, *, max_bytes: int = BULK_INPUT_MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes

    def create(self, job_id: str) -> InputWriter:
        """A writer for the input of a new job. Raises FtcError INTERNAL_1, INTERNAL_2 if the disk is full."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return InputWriter(self._directory / job_id, self._max_bytes)
        except OSError as error:
            raise translated(error) from error

    def open(self, job_id: str) -> BinaryIO:
        """The input of a job. Raises FtcError RESOURCE_NOT_FOUND if there is none, OSError for the rest."""
        try:
            return (self._directory / job_id / _NAME).open("rb")
        except FileNotFoundError as error:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "the operation's input is gone") from error

    def remove(self, job_id: str) -> None:
        """Delete the input of a job; nothing happens if there is none."""
        shutil.rmtree(self._directory / job_id, ignore_errors=True)

    def job_ids(self) -> list[str]:
        """Of every job that has an input."""
        if not self._directory.exists():
            return []
        return sorted(entry.name for entry in self._directory.iterdir())


def read_batches(file: BinaryIO, offset: int) -> Iterator[Batch]:
    """The batches of an input from byte `offset` on, at least one; `offset` is 0 or where a batch ended."""
    file.seek(offset)
    start, end, rows = offset, offset, list[Row]()
    first = offset == 0
    for line in _lines(file):
        # Closed only now that there is more, so that the last batch knows that it is.
        if len(rows) >= BULK_BATCH_ROWS or end - start >= BULK_BATCH_BYTES:
            yield Batch(start, end, rows, last=False)
            start, rows = end, []
        end += line.size
        if not first and not is_blank(line):
            rows.append(parse_row(line))
        first = False
    yield Batch(start, end, rows, last=True)


def read_rows(file: BinaryIO, start: int, end: int) -> list[Row]:
    """The rows of one batch again, from where it began and ended."""
    file.seek(start)
    lines = _lines(file, end - start)
    if start == 0:
        next(lines, None)
    return [parse_row(line) for line in lines if not is_blank(line)]


def _lines(file: BinaryIO, size: int | None = None) -> Iterator[Line]:
    splitter, left = LineSplitter(), size
    while data := file.read(_READ_BYTES if left is None else min(_READ_BYTES, left)):
        if left is not None:
            left -= len(data)
        yield from splitter.feed(data)
    yield from splitter.feed(b"", final=True)


def translated(error: Exception) -> FtcError:
    """INTERNAL_2 if the disk is full, else INTERNAL_1."""
    full = isinstance(error, OSError) and error.errno in _FULL
    reason = Reason.INTERNAL_2 if full else Reason.INTERNAL_1
    return FtcError(reason, metadata={"cause": str(error)})
