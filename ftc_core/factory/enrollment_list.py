"""`enrollments.csv`: what the customer uploads. One line per device, the enrollment ID first.

The bulk upload ignores the first line and every field after the first (PRODUCT §3), so the file can be
uploaded as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason

__all__ = ["EnrollmentListWriter", "EnrollmentRow", "read_enrollment_list"]

_HEADER = ("enrollment_id", "endpoint_name")


class EnrollmentRow(NamedTuple):
    """One device: `A-…` and its endpoint name."""

    enrollment_id: str
    endpoint_name: str


def read_enrollment_list(path: Path) -> Iterator[EnrollmentRow]:
    """The rows, one at a time. Raises FtcError FILE_UNREADABLE, naming the line that is damaged."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, None)
        if header is None:  # a run that was killed before its first line
            return
        if header != list(_HEADER):
            raise FtcError(Reason.FILE_UNREADABLE, f"{path} line 1: expected {','.join(_HEADER)}")
        for fields in reader:
            try:
                row = EnrollmentRow(*fields)
                parse_enrollment_id(row.enrollment_id)
            except (TypeError, FtcError) as error:
                raise FtcError(
                    Reason.FILE_UNREADABLE, f"{path} line {reader.line_num} is not an enrollment: {error}"
                ) from error
            yield row


class EnrollmentListWriter:
    """Appends rows; each is handed to the system before `append` returns, so a killed run loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="", encoding="utf-8", buffering=1)
        self._writer = csv.writer(self._file, lineterminator="\n")
        if self._file.tell() == 0:
            self._writer.writerow(_HEADER)

    def append(self, row: EnrollmentRow) -> None:
        """Add one device."""
        self._writer.writerow(row)

    def __enter__(self) -> EnrollmentListWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
