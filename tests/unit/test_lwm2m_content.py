"""The content formats of writes, reads and packs: the specifications' bytes, every kind of bad payload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from ftc_core.lwm2m import content, lwm2m_cbor, senml
from ftc_core.lwm2m.values import BadPayload

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lwm2m_content.json").read_text())
DECODERS = {110: senml.decode_json, 112: senml.decode_cbor, 11544: lwm2m_cbor.decode}
URI, FLAG, KEY, MODE = (0, 1, 0), (0, 1, 1), (0, 1, 5), (0, 1, 2)
ACCOUNT = {URI: "coaps://é", FLAG: False, MODE: 2, KEY: b"\xfb\xff"}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_specifications_examples_are_understood(vector: dict[str, Any]) -> None:
    payload = vector["text"].encode() if "text" in vector else bytes.fromhex(vector["hex"])
    values = DECODERS[vector["format"]](payload)
    assert {"/" + "/".join(map(str, path)): as_json(value) for path, value in values.items()} == vector[
        "values"
    ]


def as_json(value: object) -> object:
    """JSON has no bytes."""
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


# --- what we write -----------------------------------------------------------------------------------


def test_an_instance_in_tlv() -> None:
    # LwM2M 1.0 TS §6.4.3.2 C), without the object instance's own header
    server = {(1, 0, 0): 1, (1, 0, 1): 86_400, (1, 0, 6): True, (1, 0, 7): "U"}
    payload = content.encode(11542, (1, 0), server)
    assert payload == bytes.fromhex("C10001C40100015180C10601C10755")
    assert payload == content.encode(99, (1, 0), server)


def test_an_instance_in_senml_json() -> None:
    assert json.loads(content.encode(110, (0, 1), ACCOUNT)) == [
        {"bn": "/0/1/", "n": "0", "vs": "coaps://é"},
        {"n": "1", "vb": False},
        {"n": "2", "v": 2},
        {"n": "5", "vd": "-_8"},
    ]


def test_an_instance_in_senml_cbor() -> None:
    assert cbor2.loads(content.encode(112, (0, 1), ACCOUNT)) == [
        {-2: "/0/1/", 0: "0", 3: "coaps://é"},
        {0: "1", 4: False},
        {0: "2", 2: 2},
        {0: "5", 8: b"\xfb\xff"},
    ]


def test_an_instance_in_lwm2m_cbor() -> None:
    assert cbor2.loads(content.encode(11544, (0, 1), ACCOUNT)) == {
        0: {1: {0: "coaps://é", 1: False, 2: 2, 5: b"\xfb\xff"}}
    }


def test_each_instance_of_a_pack_has_its_base_name() -> None:
    names = [record.get("bn") for record in json.loads(content.encode(110, (), {**ACCOUNT, (1, 0, 0): 7}))]
    assert names == ["/0/1/", None, None, None, "/1/0/"]


@pytest.mark.parametrize("path", [(), (0,), (0, 1, 0, 0)])
def test_tlv_has_no_place_for_an_objects_number(path: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="TLV is written to"):
        content.encode(11542, path, ACCOUNT)


def test_an_unknown_format_is_not_written() -> None:
    with pytest.raises(ValueError, match="60 is not supported"):
        content.encode(60, (0, 1), ACCOUNT)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "0080"),
        (-128, "80"),
        (32_768, "00008000"),
        (2_147_483_647, "7fffffff"),
        (4_294_967_295, "00000000ffffffff"),
    ],
)
def test_integers_in_tlv_are_signed_in_the_least_of_1_2_4_8_bytes(value: int, encoded: str) -> None:
    payload = content.encode(11542, (1, 0, 1), {(1, 0, 1): value})
    assert payload[-len(encoded) // 2 :].hex() == encoded
    assert content.decode(11542, (1, 0), payload) == {(1, 0, 1): value}


def test_an_integer_beyond_64_bits_is_not_written_in_tlv() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        content.encode(11542, (1, 0), {(1, 0, 1): 1 << 63})


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "payload", "text"),
    [
        ((0, 0), b"\xc1\x00\xff", "not UTF-8"),
        ((0, 0), b"\xc0\x01", "not one byte"),
        ((0, 0), b"\xc1\x01\x02", "not one byte"),
        ((0, 0), b"\xc0\x02", "has 0 bytes"),
        ((0, 0), b"\xc3\x0a\x00\x00\x01", "has 3 bytes"),
        ((0, 0), b"\x82\x03\x40\x00", "resource 3 has a single instance"),
        ((0, 0), b"\xc8", "ends within a header"),
        ((0,), b"\xc1\x0a\x01", "without an object instance"),
        ((), b"\xc1\x0a\x01", "several objects"),
        ((0, 1), b"\x03\x00\xc1\x0a\x01", "/0/0/10 is not below /0/1"),
    ],
)
def test_bad_tlv(path: tuple[int, ...], payload: bytes, text: str) -> None:
    with pytest.raises(BadPayload, match=text):
        content.decode(11542, path, payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 10_000, "not JSON"),
        (b"{}", "array of maps"),
        (b"[1]", "array of maps"),
        (b'[{"n":"/0/0/2","v":2,"vs":"2"}]', "two values"),
        (b'[{"n":"/0/0/2","v":2},{"n":"/0/0/2","v":2}]', "twice"),
        (b'[{"n":"/0/0/2","v":2.5}]', "not an integer"),
        (b'[{"n":"/0/0/2","v":true}]', "not an integer"),
        (b'[{"n":"/0/0/2","v":NaN}]', "not an integer"),
        (b'[{"n":"/0/0/2","v":1e999}]', "not an integer"),
        (b'[{"n":"/0/0/2","v":2,"bv":"x"}]', "not an integer"),
        (b'[{"n":"0/0/2","v":2}]', "not the path"),
        (b'[{"n":"/0/0","v":2}]', "not the path"),
        (b'[{"n":"/0/0/0/0/0","v":2}]', "not the path"),
        (b'[{"n":"/0/x/2","v":2}]', "not the path"),
        (b'[{"n":"/0/99999/2","v":2}]', "too large"),
        (b'[{"n":7,"v":2}]', "not text"),
        (b'[{"bn":7,"n":"2","v":2}]', "not text"),
        (b'[{"n":"/0/0/5","vd":"*"}]', "not base64"),
        (b'[{"n":"/0/0/5","vd":"\xc3\xa9"}]', "not base64"),
        (b'[{"n":"/0/0/5","vd":5}]', "not text"),
        (b'[{"n":"/0/0/2","v":2,"must_":1}]', "must be understood"),
        (b'[{"bver":11,"n":"/0/0/2","v":2}]', "another version"),
        (b'[{"n":"/0/0/2","vs":"2"}]', "/0/0/2 is not an integer"),
        (b'[{"n":"/1/0/0","v":2}]', "/1/0/0 is not below /0/0"),
    ],
)
def test_bad_senml(payload: bytes, text: str) -> None:
    with pytest.raises(BadPayload, match=text):
        content.decode(110, (0, 0), payload)


@pytest.mark.parametrize(
    ("pack", "text"),
    [
        ({}, "array of maps"),
        ([[1]], "array of maps"),
        ([{0: "/0/0/2", 3: b"2"}], "/0/0/2 is not an integer"),
        ([{0: "/0/0/5", 8: "text"}], "/0/0/5 is not opaque"),
        ([{0: "/0/0/2", 2: 2, "x_": 1}], "must be understood"),
        ([{-1: 9, 0: "/0/0/2", 2: 2}], "another version"),
    ],
)
def test_bad_senml_cbor(pack: object, text: str) -> None:
    with pytest.raises(BadPayload, match=text):
        content.decode(112, (0, 0), cbor2.dumps(pack))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "not CBOR"),
        (b"\x81" * 15_000, "not CBOR"),
        (b"\x80", "is a map"),
        (cbor2.dumps({0: {0: 1}}), "not that of a resource"),
        (cbor2.dumps({0: {0: {0: {0: {0: 1}}}}}), "not part of a path"),
        (cbor2.dumps({0: {0: {"0": "x"}}}), "not part of a path"),
        (cbor2.dumps({0: {0: {True: "x"}}}), "not part of a path"),
        (cbor2.dumps({0: {-1: {0: "x"}}}), "not part of a path"),
        (cbor2.dumps({0: {65_536: {0: "x"}}}), "not part of a path"),
        (cbor2.dumps({(): {0: {0: {0: "x"}}}}), "not part of a path"),
        (cbor2.dumps({(0, 0): {0: "x"}, 0: {0: {0: "y"}}}), "twice"),
        (b"\xa1\x00\xd8\x1c\xa1\x00\xd8\x1d\x00", "not part of a path"),  # a map that contains itself
        (cbor2.dumps({0: {0: {0: 1}}}), "/0/0/0 is not a string"),
        (cbor2.dumps({1: {0: {0: 1}}}), "/1/0/0 is not below /0/0"),
    ],
)
def test_bad_lwm2m_cbor(payload: bytes, text: str) -> None:
    with pytest.raises(BadPayload, match=text):
        content.decode(11544, (0, 0), payload)


@pytest.mark.parametrize("content_format", [None, 0, 40, 60, 11543])
def test_an_unsupported_format_is_a_bad_payload(content_format: int | None) -> None:
    with pytest.raises(BadPayload, match="not supported"):
        content.decode(content_format, (0, 0), b"")


def test_more_than_a_body_is_a_bad_payload() -> None:
    with pytest.raises(BadPayload, match="more than"):
        content.decode(112, (0, 0), bytes(16 * 1024 + 1))


# --- what is tolerated -------------------------------------------------------------------------------


def test_senml_values_may_be_said_in_other_ways() -> None:
    payload = b'[{"bn":"/0/0","bv":1,"n":"/2","v":1.0,"t":3,"u":"x"},{"n":"/0","vs":"a","bver":10},{"bt":1}]'
    assert content.decode(110, (0, 0), payload) == {(0, 0, 2): 2, (0, 0, 0): "a"}


def test_unknown_resources_are_left_out() -> None:
    assert content.decode(110, (), b'[{"n":"/3/0/9","v":1},{"n":"/0/0/2/0","v":1}]') == {}
    assert content.decode(11542, (3, 0), b"\xc1\x0d\x01\x83\x06\x41\x01\x07") == {}
