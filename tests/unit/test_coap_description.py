"""CoAP messages as a person reads them in a trace."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.coap.codec import empty_message, encode
from ftc_core.coap.description import describe

SECRET = b"-a private key-"


def described(kind: Type, code: Code, payload: bytes = b"", **options: object) -> str:
    message = Message(code=code, payload=payload)
    for name, value in options.items():
        setattr(message.opt, name, value)
    return describe(encode(message, kind, 4_711, b"\x01\x02"))


@pytest.mark.parametrize(
    ("kind", "code", "options", "expected"),
    [
        (
            Type.CON,
            Code.POST,
            {"uri_path": ("bs",), "uri_query": ("ep=pump", "pct=112")},
            "CON POST /bs?ep=pump&pct=112 mid=4711 token=0102",
        ),
        (Type.CON, Code.GET, {"accept": 40}, "CON GET / mid=4711 token=0102 Accept=40"),
        (
            Type.CON,
            Code.PUT,
            {"uri_path": ("0", "0"), "content_format": 11_542, "block1": (2, True, 6), "payload": SECRET},
            "CON PUT /0/0 mid=4711 token=0102 Content-Format=11542 Block1=2/1/1024 15 bytes",
        ),
        (
            Type.ACK,
            Code.CREATED,
            {"location_path": ("rd", "a", "d")},
            "ACK 2.01 Location=/rd/a/d mid=4711 token=0102",
        ),
        (
            Type.ACK,
            Code.FORBIDDEN,
            {"payload": b"Enrollment ID not registered"},
            'ACK 4.03 mid=4711 token=0102 "Enrollment ID not registered"',
        ),
        (
            Type.ACK,
            Code.CONTENT,
            {"content_format": 40, "payload": b"</0/0>,</1/0>"},
            'ACK 2.05 mid=4711 token=0102 Content-Format=40 "</0/0>,</1/0>"',
        ),
        (
            Type.NON,
            Code.BAD_REQUEST,
            {"payload": b"\x1b[2J" + b"x" * 80},
            'NON 4.00 mid=4711 token=0102 "\N{REPLACEMENT CHARACTER}[2J' + "x" * 59 + '…"',
        ),
        (
            Type.CON,
            Code.POST,
            {"uri_path": ("b\x07s",), "request_tag": [b"\xab"]},
            "CON POST /b\N{REPLACEMENT CHARACTER}s mid=4711 token=0102 Request-Tag=ab",
        ),
    ],
)
def test_message_is_one_line(kind: Type, code: Code, options: dict[str, object], expected: str) -> None:
    payload = options.pop("payload", b"")
    assert isinstance(payload, bytes)
    assert described(kind, code, payload, **options) == expected


def test_message_without_code_or_token_is_named() -> None:
    assert describe(empty_message(Type.ACK, 7)) == "ACK empty mid=7"
    assert describe(empty_message(Type.RST, 7)) == "RST empty mid=7"
    assert describe(empty_message(Type.CON, 7)) == "CON ping mid=7"
    assert describe(b"\x60\x44\x00\x07") == "ACK 2.04 mid=7 token=none"


def test_what_is_no_message_is_told_by_its_size() -> None:
    assert describe(b"") == "no CoAP message, 0 bytes"
    assert (
        describe(b"\x40\x02\x00\x07\xff") == "CON mid=7 malformed (payload marker without payload), 5 bytes"
    )


@given(st.binary(max_size=80))
def test_no_bytes_break_it_or_its_line(data: bytes) -> None:
    assert describe(data).isprintable()


def test_a_write_does_not_show_what_it_writes() -> None:
    line = described(Type.CON, Code.PUT, SECRET, uri_path=("0", "0"), content_format=11_542)
    assert "private" not in line
    assert SECRET.hex() not in line
