"""LwM2M CBOR: nested maps whose keys are the numbers of object, object instance and resource.

Source: LwM2M 1.2 TS core §7.4, "LwM2M CBOR". A key is a number, or an array of numbers that shortens a
chain of maps with one entry each, `{[0, 1, 0]: value}` for `{0: {1: {0: value}}}`. We write the plain form
and take both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cbor2

from ftc_core.lwm2m.values import BadPayload, Path, Value, Values

__all__ = ["CONTENT_FORMAT", "decode", "encode"]

CONTENT_FORMAT = 11544
"""CoAP Content-Format of application/vnd.oma.lwm2m+cbor (IANA)."""

_DEPTH_MAX = 4
_NUMBER_MAX = 0xFFFF


def encode(values: Values) -> bytes:
    """The map of objects that holds `values`."""
    objects: dict[int, dict[int, dict[int, Value]]] = {}
    for path, value in values.items():
        objects.setdefault(path[0], {}).setdefault(path[1], {})[path[2]] = value
    return cbor2.dumps(objects)


def decode(payload: bytes) -> dict[Path, Value]:
    """Values by their paths; those of resource instances have a path of four numbers. Raises BadPayload."""
    try:
        objects = cbor2.loads(payload)
    except cbor2.CBORDecodeError as error:
        raise BadPayload("not CBOR") from error
    if not isinstance(objects, dict):
        raise BadPayload("LwM2M CBOR is a map")
    values: dict[Path, Value] = {}
    for path, value in _leaves((), objects):
        if path in values:
            raise BadPayload("a resource occurs twice")
        values[path] = value
    return values


def _leaves(above: Path, node: dict[Any, Any]) -> Iterator[tuple[Path, Any]]:
    """Every value that is not a map, and its path. A path is bounded, so what refers to itself ends, too."""
    for key, value in node.items():
        path = above + (key if isinstance(key, tuple) else (key,))
        if not len(above) < len(path) <= _DEPTH_MAX or not all(_is_number(part) for part in path):
            raise BadPayload("a key of LwM2M CBOR is not part of a path")
        if isinstance(value, dict):
            yield from _leaves(path, value)
        elif len(path) < 3:
            raise BadPayload("a value of LwM2M CBOR is not that of a resource")
        else:
            yield path, value


def _is_number(part: object) -> bool:
    return isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= _NUMBER_MAX
