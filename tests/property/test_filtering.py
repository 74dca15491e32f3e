"""Filters, whatever a caller sends: an answer or a refusal, and the same answer however it is written."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ftc_core.application.filtering import Schema, number, parse_filter, text
from ftc_core.errors import FtcError


@dataclass(frozen=True)
class Row:
    name: str = ""
    size: int = 0


SCHEMA: Schema[Row] = {"name": text(lambda row: row.name), "size": number(lambda row: row.size)}
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
numbers = st.integers(-5, 5)
spaces = st.text(" \t\n", max_size=3)
some_space = st.text(" \t\n", min_size=1, max_size=3)
tokens = st.sampled_from(
    ["name", "size", "=", "!=", "<", ":*", "AND", "OR", "(", '"x"', '"', "1", "x*", " ", "\\"]
)


@given(st.text(max_size=60) | st.lists(tokens, max_size=12).map("".join))
def test_any_text_is_understood_or_refused(source: str) -> None:
    try:
        wanted = parse_filter(source, SCHEMA)
    except FtcError as error:
        assert error.field == "filter"
        return
    if wanted is None:
        assert not source.strip()
    else:
        assert wanted(Row("x", 1)) in (True, False)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(OPERATORS)), numbers), min_size=1, max_size=4),
    numbers,
    st.data(),
)
def test_comparisons_of_numbers_are_arithmetic_s_joined_by_and(
    comparisons: list[tuple[str, int]], size: int, data: st.DataObject
) -> None:
    parts = [f"size{data.draw(spaces)}{symbol}{data.draw(spaces)}{bound}" for symbol, bound in comparisons]
    source = parts[0]
    for part in parts[1:]:
        source += f"{data.draw(some_space)}AND{data.draw(some_space)}{part}"

    wanted = parse_filter(source, SCHEMA)

    assert wanted is not None
    assert wanted(Row(size=size)) is all(OPERATORS[symbol](size, bound) for symbol, bound in comparisons)


@given(st.text(min_size=1, max_size=40) | st.text('*\\"a', min_size=1), st.text(max_size=40))
def test_quoted_text_equals_itself_alone(value: str, other: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    wanted = parse_filter(f'name = "{quoted}"', SCHEMA)

    assert wanted is not None
    assert wanted(Row(value))
    assert wanted(Row(other)) is (other == value)
