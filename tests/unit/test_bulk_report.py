"""Reports of bulk jobs, byte by byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ftc_core.domain.bulk import BulkBatch, BulkKind
from ftc_core.domain.bulk_csv import Line, parse_row
from ftc_core.domain.bulk_report import ReportKind, report_header, report_rows
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason

ID = format_enrollment_id(bytes(range(32)))
OTHER_ID = format_enrollment_id(bytes(32))
AT = datetime(2018, 9, 7, 12, 10, 58, 428_999, tzinfo=UTC)


def report(kind: ReportKind, *texts: str | bytes, refusals: dict[int, Reason] | None = None) -> str:
    rows = []
    for text in texts:
        content = text.encode() if isinstance(text, str) else text
        rows.append(parse_row(Line(content, len(content))))
    batch = BulkBatch(start=0, end=1, at=AT, errors=0, refusals=refusals or {})
    return report_rows(batch, rows, kind).decode()


@pytest.mark.parametrize(
    ("job", "kind", "header"),
    [
        (
            BulkKind.CREATE,
            ReportKind.FULL,
            b'"entity__id","entity__created_at","error__code","error__type","error__message","error__fields"\r\n',
        ),
        (
            BulkKind.DELETE,
            ReportKind.FULL,
            b'"entity__id","entity__deleted_at","error__code","error__type","error__message","error__fields"\r\n',
        ),
        (
            BulkKind.CREATE,
            ReportKind.ERRORS,
            b'"entity__id","error__code","error__type","error__message","error__fields"\r\n',
        ),
        (
            BulkKind.DELETE,
            ReportKind.ERRORS,
            b'"entity__id","error__code","error__type","error__message","error__fields"\r\n',
        ),
    ],
)
def test_headers_are_those_of_the_contract(job: BulkKind, kind: ReportKind, header: bytes) -> None:
    assert report_header(job, kind) == header


def test_full_report_has_every_row_with_its_time_or_its_error() -> None:
    assert report(
        ReportKind.FULL, ID.lower(), OTHER_ID, '""', refusals={1: Reason.ENROLLMENT_ALREADY_EXISTS}
    ) == (
        f'"{ID}","2018-09-07T12:10:58.428Z","","","",""\r\n'
        f'"{OTHER_ID}","","409","ENROLLMENT_ALREADY_EXISTS",'
        '"enrollment identity is already on an enrollment list",""\r\n'
        '"""""","","400","ENROLLMENT_ID_INVALID","enrollment ID in quotes is empty","enrollment_identity"\r\n'
    )


def test_error_report_has_the_failed_rows_only() -> None:
    assert report(ReportKind.ERRORS, ID, OTHER_ID, refusals={1: Reason.RESOURCE_NOT_FOUND}) == (
        f'"{OTHER_ID}","404","RESOURCE_NOT_FOUND","resource not found",""\r\n'
    )


def test_times_are_told_in_utc() -> None:
    at = AT.astimezone(timezone(timedelta(hours=5)))
    rows = [parse_row(Line(ID.encode(), 1))]
    batch = BulkBatch(start=0, end=1, at=at, errors=0, refusals={})

    assert b'"2018-09-07T12:10:58.428Z"' in report_rows(batch, rows, ReportKind.FULL)


@pytest.mark.parametrize(
    "formula", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠x"]
)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(formula: str) -> None:
    assert report(ReportKind.ERRORS, formula).startswith(f'"\'{formula}",')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=b", "a=b"),
        ('"\t=1"', '""\\t=1""'),
        ("a\x00b", "a\\x00b"),
        ("x" * 201, "x" * 200 + "…"),
        (b"\xff=1", "\\xff=1"),
        ("a\u202eb", "a\\u202eb"),
        ("é", "é"),
    ],
)
def test_text_is_shown_so_that_it_is_harmless(text: str | bytes, shown: str) -> None:
    assert report(ReportKind.ERRORS, text).startswith(f'"{shown}",')
