"""Values of resources and where they stand: what every content format carries.

Source: LwM2M 1.0.2 TS Appendix C (data types). An unsigned integer (since 1.1) is an integer here; times,
object links and floats do not occur in the objects of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["RESOURCE_TYPES", "BadPayload", "Path", "Value", "ValueType", "Values", "is_of"]

Path = tuple[int, ...]
"""Object, object instance, resource: one to three numbers, 0 to 65535; () is the root."""
Value = str | int | bool | bytes
"""String, integer, Boolean, opaque."""
Values = Mapping[Path, Value]
"""Resources with their values, each under its whole path of three numbers."""


class BadPayload(Exception):  # noqa: N818 - the name says what the payload is, as in `except BadPayload`
    """A payload is not what its Content-Format says, or a value is not what its resource takes."""


class ValueType(StrEnum):
    """The type of a resource."""

    STRING = "a string"
    INTEGER = "an integer"
    BOOLEAN = "a Boolean"
    OPAQUE = "opaque"


_S, _I, _B, _O = ValueType.STRING, ValueType.INTEGER, ValueType.BOOLEAN, ValueType.OPAQUE

RESOURCE_TYPES: Mapping[tuple[int, int], ValueType] = {
    (0, 0): _S,
    (0, 1): _B,
    (0, 2): _I,
    (0, 3): _O,
    (0, 4): _O,
    (0, 5): _O,
    (0, 10): _I,
    (0, 11): _I,
    (0, 15): _I,
    (1, 0): _I,
    (1, 1): _I,
    (1, 6): _B,
    (1, 7): _S,
}
"""The resources that we write or read, by object and resource number (LwM2M 1.1 core, Appendix E.1, E.2)."""


def is_of(value: object, kind: ValueType) -> bool:
    """Whether `value` is of this type. A Boolean is no integer, although Python takes it for one."""
    match kind:
        case ValueType.STRING:
            return isinstance(value, str)
        case ValueType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case ValueType.BOOLEAN:
            return isinstance(value, bool)
        case ValueType.OPAQUE:
            return isinstance(value, bytes)
