"""The wall between a peer's bytes and the state machines: messages in, `BadMessageError` or a `Message` out.

Messages, options, numbers and the encoder are aiocoap's. Its decoder is not used on a peer's bytes: it
interns every unknown option number and content format for the life of the process, whatever their length
(20,000 datagrams left 6 MB behind), reads extended tokens as short ones and accepts a payload marker without
payload, knows no option lengths, and lets UnicodeDecodeError out. So the option list is walked here, by the
table below, and aiocoap makes the option of each value that passed.

Its encoder cannot write a token above 12 bytes (RFC 8974) either: that is put into what it wrote without one.
"""

from __future__ import annotations

import struct

import msgspec
from aiocoap.message import Direction, Message
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.numbers.types import Type

from ftc_core import limits
from ftc_core.errors import FtcError, Reason

__all__ = ["HEADER_BYTES", "BadMessageError", "decode", "empty_message", "encode"]

HEADER_BYTES = 4
_TOKEN_DIRECT_MAX_BYTES = 12
"""Token lengths that TKL itself says; 13 and 14 stand for a length of their own behind the header, and 15 for
none (RFC 8974 §2.1)."""
_PAYLOAD_MARKER = 0xFF
_TYPES = tuple(Type)
_MESSAGE_CLASSES = frozenset({0, 2, 4, 5})  # 1, 6 and 7 are reserved (RFC 7252 §3, §4.2)
_HEADER = struct.Struct("!BBH")


class BadMessageError(Exception):
    """The bytes are no CoAP message that we could process; never leaves ftc_core.coap.

    `answer` is what a confirmable request with this fault is told, under `token`. None means a message format
    error, or an unusable response: it is reset if confirmable and dropped if not (RFC 7252 §4.2, §4.3).
    """

    def __init__(self, why: str, answer: FtcError | None = None, token: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer
        self.token = token


class _OptionRule(msgspec.Struct, frozen=True):
    number: OptionNumber
    shortest: int
    longest: int
    repeatable: bool = False


_QUERY_MAX_BYTES = 1_034
"""RFC 7252 says 255. An endpoint name may have 256, and one that is too long is to be told so with 4.00; the
4.02 of an option that is not understood would make a widely used client give up for good."""

# Lengths and repeatability: RFC 7252 §5.10 table 4, RFC 7959 §6, RFC 7641 §2, RFC 9175 §3.2.1. What is not
# here is not understood. Critical: If-Match and If-None-Match (no conditional requests), OSCORE, Q-Block.
# Elective, so without effect: Echo (we never ask for it), No-Response, Hop-Limit (no proxy).
_RULES = {
    int(rule.number): rule
    for rule in (
        _OptionRule(OptionNumber.URI_HOST, 1, 255),
        _OptionRule(OptionNumber.ETAG, 1, 8, repeatable=True),
        _OptionRule(OptionNumber.OBSERVE, 0, 3),
        _OptionRule(OptionNumber.URI_PORT, 0, 2),
        _OptionRule(OptionNumber.LOCATION_PATH, 0, 255, repeatable=True),
        _OptionRule(OptionNumber.URI_PATH, 0, 255, repeatable=True),
        _OptionRule(OptionNumber.CONTENT_FORMAT, 0, 2),
        _OptionRule(OptionNumber.MAX_AGE, 0, 4),
        _OptionRule(OptionNumber.URI_QUERY, 0, _QUERY_MAX_BYTES, repeatable=True),
        _OptionRule(OptionNumber.ACCEPT, 0, 2),
        _OptionRule(OptionNumber.LOCATION_QUERY, 0, 255, repeatable=True),
        _OptionRule(OptionNumber.BLOCK2, 0, 3),
        _OptionRule(OptionNumber.BLOCK1, 0, 3),
        _OptionRule(OptionNumber.SIZE2, 0, 4),
        _OptionRule(OptionNumber.SIZE1, 0, 4),
        _OptionRule(OptionNumber.REQUEST_TAG, 0, 8, repeatable=True),
    )
}

_PROXY_OPTIONS = frozenset({OptionNumber.PROXY_URI, OptionNumber.PROXY_SCHEME})


def decode(data: bytes) -> Message:
    """The request or response in one datagram of at least `HEADER_BYTES`.

    Elective options that are unknown, malformed or repeated without right are left out; critical ones are
    a fault (RFC 7252 §5.4.1, §5.4.3, §5.4.5). Raises BadMessageError, and nothing else.
    """
    first, code, mid = data[0], data[1], data[2] << 8 | data[3]
    length, token_start = first & 0x0F, HEADER_BYTES
    if length > _TOKEN_DIRECT_MAX_BYTES:
        length, token_start = _extended(data, token_start, length)
    options_start = token_start + length
    if options_start > len(data) or length > limits.COAP_TOKEN_ECHO_MAX_BYTES:
        raise BadMessageError("token length")
    if code == 0 or code >> 5 not in _MESSAGE_CLASSES:
        raise BadMessageError("empty message or reserved code class")
    message = Message(code=code)
    message.direction = Direction.INCOMING
    message.mtype = _TYPES[(first >> 4) & 3]
    message.mid = mid
    message.token = data[token_start:options_start]
    fault = _decode_options(message, data, options_start)
    if length > limits.COAP_TOKEN_MAX_BYTES:
        # A reset would say that extended tokens are not supported at all (RFC 8974 §2.2.2).
        fault = FtcError(Reason.REQUEST_MALFORMED, "Token too long")
    if fault is not None:
        raise BadMessageError(fault.message, fault, message.token)
    return message


def _decode_options(message: Message, data: bytes, position: int) -> FtcError | None:
    """Fill in options and payload (RFC 7252 §3.1) from `position` on; the first fault of an option.

    Raises BadMessageError for a message format error, wherever it is: it outranks every fault.
    """
    fault: FtcError | None = None
    number, end, options = 0, len(data), message.opt
    while position < end:
        head = data[position]
        position += 1
        if head == _PAYLOAD_MARKER:
            if position == end:
                raise BadMessageError("payload marker without payload")
            message.payload = data[position:]
            break
        delta, length = head >> 4, head & 0x0F
        if delta > 12:
            delta, position = _extended(data, position, delta)
        if length > 12:
            length, position = _extended(data, position, length)
        number += delta
        start, position = position, position + length
        if position > end:
            raise BadMessageError("option longer than the message")
        rule = _RULES.get(number)
        if (
            rule is None
            or not rule.shortest <= length <= rule.longest
            or (not rule.repeatable and options.get_option(rule.number))
        ):
            if number & 1:
                fault = fault or _not_understood(number)
            continue
        try:
            options.add_option(rule.number.create_option(decode=data[start:position]))
        except UnicodeDecodeError:
            if number & 1:
                fault = fault or FtcError(Reason.REQUEST_MALFORMED, _not_utf8(data[start:position]))
    return fault


def _extended(data: bytes, position: int, nibble: int) -> tuple[int, int]:
    """An extended option delta or length, and the position behind it (RFC 7252 §3.1)."""
    end = position + nibble - 12
    if nibble == 15 or end > len(data):
        raise BadMessageError("option header")
    return int.from_bytes(data[position:end], "big") + (13 if nibble == 13 else 269), end


def _not_understood(number: int) -> FtcError:
    if number in _PROXY_OPTIONS:
        return FtcError(Reason.PROXYING_NOT_SUPPORTED)
    return FtcError(Reason.OPTION_NOT_UNDERSTOOD, f"Critical option {number} not understood")


def _not_utf8(value: bytes) -> str:
    """Names the query parameter at fault if the value has the form `name=…`."""
    name, equals, _ = value.partition(b"=")
    named = equals and len(name) <= 16 and name.isalnum()
    return f"{name.decode() if named else 'An option'} is not valid UTF-8"


def encode(message: Message, kind: Type, mid: int, token: bytes) -> bytes:
    """The datagram of a message under this type, message ID and token, which are set on it.

    Raises ValueError or OverflowError for an option value that cannot be encoded.
    """
    message.mtype = kind
    message.mid = mid
    message.token = token
    if len(token) > _TOKEN_DIRECT_MAX_BYTES:
        return _with_extended_token(message, token)
    data: bytes = message.encode()
    return data


def _with_extended_token(message: Message, token: bytes) -> bytes:
    message.token = b""
    bare: bytes = message.encode()
    message.token = token
    length = len(token) - 13
    tkl, extended = (13, bytes([length])) if length < 256 else (14, (length - 256).to_bytes(2, "big"))
    return bytes([bare[0] | tkl]) + bare[1:HEADER_BYTES] + extended + token + bare[HEADER_BYTES:]


def empty_message(kind: Type, mid: int) -> bytes:
    """An empty acknowledgement or Reset: four bytes (RFC 7252 §4.1)."""
    return _HEADER.pack(0x40 | kind << 4, 0, mid)
