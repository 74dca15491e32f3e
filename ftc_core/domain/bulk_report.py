"""Reports of bulk jobs: RFC 4180, CRLF, every field quoted, columns as PRODUCT §3 says.

A row that failed is told as it stands in the file, and files come from anywhere: a spreadsheet would run a
field that begins with `=`, `+`, `-`, `@` as a formula, quoted or not. Such a text gets an apostrophe before
it, which spreadsheets take as "this is text"; characters that do not print are escaped as in Python, and long
texts are cut. An enrollment ID that is one is never changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC
from enum import StrEnum
from typing import Final

from ftc_core.domain.bulk import BulkBatch, BulkKind
from ftc_core.domain.bulk_csv import Row
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError

__all__ = ["ReportKind", "report_header", "report_rows"]

_SHOWN_MAX_CHARS: Final = 200
_TIMESTAMP: Final = {BulkKind.CREATE: "entity__created_at", BulkKind.DELETE: "entity__deleted_at"}
_ERROR: Final = ("error__code", "error__type", "error__message", "error__fields")
_NO_ERROR: Final = ("", "", "", "")
_FORMULA: Final = tuple("=+-@＝＋－＠")
"""First characters of formulas in spreadsheets, their full-width forms with them."""
_HTTP: Final = {"INVALID_ARGUMENT": "400", "NOT_FOUND": "404", "ALREADY_EXISTS": "409"}
"""HTTP status of what can befall a row, by gRPC code (google/rpc/code.proto)."""


class ReportKind(StrEnum):
    """Every row, or those that failed."""

    FULL = "FULL"
    ERRORS = "ERRORS"


def report_header(job: BulkKind, report: ReportKind) -> bytes:
    """The first line."""
    timestamp = (_TIMESTAMP[job],) if report is ReportKind.FULL else ()
    return _lines([("entity__id", *timestamp, *_ERROR)])


def report_rows(batch: BulkBatch, rows: Iterable[Row], report: ReportKind) -> bytes:
    """The lines for a batch; `rows` are those of its input that are not blank, all of them, in order."""
    full = report is ReportKind.FULL
    at = batch.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines: list[tuple[str, ...]] = []
    for place, row in enumerate(rows):
        error, refusal = row.error, batch.refusals.get(place)
        if error is None and refusal is not None:
            error = FtcError(refusal)
        if error is not None:
            lines.append((_entity(row), *(("",) if full else ()), *_error_columns(error)))
        elif full:
            lines.append((_entity(row), at, *_NO_ERROR))
    return _lines(lines)


def _error_columns(error: FtcError) -> tuple[str, ...]:
    return _HTTP[error.spec.grpc], error.reason.value, error.message, error.field


def _entity(row: Row) -> str:
    if row.fingerprint is not None:
        return format_enrollment_id(row.fingerprint)
    text = row.text if len(row.text) <= _SHOWN_MAX_CHARS else row.text[:_SHOWN_MAX_CHARS] + "…"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _lines(rows: Iterable[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
