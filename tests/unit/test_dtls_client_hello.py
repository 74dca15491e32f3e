"""The record limit that a device asks for (RFC 6066 §4), out of bytes that anybody may have made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.dtls.client_hello import LEAST_RECORD_BYTES, asked_record_limit, cookie_of, ticket_of
from ftc_core.dtls.record import client_hello_message
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, client_for, device_verifier


def hello(extensions: bytes | None = b"") -> bytes:
    """A ClientHello message: its header, then a body with these extensions."""
    body = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\x10" + bytes(16) + b"\x00\x02\xc0\xae" + b"\x01\x00"
    if extensions is not None:
        body += len(extensions).to_bytes(2, "big") + extensions
    length = len(body).to_bytes(3, "big")
    return b"\x01" + length + b"\x00\x01" + bytes(3) + length + body


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


@pytest.mark.parametrize(("code", "limit"), [(1, 512), (2, 1_024), (3, 2_048), (4, 4_096)])
def test_the_limit_that_is_asked_for_is_found_among_other_extensions(code: int, limit: int) -> None:
    asked = extension(1, bytes((code,)))
    assert asked_record_limit(hello(asked)) == limit
    assert asked_record_limit(hello(extension(10, b"\x00\x02\x00\x17") + asked + extension(23, b""))) == limit


def test_who_asks_for_nothing_has_no_limit(manufacturer: Manufacturer) -> None:
    (openssl,) = Pair(client_for(manufacturer.device("x")), device_verifier()).client.datagrams_to_send()
    assert asked_record_limit(client_hello_message(openssl)) is None
    assert asked_record_limit(hello(b"")) is None
    assert asked_record_limit(hello(None)) is None
    assert asked_record_limit(hello(extension(0, b"\x01\x01"))) is None


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x05", b"\x01\x01"])
def test_what_openssl_does_not_grant_is_no_limit(content: bytes) -> None:
    """It ends such a handshake with illegal_parameter or decode_error."""
    assert asked_record_limit(hello(extension(1, content))) is None


def test_a_client_hello_that_is_cut_off_may_have_asked_for_the_least() -> None:
    whole = hello(extension(23, b"") + extension(1, b"\x04"))
    no_extensions = len(hello(None))
    for length in range(len(whole)):
        if length != no_extensions:
            assert asked_record_limit(whole[:length]) == LEAST_RECORD_BYTES


@given(st.binary(max_size=300))
def test_no_bytes_raise(garbage: bytes) -> None:
    assert asked_record_limit(hello()[:12] + garbage) in (None, 512, 1_024, 2_048, 4_096)


def test_cookie_is_found_behind_the_session_id(manufacturer: Manufacturer) -> None:
    (openssl,) = Pair(client_for(manufacturer.device("x")), device_verifier()).client.datagrams_to_send()

    assert cookie_of(client_hello_message(openssl)) == b""
    assert cookie_of(hello()) == bytes(16)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_cookie_or_none(junk: bytes) -> None:
    assert cookie_of(junk) in junk
    assert cookie_of(hello()[:58] + junk) in hello()[:58] + junk


def test_ticket_is_found_among_other_extensions() -> None:
    """RFC 5077 §3.2: an empty one asks for a ticket."""
    ticket = bytes(range(1, 200))
    assert ticket_of(hello(extension(1, b"\x04") + extension(35, ticket) + extension(23, b""))) == ticket
    assert ticket_of(hello(extension(35, b""))) == b""
    assert ticket_of(hello(extension(23, b""))) == b""
    assert ticket_of(hello(None)) == b""


def test_a_client_hello_that_is_cut_off_has_its_ticket_whole_or_not_at_all() -> None:
    whole = hello(extension(35, b"ticket"))
    assert {ticket_of(whole[:length]) for length in range(len(whole))} == {b""}


@given(st.binary(max_size=300))
def test_any_bytes_have_a_ticket_or_none(junk: bytes) -> None:
    assert ticket_of(junk) in junk
    assert ticket_of(hello()[:12] + junk) in junk
