"""What every datagram asks of OpenSSL: bytes into a connection's memory BIOs, and out of them.

pyOpenSSL's methods for it look at what they are given, wrap it in a buffer, and ask for the connection's last
error whether or not there was one. These call the same functions of OpenSSL and nothing else. A failure goes
pyOpenSSL's way, and becomes the exception that its method would raise.
"""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

__all__ = ["read_flight", "read_plaintext", "write_datagram", "write_plaintext"]

_BUFFER_BYTES = 16_384
"""More than most flights that we send, and as much as a record can hold (RFC 6347 §4.1)."""

_new_buffer = ffi.new_allocator(should_clear_after_alloc=False)
"""What OpenSSL does not fill is not read. Not one buffer for all: OpenSSL's calls let other threads run."""


def write_datagram(connection: SSL.Connection, datagram: bytes) -> None:
    """Put a datagram before OpenSSL, as `bio_write` does."""
    if lib.BIO_write(connection._into_ssl, datagram, len(datagram)) <= 0:
        connection.bio_write(datagram)


def read_flight(connection: SSL.Connection) -> bytes:
    """All that OpenSSL has written since the last call, as one blob; empty if there is nothing."""
    room, flight = _new_buffer("char[]", _BUFFER_BYTES), b""
    # A read that is not filled has taken all there is.
    while (size := lib.BIO_read(connection._from_ssl, room, _BUFFER_BYTES)) > 0:
        flight += bytes(ffi.buffer(room, size))
        if size < _BUFFER_BYTES:
            break
    return flight


def read_plaintext(connection: SSL.Connection) -> bytes:
    """The content of the next record of application data.

    Raises as `recv` does: SSL.WantReadError if OpenSSL wants another datagram, SSL.ZeroReturnError after a
    close_notify, another SSL.Error if the connection failed.
    """
    room = _new_buffer("char[]", _BUFFER_BYTES)
    size = lib.SSL_read(connection._ssl, room, _BUFFER_BYTES)
    if size <= 0:
        connection._raise_ssl_error(connection._ssl, size)
    return bytes(ffi.buffer(room, max(size, 0)))


def write_plaintext(connection: SSL.Connection, plaintext: bytes) -> None:
    """Encrypt one record. Raises SSL.Error."""
    size = lib.SSL_write(connection._ssl, plaintext, len(plaintext))
    if size <= 0:
        connection._raise_ssl_error(connection._ssl, size)
