"""`claim-secrets.csv`: what the buyer of devices with claim secrets gets beside `enrollments.csv`.

One line per device: enrollment ID, endpoint name, claim secret. Only its owner may read it.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from ftc_core.domain.claim_secret import read_claim_secret
from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.enrollment_list import EnrollmentRow
from ftc_core.files import PRIVATE

__all__ = ["CLAIM_SECRETS_FILE_NAME", "ClaimSecretWriter", "read_claim_secrets"]

CLAIM_SECRETS_FILE_NAME = "claim-secrets.csv"

_HEADER = ("enrollment_id", "endpoint_name", "claim_secret")


class ClaimSecretWriter:
    """Appends lines; the file comes with the first. Each is handed to the system before `append` returns."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / CLAIM_SECRETS_FILE_NAME
        self._file: IO[str] | None = None

    def append(self, row: EnrollmentRow, claim_secret: str) -> None:
        """Add one device."""
        if self._file is None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)
            self._file = os.fdopen(descriptor, "a", newline="", encoding="utf-8", buffering=1)
        writer = csv.writer(self._file, lineterminator="\n")
        if self._file.tell() == 0:
            writer.writerow(_HEADER)
        writer.writerow((*row, claim_secret))

    def __enter__(self) -> ClaimSecretWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def read_claim_secrets(path: Path) -> dict[bytes, str]:
    """The secrets by fingerprint (32 bytes).

    Raises FtcError FILE_UNREADABLE if the file cannot be read, or names the line that is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            if next(reader, None) != list(_HEADER):
                raise FtcError(Reason.FILE_UNREADABLE, f"{path} line 1: expected {','.join(_HEADER)}")
            return dict(_secret_of(fields, path, reader.line_num) for fields in reader)
    except (OSError, UnicodeDecodeError) as error:
        raise FtcError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error


def _secret_of(fields: list[str], path: Path, line: int) -> tuple[bytes, str]:
    try:
        enrollment_id, _, claim_secret = fields
        return parse_enrollment_id(enrollment_id), read_claim_secret(claim_secret, field="claim secret")
    except (ValueError, FtcError) as error:
        # Not the line itself: it has a secret.
        raise FtcError(Reason.FILE_UNREADABLE, f"{path} line {line} is not a claim secret: {error}") from None
