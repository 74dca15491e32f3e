"""One CoAP message on one line, for a person who looks at a conversation.

Of a payload it tells the size, and the text only where that is meant for people (RFC 7252 §5.5.2) or is a
list of links: what is written to devices holds private keys.
"""

from __future__ import annotations

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.numbers.types import Type

from ftc_core.coap.codec import HEADER_BYTES, BadMessageError, decode

__all__ = ["describe"]

_LINK_FORMAT = 40
_TEXT_MAX_CHARS = 63
_IN_URI = frozenset({OptionNumber.URI_PATH, OptionNumber.URI_QUERY, OptionNumber.LOCATION_PATH})


def describe(data: bytes) -> str:
    """The message in `data`: type, code, path, message ID, token, other options, payload. Never raises.

    Elective options that we do not understand are left out, as everywhere in this program.
    """
    if len(data) < HEADER_BYTES:
        return f"no CoAP message, {_bytes(data)}"
    kind, mid = Type(data[0] >> 4 & 3).name, f"mid={int.from_bytes(data[2:HEADER_BYTES], 'big')}"
    if data[1] == 0 and len(data) == HEADER_BYTES:
        return f"{kind} {'ping' if kind == 'CON' else 'empty'} {mid}"
    try:
        message = decode(data)
    except BadMessageError as error:
        return f"{kind} {mid} malformed ({error}), {_bytes(data)}"
    code = Code(data[1])
    return " ".join((kind, _subject(code, message), mid, *_details(code, message)))


def _subject(code: Code, message: Message) -> str:
    """The method and its target, or the response code and the location."""
    options = message.opt
    if code.is_request():
        query = "&".join(options.uri_query)
        return f"{code.name} {_path(options.uri_path)}{query and '?' + _printable(query)}"
    location = f" Location={_path(options.location_path)}" if options.location_path else ""
    return f"{code.dotted}{location}"


def _details(code: Code, message: Message) -> list[str]:
    details = [f"token={message.token.hex() or 'none'}"]
    details += [
        f"{option.number.name_printable}={_value(option.value)}"
        for option in message.opt.option_list()
        if option.number not in _IN_URI
    ]
    if message.payload:
        details.append(_payload(code, message))
    return details


def _value(value: object) -> str:
    match value:
        case bytes():
            return value.hex() or "empty"
        case (int(number), bool(more), int(exponent)):
            return f"{number}/{int(more)}/{2 ** (exponent + 4)}"  # as RFC 7959 writes it, §2.2
        case int():
            return str(int(value))
        case _:
            return _printable(str(value))


def _payload(code: Code, message: Message) -> str:
    content_format = message.opt.content_format
    diagnostic = content_format is None and code.is_response() and not code.is_successful()
    if not diagnostic and content_format != _LINK_FORMAT:
        return _bytes(message.payload)
    text = message.payload.decode(errors="replace")
    shown = _printable(text[:_TEXT_MAX_CHARS]) + ("…" if len(text) > _TEXT_MAX_CHARS else "")
    return f'"{shown}"'


def _path(segments: tuple[str, ...]) -> str:
    return "/" + "/".join(_printable(segment) for segment in segments)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _bytes(data: bytes) -> str:
    return f"{len(data):,} bytes"
