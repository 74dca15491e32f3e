"""The streaming grammar against an oracle that has the whole file in memory and takes it literally."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ftc_core.domain.bulk_csv import LineSplitter, Row, is_blank, parse_row
from ftc_core.domain.identity import format_enrollment_id, parse_enrollment_id
from ftc_core.errors import FtcError

identities = st.binary(min_size=32, max_size=32).map(format_enrollment_id)
space = st.text(st.characters(max_codepoint=0x20, blacklist_characters="\r\n"), max_size=2)
fields = st.one_of(
    identities,
    identities.map(str.lower),
    st.tuples(space, identities, space).map("".join),
    st.tuples(space, identities.map('"{}"'.format), space).map("".join),
    st.tuples(space, identities, space).map("".join).map('"{}"'.format),
    st.sampled_from(["", '""', '"', " ", "A-", "=cmd"]),
    st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=5),
)
contents = st.one_of(
    st.lists(fields, max_size=3).map(",".join).map(str.encode),
    st.binary(max_size=6).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"")),
)
files = st.lists(st.tuples(contents, st.sampled_from([b"\n", b"\r", b"\r\n"]))).flatmap(
    lambda lines: contents.map(lambda last: b"".join(a + b for a, b in lines) + last)
)


def oracle(file: bytes) -> list[bytes | None]:
    """For each row of a whole file, the first line left out: its fingerprint, None if it has an error."""
    found: list[bytes | None] = []
    for content in re.split(rb"\r\n|\r|\n", file)[1:]:
        text = content.decode("latin-1").split(",")[0].strip("".join(map(chr, range(0x21))))
        if not text:
            continue
        quoted = re.fullmatch(r'"([^\x00-\x20"]+)"', text)
        try:
            content.decode()
            found.append(parse_enrollment_id(quoted[1] if quoted else text))
        except (UnicodeDecodeError, FtcError):
            found.append(None)
    return found


def rows_of(chunks: list[bytes]) -> list[Row]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    lines += splitter.feed(b"", final=True)
    assert sum(line.size for line in lines) == sum(map(len, chunks))
    return [parse_row(line) for line in lines[1:] if not is_blank(line)]


@given(files)
def test_rows_of_a_file_are_those_of_the_oracle(file: bytes) -> None:
    rows = rows_of([file])

    assert [row.fingerprint for row in rows] == oracle(file)
    assert all((row.fingerprint is None) is (row.error is not None) for row in rows)


@given(files, st.data())
def test_rows_do_not_depend_on_how_the_file_is_torn(file: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=8)))
    chunks = [file[start:end] for start, end in zip([0, *cuts], [*cuts, len(file)], strict=True)]

    assert [row[:2] for row in rows_of(chunks)] == [row[:2] for row in rows_of([file])]


@given(files, st.integers(1, 12), st.lists(st.integers(1, 5), max_size=20))
def test_lines_too_long_swallow_nothing_else(file: bytes, max_bytes: int, sizes: list[int]) -> None:
    splitter, rest, lines = LineSplitter(max_bytes), file, []
    for size in sizes:
        lines += splitter.feed(rest[:size])
        rest = rest[size:]
    lines += splitter.feed(rest, final=True)

    expected = re.split(rb"\r\n|\r|\n", file)
    if not expected[-1]:
        expected.pop()  # the file ends in a line end, or is empty
    assert [line.content for line in lines] == [
        content if len(content) <= max_bytes else None for content in expected
    ]
