"""Resources in TLV: the entries of `lwm2m.tlv` as typed values.

Source: LwM2M 1.0.2 TS §6.4.3 and Appendix C: integers are signed, big-endian, of 1, 2, 4 or 8 bytes; a
Boolean is one byte, 0 or 1; strings are UTF-8. A payload has no types, so those of the resources decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.values import RESOURCE_TYPES, BadPayload, Path, Value, Values, ValueType

__all__ = ["decode", "encode"]

_INTEGER_SIZES = (1, 2, 4, 8)


def encode(path: Path, values: Values) -> bytes:
    """Bare resources: what is written to one object instance, or to one resource of it.

    Raises ValueError for another path, since TLV has no place for an object's number.
    """
    if not 2 <= len(path) <= 3:
        raise ValueError("TLV is written to an object instance or to a resource")
    return tlv.encode([tlv.Resource(place[2], _to_bytes(value)) for place, value in values.items()])


def decode(path: Path, payload: bytes) -> dict[Path, Value]:
    """Values by their paths: of object instances, or of bare resources where `path` names an instance.

    What is not known, a multiple resource for instance, is left out. Raises BadPayload.
    """
    if not path:
        raise BadPayload("TLV cannot be about several objects")
    values: dict[Path, Value] = {}
    entries = tlv.decode(payload)
    for entry in entries:
        if isinstance(entry, tlv.ObjectInstance):
            values.update(_resources((path[0], entry.id), entry.resources))
    bare = [entry for entry in entries if not isinstance(entry, tlv.ObjectInstance)]
    if bare and len(path) < 2:
        raise BadPayload("resources without an object instance")
    values.update(_resources((path[0], path[1]), bare) if bare else {})
    return values


def _resources(instance: Path, resources: Sequence[tlv.Resource | tlv.MultipleResource]) -> dict[Path, Value]:
    values: dict[Path, Value] = {}
    for resource in resources:
        kind = RESOURCE_TYPES.get((instance[0], resource.id))
        if kind is None:
            continue
        if isinstance(resource, tlv.MultipleResource):
            raise BadPayload(f"resource {resource.id} has a single instance")
        values[*instance, resource.id] = _to_value(resource.value, kind)
    return values


def _to_bytes(value: Value) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
        case bool():
            return b"\x01" if value else b"\x00"
        case int():
            for size in _INTEGER_SIZES:
                if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
                    return value.to_bytes(size, "big", signed=True)
            raise ValueError(f"{value} does not fit 64 bits")


def _to_value(raw: bytes, kind: ValueType) -> Value:
    match kind:
        case ValueType.OPAQUE:
            return raw
        case ValueType.STRING:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                raise BadPayload("a string is not UTF-8") from None
        case ValueType.BOOLEAN:
            if raw not in (b"\x00", b"\x01"):
                raise BadPayload("a Boolean is not one byte of 0 or 1")
            return raw == b"\x01"
        case ValueType.INTEGER:
            if len(raw) not in _INTEGER_SIZES:
                raise BadPayload(f"an integer has {len(raw)} bytes, not 1, 2, 4 or 8")
            return int.from_bytes(raw, "big", signed=True)
