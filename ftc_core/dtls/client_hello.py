"""The three things that we read of a ClientHello's body: its cookie, its session ticket, and the record size
that a small device asks for.

The cookie is read to tell, before OpenSSL gets to work, whose ClientHello is worth it; whether it is good is
then OpenSSL's to ask (`cookie`). The ticket is read for the name of its keys; to open it is OpenSSL's.

OpenSSL grants the maximum_fragment_length extension (RFC 6066 §4) by itself, refuses from then on to send
more in one record, and has no way (from Python) to say what it granted. It grants whatever legal value is
asked for, so what is asked for is what holds. The input is a peer's: any bytes give an answer, none raises.
"""

from __future__ import annotations

__all__ = ["LEAST_RECORD_BYTES", "asked_record_limit", "cookie_of", "ticket_of"]

LEAST_RECORD_BYTES = 512
"""The smallest that can be asked for; taken for a ClientHello of which only a fragment is known."""

_MESSAGE_HEADER_BYTES = 12  # msg_type 1, length 3, message_seq 2, fragment_offset 3, fragment_length 3
_VERSION_AND_RANDOM_BYTES = 34
_MAX_FRAGMENT_LENGTH = 1
_SESSION_TICKET = 35
_LIMITS = {1: 512, 2: 1_024, 3: 2_048, 4: 4_096}


class _Truncated(Exception):  # noqa: N818 - it never leaves this module
    """The bytes end before what they announce."""


def asked_record_limit(client_hello: bytes) -> int | None:
    """Bytes of plaintext in one record that a ClientHello asks for at most; None if it asks for no limit.

    `client_hello` is a handshake message with its header (`record.client_hello_message`), or its first
    fragment: what is cut off may have asked for the least.
    """
    try:
        content = _extension(client_hello, _MAX_FRAGMENT_LENGTH)
    except _Truncated:
        return LEAST_RECORD_BYTES
    return _LIMITS.get(content[0]) if content is not None and len(content) == 1 else None


def cookie_of(client_hello: bytes) -> bytes:
    """The cookie in a ClientHello (RFC 6347 §4.2.1), b"" if there is none. `client_hello` as above."""
    try:
        _, at = _vector(client_hello, _MESSAGE_HEADER_BYTES + _VERSION_AND_RANDOM_BYTES, 1)  # session_id
        return _vector(client_hello, at, 1)[0]
    except _Truncated:
        return b""


def ticket_of(client_hello: bytes) -> bytes:
    """The session ticket in a ClientHello (RFC 5077 §3.2), b"" if there is none. `client_hello` as above."""
    try:
        return _extension(client_hello, _SESSION_TICKET) or b""
    except _Truncated:
        return b""


def _extension(client_hello: bytes, wanted: int) -> bytes | None:
    """The content of the extension of that type (RFC 5246 §7.4.1.4), None if it is not there."""
    at = _MESSAGE_HEADER_BYTES + _VERSION_AND_RANDOM_BYTES
    for length_bytes in (1, 1, 2, 1):  # session_id, cookie, cipher_suites, compression_methods
        _, at = _vector(client_hello, at, length_bytes)
    if at == len(client_hello):
        return None  # no extensions at all
    extensions, _ = _vector(client_hello, at, 2)
    at = 0
    while at < len(extensions):
        kind = extensions[at : at + 2]
        content, at = _vector(extensions, at + 2, 2)
        if int.from_bytes(kind, "big") == wanted:
            return content
    return None


def _vector(data: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """A vector (RFC 5246 §4.3) at `at`, and where the next thing begins."""
    start = at + length_bytes
    end = start + int.from_bytes(data[at:start], "big")
    if max(start, end) > len(data):
        raise _Truncated
    return data[start:end], end
