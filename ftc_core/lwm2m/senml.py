"""SenML as LwM2M uses it, in JSON and in CBOR.

Sources: RFC 8428 (§4 for the fields, §5 for JSON, §6 for CBOR and its labels), LwM2M 1.1 TS core §7.4,
"SenML JSON" and "SenML CBOR": base name and name together are a resource's path, with its leading slash.
Each instance that we write has one base name, "/0/0/", which holds until the next. A field that a decoder
does not know is ignored, unless its name ends in "_", which refuses the whole pack (RFC 8428 §4.4).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

import cbor2

from ftc_core.lwm2m.values import BadPayload, Path, Value, Values

__all__ = ["decode_cbor", "decode_json", "encode_cbor", "encode_json"]

_LABELS: Mapping[str, int] = {"bn": -2, "bv": -5, "n": 0, "v": 2, "vs": 3, "vb": 4, "vd": 8}
"""The fields that matter here, by their names in JSON, with their labels in CBOR (RFC 8428 table 4)."""
_NAMES = {label: name for name, label in _LABELS.items()}
_VALUES = ("v", "vs", "vb", "vd")
_VERSION_LABEL, _VERSION = -1, 10
_NUMBER_MAX = 0xFFFF


def encode_json(values: Values) -> bytes:
    """SenML JSON; opaque values are base64 with URL-safe alphabet and no padding (RFC 8428 §4.3)."""
    pack = [
        {name: _base64(value) if name == "vd" else value for name, value in record.items()}
        for record in _records(values)
    ]
    return json.dumps(pack, separators=(",", ":"), ensure_ascii=False).encode()


def encode_cbor(values: Values) -> bytes:
    """SenML CBOR."""
    return cbor2.dumps(
        [{_LABELS[name]: value for name, value in record.items()} for record in _records(values)]
    )


def decode_json(payload: bytes) -> dict[Path, Value]:
    """Values by their paths. Raises BadPayload."""
    try:
        pack = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadPayload("not JSON") from error
    records = list(_maps(pack))
    for record in records:
        if "vd" in record:
            record["vd"] = _from_base64(record["vd"])
    return _values(records)


def decode_cbor(payload: bytes) -> dict[Path, Value]:
    """Values by their paths. Raises BadPayload."""
    try:
        pack = cbor2.loads(payload)
    except cbor2.CBORDecodeError as error:
        raise BadPayload("not CBOR") from error
    records = []
    for record in _maps(pack):
        version = record.pop(_VERSION_LABEL, _VERSION)
        records.append({_NAMES.get(label, label): value for label, value in record.items()})
        records[-1]["bver"] = version
    return _values(records)


def _records(values: Values) -> Iterable[dict[str, Value]]:
    base = ""
    for path, value in values.items():
        record: dict[str, Value] = {}
        wanted = f"/{path[0]}/{path[1]}/"
        if wanted != base:
            record["bn"] = base = wanted
        record["n"] = str(path[2])
        record[_field(value)] = value
        yield record


def _field(value: Value) -> str:
    match value:
        case bytes():
            return "vd"
        case str():
            return "vs"
        case bool():
            return "vb"
        case int():
            return "v"


def _maps(pack: object) -> Iterable[dict[Any, Any]]:
    if not isinstance(pack, list) or not all(isinstance(record, dict) for record in pack):
        raise BadPayload("SenML is an array of maps")
    return (dict(record) for record in pack)


def _values(records: Iterable[dict[Any, Any]]) -> dict[Path, Value]:
    values: dict[Path, Value] = {}
    base_name, base_value = "", 0
    for record in records:
        if any(isinstance(label, str) and label.endswith("_") for label in record):
            raise BadPayload("SenML has a field that must be understood")
        if record.get("bver", _VERSION) != _VERSION:
            raise BadPayload("SenML of another version")
        base_name = _text(record.get("bn", base_name))
        base_value = record.get("bv", base_value)
        present = [name for name in _VALUES if name in record]
        if not present:
            continue
        if len(present) > 1:
            raise BadPayload("a SenML record has two values")
        path = _path(base_name + _text(record.get("n", "")))
        if path in values:
            raise BadPayload("a resource occurs twice")
        value = record[present[0]]
        values[path] = _number(value, base_value) if present[0] == "v" else value
    return values


def _number(value: object, base: object) -> int:
    """An integer, which JSON and CBOR may also write as 3.0."""
    for number in (value, base):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number != number // 1:
            raise BadPayload("a SenML value is not an integer")
    return int(value) + int(base)  # type: ignore[call-overload, no-any-return]


def _path(name: str) -> Path:
    parts = name.split("/")
    if parts[0] or not 3 < len(parts) <= 5 or not all(p.isascii() and p.isdecimal() for p in parts[1:]):
        raise BadPayload("a SenML name is not the path of a resource")
    if any(len(part) > len(str(_NUMBER_MAX)) or int(part) > _NUMBER_MAX for part in parts[1:]):
        raise BadPayload("a SenML name has too large a number")
    return tuple(map(int, parts[1:]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadPayload("a SenML name is not text")
    return value


def _base64(value: Value) -> str:
    assert isinstance(value, bytes)  # noqa: S101 - `_field` put it under "vd"
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _from_base64(value: object) -> bytes:
    text = _text(value)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPayload("a SenML data value is not base64") from error
