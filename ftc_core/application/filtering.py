"""Filters of lists: a small subset of AIP-160, as docs/filtering.md tells its users.

    filter     = comparison { "AND" comparison }
    comparison = field operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value      = "*", after ":" only | a word | a text in double quotes, with \\" \\\\ and \\* in it

A `*` that is not escaped stands for any ending, at the end of a text alone.

Each list has a schema, the fields that may be compared and how. What does not fit is refused, with the place:
a filter that is half understood shows the wrong rows.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import FILTER_COMPARISONS_MAX, FILTER_MAX_CHARS

__all__ = [
    "Field",
    "Filter",
    "Schema",
    "boolean",
    "choice",
    "identity",
    "moment",
    "number",
    "parse_filter",
    "text",
]

T = TypeVar("T")
Predicate = Callable[[T], bool]

_ANY: Final = "*"
_EQUALITY: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"=": operator.eq, "!=": operator.ne}
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUAL: Final = frozenset({"="})
_BEGINS: Final = frozenset({"=*"})
_LOWER: Final = frozenset({">", ">=", "="})
_UPPER: Final = frozenset({"<", "<=", "="})
_PRESENCE: Final = frozenset({":"}) | _BEGINS | _LOWER | _UPPER
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\*])*)"')
_ESCAPE = re.compile(r"\\(.)")
_WORD = re.compile(r'[^\s"()=<>!]+')
_AND = re.compile(r"AND(?=\s)")
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """How one field of a record is compared.

    `get` gives its value, None if it is absent; `read` turns what the filter says into such a value, raising
    ValueError (its text says what is allowed) or FtcError; `ordered` allows < and its like; `prefixes` lets
    the value end in `*`.
    """

    get: Callable[[T], Any]
    read: Callable[[str], Any]
    ordered: bool = False
    prefixes: bool = False


Schema = Mapping[str, Field[T]]
"""The fields of a list that may be compared, by name."""


class _Comparison(NamedTuple, Generic[T]):
    """One comparison: whether it holds, and what of it an index may go by."""

    holds: Predicate[T]
    name: str
    symbol: str
    value: Any


class _Value(NamedTuple):
    """What is compared with: the text, whether its end is open, and whether a `*` stands where none may."""

    text: str
    open: bool
    misplaced: bool


class Filter(Generic[T]):
    """Comparisons that must all hold."""

    def __init__(self, comparisons: Sequence[_Comparison[T]]) -> None:
        self._comparisons = comparisons

    def __call__(self, record: T) -> bool:
        """Whether `record` is wanted."""
        return all(comparison.holds(record) for comparison in self._comparisons)

    def value(self, name: str) -> Any:
        """A value that the field must equal; None if the filter does not say."""
        return next(iter(self._values(name, _EQUAL)), None)

    def prefix(self, name: str) -> str:
        """With what the text must begin."""
        return next(iter(self._values(name, _BEGINS)), "")

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Values between which the field must lie, these included; None where there is no bound."""
        low, high = self._values(name, _LOWER), self._values(name, _UPPER)
        return max(low, default=None), min(high, default=None)

    def presence(self, name: str) -> bool:
        """Whether only records that have the field can be wanted."""
        return bool(self._values(name, _PRESENCE))

    def _values(self, name: str, symbols: Container[str]) -> list[Any]:
        return [
            comparison.value
            for comparison in self._comparisons
            if comparison.name == name and comparison.symbol in symbols
        ]


def text(get: Callable[[T], str | None]) -> Field[T]:
    """Compared by = and !=, the value as a whole or up to a `*` at its end. Case matters."""
    return Field(lambda record: get(record) or None, str, prefixes=True)


def identity(get: Callable[[T], bytes]) -> Field[T]:
    """An enrollment ID, in either case."""
    return Field(get, lambda value: parse_enrollment_id(value, field="filter"))


def moment(get: Callable[[T], datetime | None]) -> Field[T]:
    """A time, given in ISO 8601; UTC unless it says otherwise."""
    return Field(get, _moment, ordered=True)


def number(get: Callable[[T], int | None]) -> Field[T]:
    """A whole number."""
    return Field(get, _number, ordered=True)


def boolean(get: Callable[[T], bool]) -> Field[T]:
    """`true` or `false`."""
    return Field(get, lambda value: _member(value, {"true": True, "false": False}))


def choice(kind: type[StrEnum], get: Callable[[T], StrEnum]) -> Field[T]:
    """One of the words of an enum."""
    members: dict[str, StrEnum] = {member.value: member for member in kind}
    return Field(get, lambda value: _member(value, members))


def parse_filter(source: str, schema: Schema[T]) -> Filter[T] | None:
    """What tells whether a record is wanted; None if `source` is blank, which wants them all.

    Raises FtcError FIELD_INVALID, or ENROLLMENT_ID_… for a bad identity, all with field `filter`.
    """
    if len(source) > FILTER_MAX_CHARS:
        raise _refusal(f"filter has {len(source)} characters; at most {FILTER_MAX_CHARS} are allowed")
    scanner = _Scanner(source)
    if scanner.at_end():
        return None
    comparisons = [_comparison(scanner, schema)]
    while not scanner.at_end():
        if scanner.take(_AND) is None:
            raise scanner.refusal("AND is expected; OR, NOT and parentheses are not supported")
        comparisons.append(_comparison(scanner, schema))
    if len(comparisons) > FILTER_COMPARISONS_MAX:
        raise _refusal(
            f"filter has {len(comparisons)} comparisons; at most {FILTER_COMPARISONS_MAX} are allowed"
        )
    return Filter(comparisons)


class _Scanner:
    """Reads one token after another and knows where it is."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._position = 0

    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        self._skip_space()
        return self._position == len(self._source)

    def take(self, token: re.Pattern[str]) -> re.Match[str] | None:
        """The next token, if it is of this kind."""
        self._skip_space()
        found = token.match(self._source, self._position)
        if found is not None:
            self._position = found.end()
        return found

    def refusal(self, expectation: str) -> FtcError:
        """What is wrong at the present place."""
        self._skip_space()
        rest = self._source[self._position : self._position + _SHOWN_CHARS]
        found = repr(rest) if rest else "the end"
        return _refusal(f"filter, character {self._position + 1}: {expectation}; found {found}")

    def _skip_space(self) -> None:
        space = _SPACE.match(self._source, self._position)
        if space is not None:
            self._position = space.end()


def _comparison(scanner: _Scanner, schema: Schema[T]) -> _Comparison[T]:
    expectation = f"a field is expected, one of {', '.join(sorted(schema))}"
    before = scanner.refusal(expectation)
    name = scanner.take(_NAME)
    if name is None or name[0] not in schema:
        raise before
    field, symbol = schema[name[0]], scanner.take(_OPERATOR)
    if symbol is None:
        raise scanner.refusal("an operator is expected: = != < <= > >= or :*")
    value = _value(scanner)
    try:
        return _read(field, name[0], symbol[0], value)
    except ValueError as error:
        raise _refusal(f"filter, {name[0]}: {error}") from error


def _value(scanner: _Scanner) -> _Value:
    if (quoted := scanner.take(_QUOTED)) is not None:
        bare = _ESCAPE.sub("_", quoted[1])
        return _Value(_ESCAPE.sub(r"\1", quoted[1]), bare.endswith(_ANY), _ANY in bare[:-1])
    if (word := scanner.take(_WORD)) is not None:
        # Nothing is escaped in a word; who tries that means a literal one.
        misplaced = _ANY in word[0][:-1] or word[0].endswith("\\*")
        return _Value(word[0], word[0].endswith(_ANY), misplaced)
    raise scanner.refusal("a value is expected, in double quotes if it has spaces")


def _read(field: Field[T], name: str, symbol: str, value: _Value) -> _Comparison[T]:
    get = field.get
    if symbol == ":":
        if value.text != _ANY or not value.open:
            raise ValueError("':' asks whether the field is set, and is followed by * alone")
        return _Comparison(lambda record: get(record) is not None, name, symbol, None)
    if symbol in _EQUALITY:
        wanted_equal = symbol == "="
        if field.prefixes and value.misplaced:
            raise ValueError(
                f"in {_shown(value.text)} a * is not at the end, where alone it stands for anything;"
                " as a character it is \\* in double quotes"
            )
        if field.prefixes and value.open:
            prefix = value.text[:-1]

            def begins(record: T) -> bool:
                found = get(record)
                return (found is not None and found.startswith(prefix)) is wanted_equal

            return _Comparison(begins, name, "=*" if wanted_equal else symbol, prefix)
        compare, wanted = _EQUALITY[symbol], field.read(value.text)
        return _Comparison(lambda record: compare(get(record), wanted), name, symbol, wanted)
    if not field.ordered:
        raise ValueError(f"{symbol} is for times and numbers; use = or !=")
    compare, bound = _ORDER[symbol], field.read(value.text)

    def lies(record: T) -> bool:
        found = get(record)
        return found is not None and compare(found, bound)

    return _Comparison(lies, name, symbol, bound)


def _moment(value: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{_shown(value)} is not a time, such as 2030-12-31T23:59:59Z") from error


def _number(value: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
        raise ValueError(f"{_shown(value)} is not a whole number")
    return int(value)


def _member(value: str, members: Mapping[str, Any]) -> Any:
    if value not in members:
        raise ValueError(f"{_shown(value)} is none of {', '.join(members)}")
    return members[value]


def _shown(value: str) -> str:
    return repr(value[:_SHOWN_CHARS])


def _refusal(message: str) -> FtcError:
    return FtcError(Reason.FIELD_INVALID, message, field="filter")
