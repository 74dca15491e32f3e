"""The grammar of bulk CSV (PRODUCT §3), over bytes as they come, in bounded memory.

    file       = first line, then rows; the first line is ignored whatever it holds (a byte order mark, too)
    row        = one line, ended by LF, CR or CRLF, or by the end of the file; UTF-8
    ID         = the first comma field of a row, trimmed of U+0000 to U+0020; the rest of the row is ignored
    "ID"       = the same; inside the quotes nothing is trimmed, so white space there is that row's error
    blank      = a row whose ID is empty (nothing, white space, commas): ignored; `""` is an error instead

Why not the csv module? It cannot carry three of these rules. It drops the difference between white space
inside quotes and after them (lenient, it glues `"A" ,` to `A `; strict, it refuses that row). A quote that is
not closed makes it join lines up to the end of the file, while here a row is a line and a fault stays in its
row. And it reads text: one octet that is not UTF-8 would end the file, and a position in it could not be kept
for a resumed job. What would be left of it, QUOTE_NONE, is `partition(",")`; lines come from
`bytes.splitlines`, which breaks at exactly LF, CR and CRLF.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BULK_ROW_MAX_BYTES

__all__ = ["Line", "LineSplitter", "Row", "is_blank", "parse_row"]

_TRIMMED: Final = bytes(range(0x21))
_FIELD: Final = "enrollment_identity"


class Line(NamedTuple):
    """`content` without its line end, None if it is longer than a row may be; `size` with it, in bytes."""

    content: bytes | None
    size: int


class Row(NamedTuple):
    """`text` is the ID as it stands in the file; it has either a fingerprint (32 bytes) or an error."""

    text: str
    fingerprint: bytes | None
    error: FtcError | None


class LineSplitter:
    """Cuts a stream of bytes into lines, holding no more than one row's bytes between calls."""

    __slots__ = ("_dropped", "_max_bytes", "_pending")

    def __init__(self, max_bytes: int = BULK_ROW_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pending = b""
        self._dropped = 0

    def feed(self, data: bytes, *, final: bool = False) -> list[Line]:
        """The lines that `data` completes; with `final` also the last one, which may lack a line end."""
        pieces = (self._pending + data).splitlines(keepends=True)
        # A CR at the end may be half of a CRLF.
        self._pending = pieces.pop() if pieces and not final and not pieces[-1].endswith(b"\n") else b""
        lines = [self._line(piece) for piece in pieces]
        if final and self._dropped:
            lines.append(self._line(b""))
        if len(self._pending) > self._max_bytes + 1:
            kept = self._pending[-1:] if self._pending.endswith(b"\r") else b""
            self._dropped += len(self._pending) - len(kept)
            self._pending = kept
        return lines

    def _line(self, piece: bytes) -> Line:
        content = piece.rstrip(b"\r\n")
        if not self._dropped and len(content) <= self._max_bytes:
            return Line(content, len(piece))
        size, self._dropped = self._dropped + len(piece), 0
        return Line(None, size)


def is_blank(line: Line) -> bool:
    """Whether a row is to be ignored: nothing stands before its first comma."""
    return line.content is not None and not line.content.partition(b",")[0].strip(_TRIMMED)


def parse_row(line: Line) -> Row:
    """What a row that is not blank asks for.

    Its error is ROW_TOO_LONG, ROW_NOT_UTF8, ENROLLMENT_ID_INVALID or ENROLLMENT_ID_VERSION_UNSUPPORTED.
    """
    if line.content is None:
        message = f"row has more than {BULK_ROW_MAX_BYTES} bytes"
        return Row("", None, FtcError(Reason.ROW_TOO_LONG, message, field=_FIELD))
    first = line.content.partition(b",")[0].strip(_TRIMMED)
    try:
        line.content.decode()
    except UnicodeDecodeError:
        text = first.decode(errors="backslashreplace")
        return Row(text, None, FtcError(Reason.ROW_NOT_UTF8, field=_FIELD))
    text = first.decode()
    try:
        return Row(text, parse_enrollment_id(_unquoted(text), field=_FIELD), None)
    except FtcError as error:
        return Row(text, None, error)


def _unquoted(text: str) -> str:
    """The ID without its quotes, if it has any. Raises FtcError ENROLLMENT_ID_INVALID."""
    if not text.startswith('"'):
        return text
    if len(text) < 2 or not text.endswith('"'):
        raise FtcError(
            Reason.ENROLLMENT_ID_INVALID, "quotes do not enclose the whole enrollment ID", field=_FIELD
        )
    inside = text[1:-1]
    if not inside:
        raise FtcError(Reason.ENROLLMENT_ID_INVALID, "enrollment ID in quotes is empty", field=_FIELD)
    if any(character <= " " for character in inside):
        raise FtcError(
            Reason.ENROLLMENT_ID_INVALID, "enrollment ID has white space inside quotes", field=_FIELD
        )
    return inside
