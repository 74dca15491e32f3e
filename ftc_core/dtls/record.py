"""The little that we read of the DTLS record layer ourselves (RFC 6347 §4.1); the rest is OpenSSL's.

Three needs: OpenSSL's memory BIO gives a whole flight as one blob, which must leave as datagrams; an epoch-0
ClientHello must be told from other records before there is any state; and a retransmitted ClientHello must
be recognised. Input may be hostile: only `BadRecord` leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ALERT",
    "DATAGRAM_PROCESSED_MAX_BYTES",
    "HEADER_BYTES",
    "BadRecord",
    "client_hello_message",
    "cut_flight",
    "is_application_data",
    "is_client_hello",
    "is_one_record",
    "is_plaintext",
    "is_plaintext_handshake",
    "pack_datagrams",
    "split_records",
]

HEADER_BYTES = 13
"""type 1, version 2, epoch 2, sequence number 6, length 2 (RFC 6347 §4.1)."""
DATAGRAM_PROCESSED_MAX_BYTES = HEADER_BYTES + 2**14
"""Larger datagrams are dropped, by the gate and by associations. A memory BIO is a byte stream, and
`DTLSv1_listen` takes at most this much of it per call: the rest of a larger datagram would stand in front of
the next one. No record of a CoAP session comes near it."""

ALERT = 21
_HANDSHAKE = 22
_APPLICATION_DATA = 23
_CLIENT_HELLO = 1
_VERSION_MAJOR = 0xFE
_EPOCH_0 = b"\x00\x00"
_FRAGMENT_OFFSET = slice(HEADER_BYTES + 6, HEADER_BYTES + 9)
_OFFSET_0 = b"\x00\x00\x00"
_HANDSHAKE_HEADER_BYTES = 12
"""msg_type 1, length 3, message_seq 2, fragment_offset 3, fragment_length 3 (RFC 6347 §4.2.2)."""


class BadRecord(ValueError):  # noqa: N818 - it names the input, as h11 and trio name theirs
    """The bytes are not a sequence of whole DTLS records, or not the record that was asked for."""


def split_records(blob: bytes) -> list[bytes]:
    """The records of `blob`, headers included, in order. Raises BadRecord if a part remains."""
    records = []
    start = 0
    while start < len(blob):
        end = _record_end(blob, start)
        records.append(blob[start:end])
        start = end
    return records


def pack_datagrams(records: Iterable[bytes], mtu: int) -> list[bytes]:
    """Put whole records, in order, into as few datagrams of at most `mtu` bytes as that order allows.

    A record may not span datagrams (RFC 6347 §4.1.1); one that is larger than `mtu` goes alone.
    """
    datagrams: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for record in records:
        if waiting and size + len(record) > mtu:
            datagrams.append(b"".join(waiting))
            waiting, size = [], 0
        waiting.append(record)
        size += len(record)
    if waiting:
        datagrams.append(b"".join(waiting))
    return datagrams


def cut_flight(flight: bytes, mtu: int) -> list[bytes]:
    """The datagrams of a flight that OpenSSL has written as one blob of whole records."""
    return [flight] if 0 < len(flight) <= mtu else pack_datagrams(split_records(flight), mtu)


def is_one_record(datagram: bytes) -> bool:
    """Whether a datagram is one whole record and nothing else."""
    return len(datagram) >= HEADER_BYTES and _record_length(datagram, 0) == len(datagram) - HEADER_BYTES


def is_plaintext(record: bytes) -> bool:
    """Whether a record's header says epoch 0: sent before any ChangeCipherSpec (RFC 6347 §4.1)."""
    return record[3:5] == _EPOCH_0


def is_plaintext_handshake(datagram: bytes) -> bool:
    """Whether a datagram begins with the header of an epoch-0 handshake record."""
    return (
        len(datagram) >= HEADER_BYTES
        and datagram[0] == _HANDSHAKE
        and datagram[1] == _VERSION_MAJOR
        and is_plaintext(datagram)
    )


def is_application_data(datagram: bytes) -> bool:
    """Whether a datagram begins with the header of an encrypted record of application data."""
    return (
        len(datagram) > HEADER_BYTES
        and datagram[0] == _APPLICATION_DATA
        and datagram[1] == _VERSION_MAJOR
        and not is_plaintext(datagram)
    )


def is_client_hello(datagram: bytes) -> bool:
    """Whether a datagram begins with an epoch-0 ClientHello, or its first fragment, of any DTLS version.

    Reads the headers only: what follows them may still be nonsense. A later fragment (RFC 6347 §4.2.3) is
    none: it belongs to the association that the first one made.
    """
    return (
        len(datagram) >= HEADER_BYTES + _HANDSHAKE_HEADER_BYTES
        and is_plaintext_handshake(datagram)
        and datagram[HEADER_BYTES] == _CLIENT_HELLO
        and datagram[_FRAGMENT_OFFSET] == _OFFSET_0
    )


def client_hello_message(datagram: bytes) -> bytes:
    """The handshake message (or first fragment) of the ClientHello that a datagram begins with.

    Without the record header, whose sequence number a retransmission changes (RFC 6347 §4.2.4): a
    retransmitted ClientHello gives the same bytes, another one other bytes. Raises BadRecord if the datagram
    does not begin with a whole epoch-0 record that holds a ClientHello.
    """
    if not is_client_hello(datagram):
        raise BadRecord("not a ClientHello")
    return datagram[HEADER_BYTES : _record_end(datagram, 0)]


def _record_end(blob: bytes, start: int) -> int:
    body = start + HEADER_BYTES
    if body > len(blob):
        raise BadRecord(f"{len(blob) - start} bytes are less than a record header")
    end = body + _record_length(blob, start)
    if end > len(blob):
        raise BadRecord(f"record of {end - start} bytes, {len(blob) - start} present")
    return end


def _record_length(blob: bytes, start: int) -> int:
    return int.from_bytes(blob[start + HEADER_BYTES - 2 : start + HEADER_BYTES], "big")
