"""Filters: what each comparison wants, and what is refused, with its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from ftc_core.application.filtering import (
    Schema,
    boolean,
    choice,
    identity,
    moment,
    number,
    parse_filter,
    text,
)
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason

FINGERPRINT = bytes(range(32))
IDENTITY = format_enrollment_id(FINGERPRINT)


class Colour(StrEnum):
    RED = "RED"
    BLUE = "BLUE"


@dataclass(frozen=True)
class Row:
    name: str | None = "lamp-1"
    colour: Colour = Colour.RED
    size: int | None = 7
    lit: bool = True
    made_at: datetime | None = datetime(2026, 11, 23, 12, tzinfo=UTC)
    fingerprint: bytes = FINGERPRINT


SCHEMA: Schema[Row] = {
    "name": text(lambda row: row.name),
    "colour": choice(Colour, lambda row: row.colour),
    "size": number(lambda row: row.size),
    "lit": boolean(lambda row: row.lit),
    "made_at": moment(lambda row: row.made_at),
    "identity": identity(lambda row: row.fingerprint),
}
ABSENT = Row(name=None, size=None, made_at=None)


def wants(source: str, row: Row) -> bool:
    wanted = parse_filter(source, SCHEMA)
    assert wanted is not None
    return wanted(row)


@pytest.mark.parametrize("source", ["", "  ", "\t\n"])
def test_blank_filter_is_none(source: str) -> None:
    assert parse_filter(source, SCHEMA) is None


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("name = lamp-1", True),
        ("name=lamp-1", True),
        ('name = "lamp-1"', True),
        ("name = Lamp-1", False),
        ("name != lamp-1", False),
        ("name = lamp-*", True),
        ("name = bulb*", False),
        ("name != lamp-*", False),
        ("name:*", True),
        ("colour = RED", True),
        ("colour != BLUE", True),
        ("size = 7", True),
        ("size < 7", False),
        ("size <= 7", True),
        ("size > 6 AND size < 8", True),
        ("size > -1", True),
        ("lit = true", True),
        ("lit = false", False),
        ("made_at = 2026-11-23T12:00:00Z", True),
        ("made_at = 2026-11-23T13:00:00+01:00", True),
        ("made_at >= 2026-11-23", True),
        ("made_at < 2026-11-23", False),
        (f"identity = {IDENTITY}", True),
        (f"identity = A-{IDENTITY[2:].lower()}", True),
        ("name = lamp-1 AND colour = BLUE", False),
    ],
)
def test_comparison_wants_the_row_or_not(source: str, wanted: bool) -> None:
    assert wants(source, Row()) is wanted


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("made_at:*", False),
        ("made_at < 2030-01-01", False),
        ("made_at > 2000-01-01", False),
        ("size != 3", True),
        ("name = lamp*", False),
        ("name != lamp*", True),
        ("name = *", False),
    ],
)
def test_absent_value_equals_nothing_and_has_no_order(source: str, wanted: bool) -> None:
    assert wants(source, ABSENT) is wanted


def test_quoted_text_may_hold_anything() -> None:
    assert wants(r'name = "say \"AND\" \\ (= x)"', Row(name='say "AND" \\ (= x)'))


@pytest.mark.parametrize(
    ("source", "name", "wanted"),
    [
        (r'name = "\*"', "*", True),
        (r'name = "\*"', "lamp", False),
        (r'name = "5 \* a"', "5 * a", True),
        (r'name = "5 \* a"', "5 x a", False),
        (r'name = "a\**"', "a*b", True),
        (r'name = "a\**"', "ab", False),
        (r'name = "a\\*"', r"a\b", True),
        (r'name != "a\*"', "a*", False),
    ],
)
def test_escaped_asterisk_is_a_character(source: str, name: str, wanted: bool) -> None:
    assert wants(source, Row(name=name)) is wanted


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("= 1", "character 1: a field is expected, one of colour, identity, lit, made_at, name, size"),
        ("nonsense = 1", "character 1: a field is expected"),
        ("name.first = x", "character 1: a field is expected"),
        ("name", "character 5: an operator is expected"),
        ("name ~ x", "character 6: an operator is expected"),
        ("name =", "character 7: a value is expected"),
        ('name = "x', "character 8: a value is expected"),
        ("name = x OR size = 1", "character 10: AND is expected; OR, NOT and parentheses are not supported"),
        ("(name = x)", "character 1: a field is expected"),
        ("NOT name = x", "character 1: a field is expected"),
        ("name = x AND", "AND is expected"),
        ("name = x AND ", "a field is expected"),
        ("name = x y", "character 10: AND is expected"),
        ("name = l*mp-1", r"name: in 'l*mp-1' a * is not at the end"),
        ("name != *mp-1", r"as a character it is \* in double quotes"),
        ('name = "l*mp*"', "is not at the end"),
        ("name = lamp**", "is not at the end"),
        (r"name = lamp\*", "is not at the end"),
        (r'name:"\*"', "is followed by * alone"),
        (r'name = "\x"', "a value is expected"),
        ("name < x", "name: < is for times and numbers"),
        ("lit > true", "lit: > is for times and numbers"),
        ("colour = GREEN", "colour: 'GREEN' is none of RED, BLUE"),
        ("colour = R*", "colour: 'R*' is none of"),
        ("size = many", "size: 'many' is not a whole number"),
        ("size = ٣", "size: '٣' is not a whole number"),
        ("lit = yes", "lit: 'yes' is none of true, false"),
        ("made_at > soon", "made_at: 'soon' is not a time"),
        ("made_at > 0001-01-01T00:00:00+14:00", "is not a time"),
        ("name:x", "is followed by * alone"),
        (" AND ".join(["size = 1"] * 11), "11 comparisons; at most 10"),
        ("name = " + "x" * 1_000, "1007 characters; at most 1000"),
    ],
)
def test_refusal_says_what_and_where(source: str, said: str) -> None:
    with pytest.raises(FtcError) as caught:
        parse_filter(source, SCHEMA)

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "filter")
    assert said in caught.value.message
    assert len(caught.value.message) < 300


def test_bad_identity_is_refused_as_everywhere() -> None:
    with pytest.raises(FtcError) as caught:
        parse_filter("identity = B-00", SCHEMA)

    assert (caught.value.reason, caught.value.field) == (Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED, "filter")


def test_filter_says_what_an_index_may_go_by() -> None:
    found = parse_filter(
        "name = lamp-* AND colour = RED AND size > 3 AND size <= 9 AND size < 12 AND made_at != 2030-01-01",
        SCHEMA,
    )
    assert found is not None
    assert (found.prefix("name"), found.value("name")) == ("lamp-", None)
    assert (found.value("colour"), found.prefix("colour")) == (Colour.RED, "")
    assert found.bounds("size") == (3, 9)
    assert found.bounds("made_at") == (None, None)
    assert [found.presence(name) for name in ("name", "colour", "size", "made_at", "lit")] == [
        *(True, True, True, False, False)
    ]


def test_filter_that_asks_for_another_text_gives_no_index_anything() -> None:
    found = parse_filter("name != lamp-* AND colour != RED", SCHEMA)
    assert found is not None
    assert (found.prefix("name"), found.value("name"), found.value("colour")) == ("", None, None)
    assert not found.presence("name")
