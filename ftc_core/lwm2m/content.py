"""The content formats of Bootstrap-Write, Bootstrap-Read and Bootstrap-Pack: one table, one way in, one out.

Sources: LwM2M 1.2 TS core §7.4 (data formats for transferring resource information), IANA's CoAP
Content-Formats registry for the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ftc_core.limits import COAP_BODY_MAX_BYTES
from ftc_core.lwm2m import lwm2m_cbor, resource_tlv, senml, tlv
from ftc_core.lwm2m.values import RESOURCE_TYPES, BadPayload, Path, Value, Values, is_of

__all__ = ["PACK_FORMATS", "SENML_CBOR", "SENML_JSON", "SUPPORTED_FORMATS", "decode", "encode"]

SENML_JSON = 110
"""application/senml+json (RFC 8428)."""
SENML_CBOR = 112
"""application/senml+cbor (RFC 8428)."""


@dataclass(frozen=True, slots=True)
class _Codec:
    encode: Callable[[Path, Values], bytes]
    decode: Callable[[Path, bytes], Mapping[Path, object]]


_TLV = _Codec(resource_tlv.encode, resource_tlv.decode)
_CODECS: Mapping[int, _Codec] = {
    tlv.CONTENT_FORMAT: _TLV,
    tlv.LEGACY_CONTENT_FORMAT: _TLV,
    SENML_JSON: _Codec(lambda _, values: senml.encode_json(values), lambda _, p: senml.decode_json(p)),
    SENML_CBOR: _Codec(lambda _, values: senml.encode_cbor(values), lambda _, p: senml.decode_cbor(p)),
    lwm2m_cbor.CONTENT_FORMAT: _Codec(
        lambda _, values: lwm2m_cbor.encode(values), lambda _, p: lwm2m_cbor.decode(p)
    ),
}

SUPPORTED_FORMATS = frozenset(_CODECS)
"""What `pct` may ask for."""
PACK_FORMATS = frozenset({SENML_JSON, SENML_CBOR, lwm2m_cbor.CONTENT_FORMAT})
"""What a Bootstrap-Pack may have (LwM2M 1.2 TS transport, its table of the bootstrap operations)."""


def encode(content_format: int, path: Path, values: Values) -> bytes:
    """The payload that writes `values`, all of them below `path`.

    Raises ValueError for a format that is not supported, a value that cannot be encoded, and for TLV with a
    path that is not that of one object instance or one resource.
    """
    codec = _CODECS.get(content_format)
    if codec is None:
        raise ValueError(f"content format {content_format} is not supported")
    return codec.encode(path, values)


def decode(content_format: int | None, path: Path, payload: bytes) -> dict[Path, Value]:
    """The values in a payload (COAP_BODY_MAX_BYTES at most) that came for `path`.

    Resources that are unknown here are left out. Raises BadPayload, and nothing else, if the payload is not
    of its format, a value not of its resource's type, or a path not below `path`.
    """
    codec = None if content_format is None else _CODECS.get(content_format)
    if codec is None:
        raise BadPayload("Content-Format is not supported")
    if len(payload) > COAP_BODY_MAX_BYTES:
        raise BadPayload(f"{len(payload)} bytes are more than {COAP_BODY_MAX_BYTES}")
    values: dict[Path, Value] = {}
    for place, value in codec.decode(path, payload).items():
        if place[: len(path)] != path:
            raise BadPayload(f"{_text(place)} is not below {_text(path)}")
        kind = RESOURCE_TYPES.get((place[0], place[2])) if len(place) == 3 else None
        if kind is None:
            continue
        if not is_of(value, kind):
            raise BadPayload(f"{_text(place)} is not {kind}")
        assert isinstance(value, (str, int, bytes))  # noqa: S101 - `is_of` has seen to it
        values[place] = value
    return values


def _text(path: Path) -> str:
    return "/" + "/".join(map(str, path))
