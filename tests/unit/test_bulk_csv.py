"""The grammar of bulk CSV, rule by rule."""

from __future__ import annotations

import hashlib

import pytest

from ftc_core.domain.bulk_csv import Line, LineSplitter, Row, is_blank, parse_row
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_core.limits import BULK_ROW_MAX_BYTES

FINGERPRINT = hashlib.sha256(b"device").digest()
ID = format_enrollment_id(FINGERPRINT)


def line(text: str | bytes) -> Line:
    content = text.encode() if isinstance(text, str) else text
    return Line(content, len(content) + 1)


def refusal(text: str | bytes) -> tuple[Reason, str]:
    row = parse_row(line(text))
    assert row.error is not None
    assert row.fingerprint is None
    return row.error.reason, row.error.message


@pytest.mark.parametrize(
    "text",
    [
        ID,
        ID.lower(),
        f'"{ID}"',
        f"{ID},",
        f"{ID},a,b",
        f'{ID},"a""b", "unclosed',
        f'"{ID}" \t,x',
        f"\x00\t {ID} \x1f\x20",
        f' \x00"{ID}"\x00 ',
    ],
)
def test_row_names_the_device_in_its_first_field(text: str) -> None:
    assert parse_row(line(text)).fingerprint == FINGERPRINT


@pytest.mark.parametrize("text", ["", " ", "\x00\t", ",", ",,,", " ,x", "\x00,\x00", f",{ID}"])
def test_row_without_an_id_is_blank(text: str) -> None:
    assert is_blank(line(text))


@pytest.mark.parametrize("text", ['""', '"', '" "', "x", b"\xff", "\x7f"])
def test_row_with_anything_in_its_first_field_is_not_blank(text: str | bytes) -> None:
    assert not is_blank(line(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('""', "enrollment ID in quotes is empty"),
        ('"', "quotes do not enclose the whole enrollment ID"),
        (f'"{ID}', "quotes do not enclose the whole enrollment ID"),
        (f'"{ID}"x', "quotes do not enclose the whole enrollment ID"),
        (f'" {ID}"', "enrollment ID has white space inside quotes"),
        (f'"{ID}\x00"', "enrollment ID has white space inside quotes"),
        (f'{ID}"', "enrollment ID has 96 characters after 'A-', expected 95 (32 hex octets joined by ':')"),
        (f"\ufeff{ID}", "enrollment ID does not begin with a version letter and '-'"),
        (f"\xa0{ID}", "enrollment ID does not begin with a version letter and '-'"),
    ],
)
def test_row_that_is_no_id_says_what_is_wrong(text: str, message: str) -> None:
    assert refusal(text) == (Reason.ENROLLMENT_ID_INVALID, message)


def test_row_of_another_version_is_named() -> None:
    assert refusal("B" + ID[1:])[0] is Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED


@pytest.mark.parametrize("text", [b"\xff", ID.encode() + b"\xff", ID.encode() + b",caf\xe9", b"\xed\xa0\x80"])
def test_row_that_is_not_utf8_is_refused_alone(text: bytes) -> None:
    assert refusal(text)[0] is Reason.ROW_NOT_UTF8


def test_row_that_is_not_utf8_keeps_what_it_can_show() -> None:
    assert parse_row(line(b" a\xffb ,x")).text == "a\\xffb"


def test_row_too_long_is_refused_without_its_text() -> None:
    row = parse_row(Line(None, 10**9))

    assert (row.text, row.fingerprint) == ("", None)
    assert row.error is not None
    assert row.error.reason is Reason.ROW_TOO_LONG


def test_row_keeps_its_text() -> None:
    assert parse_row(line(f" {ID.lower()} ,x")) == Row(ID.lower(), FINGERPRINT, None)


# --- lines -----------------------------------------------------------------------------------------------


def split(*chunks: bytes, max_bytes: int = 10) -> list[Line]:
    splitter = LineSplitter(max_bytes)
    lines = [found for chunk in chunks for found in splitter.feed(chunk)]
    return lines + splitter.feed(b"", final=True)


def test_lines_end_in_lf_cr_or_crlf_and_nowhere_else() -> None:
    data = b"a\nb\rc\r\n\x0b\x0c\x1c\x85\n\ne"

    assert split(data) == [
        *(Line(b"a", 2), Line(b"b", 2), Line(b"c", 3)),
        *(Line(b"\x0b\x0c\x1c\x85", 5), Line(b"", 1), Line(b"e", 1)),
    ]


def test_crlf_that_is_torn_is_one_line_end() -> None:
    assert split(b"a\r", b"\nb") == [Line(b"a", 3), Line(b"b", 1)]
    assert split(b"a\r", b"b") == [Line(b"a", 2), Line(b"b", 1)]
    assert split(b"a\r") == [Line(b"a", 2)]


def test_line_of_the_greatest_length_is_whole_and_one_more_byte_is_not() -> None:
    assert split(b"x" * 10 + b"\r\n" + b"y" * 11 + b"\n") == [Line(b"x" * 10, 12), Line(None, 12)]
    assert split(b"x" * 10, b"\r", b"\n") == [Line(b"x" * 10, 12)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_line_too_long_is_told_once_with_its_size(end: bytes) -> None:
    chunks = [b"x" * 7] * 9 + [end[:1], end[1:]]

    assert split(*chunks, b"" if not end else b"a\n") == [
        Line(None, 63 + len(end)),
        *([Line(b"a", 2)] if end else []),
    ]


def test_line_of_a_gigabyte_is_held_in_bounded_memory() -> None:
    splitter, chunk = LineSplitter(), b"x" * 2**20
    for _ in range(1_024):
        assert splitter.feed(chunk) == []
        assert len(splitter._pending) <= BULK_ROW_MAX_BYTES
    assert splitter.feed(b"\n") == [Line(None, 2**30 + 1)]
