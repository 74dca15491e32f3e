"""OMA LwM2M TLV: the binary format that carries object instances and resources.

Source: LwM2M 1.0.2 TS §6.4.3 (the same format is §7.4.4 of the 1.1 and 1.2 core specifications). One entry
is a type byte, an identifier of 8 or 16 bits, a length of 0, 8, 16 or 24 bits beside the three in the type
byte, and a value::

    bit 7-6  00 object instance   01 resource instance   10 multiple resource   11 resource
    bit 5    0: 8-bit identifier  1: 16-bit identifier
    bit 4-3  00: the length is in bits 2-0   01, 10, 11: it follows in 1, 2, 3 bytes
    bit 2-0  length, where bits 4-3 are 00 (else without meaning)

What may hold what is checked on the way in: a payload is object instances, or it is resources and multiple
resources; an object instance holds resources and multiple resources; a multiple resource holds resource
instances. (The answer to a read of one multiple resource, which puts resource instances at the top, is not
met here.) An identifier occurs once in its place. So the depth is three at most and decoding is linear in
the payload. Of a malformed payload only `BadTlv` leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from ftc_core.limits import COAP_BODY_MAX_BYTES
from ftc_core.lwm2m.values import BadPayload

__all__ = [
    "CONTENT_FORMAT",
    "LEGACY_CONTENT_FORMAT",
    "BadTlv",
    "Entry",
    "MultipleResource",
    "ObjectInstance",
    "Resource",
    "ResourceInstance",
    "decode",
    "encode",
]

CONTENT_FORMAT = 11542
"""CoAP Content-Format of application/vnd.oma.lwm2m+tlv (IANA)."""
LEGACY_CONTENT_FORMAT = 99
"""The number used for TLV before IANA assigned one; a widely used client still takes it."""

_IDENTIFIER_MAX = 0xFFFF
_LENGTH_MAX = 0xFF_FFFF
_WIDE_IDENTIFIER = 0b0010_0000


class BadTlv(BadPayload):
    """The payload is not TLV, or an entry stands where it may not; the text says what and where."""


class _Kind(IntEnum):
    """Bits 7-6 of the type byte."""

    OBJECT_INSTANCE = 0b00
    RESOURCE_INSTANCE = 0b01
    MULTIPLE_RESOURCE = 0b10
    RESOURCE = 0b11


@dataclass(frozen=True, slots=True)
class Resource:
    """A single-instance resource: identifier (0-65535) and value, which the repr hides: it may be a key."""

    id: int
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResourceInstance:
    """One instance of a multiple resource."""

    id: int
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MultipleResource:
    """A resource with any number of instances."""

    id: int
    instances: tuple[ResourceInstance, ...]


@dataclass(frozen=True, slots=True)
class ObjectInstance:
    """An object instance with its resources."""

    id: int
    resources: tuple[Resource | MultipleResource, ...]


Entry = ObjectInstance | Resource | MultipleResource
"""What may stand at the top of a payload."""

_TOP = frozenset({_Kind.OBJECT_INSTANCE, _Kind.MULTIPLE_RESOURCE, _Kind.RESOURCE})
_IN_OBJECT_INSTANCE = frozenset({_Kind.MULTIPLE_RESOURCE, _Kind.RESOURCE})
_IN_MULTIPLE_RESOURCE = frozenset({_Kind.RESOURCE_INSTANCE})


# --- encoding --------------------------------------------------------------------------------------


def encode(entries: Iterable[Entry]) -> bytes:
    """The payload that holds `entries`, in their order, each in its shortest form.

    Raises ValueError if an identifier is not 0-65535 or a value is longer than 2**24-1 bytes.
    """
    return b"".join(map(_encode_entry, entries))


def _encode_entry(entry: Entry | ResourceInstance) -> bytes:
    match entry:
        case Resource():
            return _frame(_Kind.RESOURCE, entry.id, entry.value)
        case ResourceInstance():
            return _frame(_Kind.RESOURCE_INSTANCE, entry.id, entry.value)
        case MultipleResource():
            return _frame(_Kind.MULTIPLE_RESOURCE, entry.id, b"".join(map(_encode_entry, entry.instances)))
        case ObjectInstance():
            return _frame(_Kind.OBJECT_INSTANCE, entry.id, b"".join(map(_encode_entry, entry.resources)))


def _frame(kind: _Kind, identifier: int, value: bytes) -> bytes:
    if not 0 <= identifier <= _IDENTIFIER_MAX:
        raise ValueError(f"identifier {identifier} is not 0 to {_IDENTIFIER_MAX}")
    length = len(value)
    if length <= 0b111:
        type_byte, length_field = kind << 6 | length, b""
    elif length <= _LENGTH_MAX:
        length_bytes = (length.bit_length() + 7) // 8
        type_byte, length_field = kind << 6 | length_bytes << 3, length.to_bytes(length_bytes, "big")
    else:
        raise ValueError(f"a value of {length} bytes is longer than {_LENGTH_MAX}")
    if identifier <= 0xFF:
        return bytes((type_byte, identifier)) + length_field + value
    return bytes((type_byte | _WIDE_IDENTIFIER,)) + identifier.to_bytes(2, "big") + length_field + value


# --- decoding --------------------------------------------------------------------------------------


def decode(payload: bytes) -> tuple[Entry, ...]:
    """The entries of `payload` (COAP_BODY_MAX_BYTES at most), in order. Raises BadTlv, and nothing else.

    An empty payload has no entries. Longer forms of identifier and length than needed are accepted, as the
    specification does not forbid them.
    """
    if len(payload) > COAP_BODY_MAX_BYTES:
        raise BadTlv(f"{len(payload)} bytes are more than {COAP_BODY_MAX_BYTES}")
    instances: list[Entry] = []
    resources: list[Entry] = []
    for kind, identifier, value in _entries(payload, _TOP, "the payload"):
        if kind is _Kind.OBJECT_INSTANCE:
            instances.append(ObjectInstance(identifier, _decode_resources(identifier, value)))
        else:
            resources.append(_decode_resource(kind, identifier, value))
    if instances and resources:
        raise BadTlv("the payload mixes object instances and resources")
    return tuple(instances or resources)


def _decode_resources(identifier: int, value: bytes) -> tuple[Resource | MultipleResource, ...]:
    place = f"object instance {identifier}"
    return tuple(_decode_resource(*entry) for entry in _entries(value, _IN_OBJECT_INSTANCE, place))


def _decode_resource(kind: _Kind, identifier: int, value: bytes) -> Resource | MultipleResource:
    if kind is _Kind.RESOURCE:
        return Resource(identifier, value)
    place = f"multiple resource {identifier}"
    entries = _entries(value, _IN_MULTIPLE_RESOURCE, place)
    return MultipleResource(
        identifier, tuple(ResourceInstance(entry, content) for _, entry, content in entries)
    )


def _entries(data: bytes, allowed: frozenset[_Kind], place: str) -> Iterator[tuple[_Kind, int, bytes]]:
    """The (kind, identifier, value) triples that lie side by side in `data`, every bound checked."""
    seen: set[int] = set()
    offset = 0
    while offset < len(data):
        type_byte = data[offset]
        kind = _Kind(type_byte >> 6)
        if kind not in allowed:
            raise BadTlv(f"{kind.name.lower()} may not stand in {place}")
        identifier_bytes = 2 if type_byte & _WIDE_IDENTIFIER else 1
        length_bytes = type_byte >> 3 & 0b11
        value_at = offset + 1 + identifier_bytes + length_bytes
        if value_at > len(data):
            raise BadTlv(f"{place} ends within a header")
        identifier = int.from_bytes(data[offset + 1 : offset + 1 + identifier_bytes], "big")
        if identifier in seen:
            raise BadTlv(f"identifier {identifier} occurs twice in {place}")
        seen.add(identifier)
        length = (
            int.from_bytes(data[value_at - length_bytes : value_at], "big")
            if length_bytes
            else type_byte & 0b111
        )
        offset = value_at + length
        if offset > len(data):
            raise BadTlv(
                f"entry {identifier} in {place} says {length} bytes, {len(data) - value_at} are left"
            )
        yield kind, identifier, data[value_at:offset]
