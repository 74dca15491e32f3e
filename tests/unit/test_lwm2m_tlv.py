"""TLV against the specification's own examples, its size steps, and everything that is not TLV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftc_core.limits import COAP_BODY_MAX_BYTES
from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.tlv import BadTlv, MultipleResource, ObjectInstance, Resource, ResourceInstance

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lwm2m_tlv.json").read_text())


def entry(kind: str, identifier: int, content: Any) -> Any:
    match kind:
        case "resource":
            return Resource(identifier, bytes.fromhex(content))
        case "resource instance":
            return ResourceInstance(identifier, bytes.fromhex(content))
        case "multiple resource":
            return MultipleResource(identifier, tuple(entry(*inner) for inner in content))
        case "object instance":
            return ObjectInstance(identifier, tuple(entry(*inner) for inner in content))
    raise AssertionError(kind)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_an_example_of_the_specification_decodes_to_its_values_and_encodes_to_its_bytes(vector: Any) -> None:
    payload = bytes.fromhex(vector["hex"])
    entries = tuple(entry(*written) for written in vector["entries"])
    assert tlv.decode(payload) == entries
    assert tlv.encode(entries) == payload


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda vector: vector["name"])
def test_a_malformed_vector_is_refused(vector: Any) -> None:
    with pytest.raises(BadTlv):
        tlv.decode(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize(
    ("identifier", "size", "header"),
    [
        (0, 0, "c000"),
        (255, 7, "c7ff"),
        (256, 7, "e70100"),
        (65535, 8, "e8ffff08"),
        (3, 8, "c80308"),
        (3, 255, "c803ff"),
        (3, 256, "d0030100"),
        (3, 65535, "d003ffff"),
        (3, 65536, "d803010000"),
    ],
)
def test_identifier_and_length_take_their_shortest_form(identifier: int, size: int, header: str) -> None:
    assert tlv.encode([Resource(identifier, bytes(size))]) == bytes.fromhex(header) + bytes(size)


def test_longer_forms_than_needed_are_accepted() -> None:
    assert tlv.decode(bytes.fromhex("e80003 01 41")) == (Resource(3, b"A"),)
    assert tlv.decode(bytes.fromhex("d8 03 000001 41")) == (Resource(3, b"A"),)


def test_the_length_bits_of_the_type_byte_mean_nothing_beside_a_length_field() -> None:
    assert tlv.decode(bytes.fromhex("cf 03 01 41")) == (Resource(3, b"A"),)


def test_an_empty_payload_has_no_entries() -> None:
    assert tlv.decode(b"") == ()
    assert tlv.encode(()) == b""


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("c1", "ends within a header"),
        ("e100", "ends within a header"),
        ("d80300ff", "ends within a header"),
        ("c203aa", "says 2 bytes, 1 are left"),
        ("d803ffffff00", "says 16777215 bytes, 1 are left"),
        ("c10001c10002", "identifier 0 occurs twice in the payload"),
        ("c1000183004100 01", "identifier 0 occurs twice in the payload"),
        ("0000c10101", "mixes object instances and resources"),
        ("410001", "resource_instance may not stand in the payload"),
        ("03000000 00", "object_instance may not stand in object instance 0"),
        ("0300410001", "resource_instance may not stand in object instance 0"),
        ("8305c10001", "resource may not stand in multiple resource 5"),
        ("0500 8305 830000", "multiple_resource may not stand in multiple resource 5"),
        ("0300c20001", "entry 0 in object instance 0 says 2 bytes, 1 are left"),
    ],
)
def test_what_is_not_tlv_is_refused_with_its_place(payload: str, text: str) -> None:
    with pytest.raises(BadTlv, match=text):
        tlv.decode(bytes.fromhex(payload))


def test_a_payload_above_the_body_limit_is_refused_unread() -> None:
    whole = tlv.encode([Resource(0, bytes(COAP_BODY_MAX_BYTES - 4))])
    assert len(whole) == COAP_BODY_MAX_BYTES
    assert tlv.decode(whole) == (Resource(0, bytes(COAP_BODY_MAX_BYTES - 4)),)
    with pytest.raises(BadTlv, match="more than"):
        tlv.decode(whole + b"\x00")


def test_what_does_not_fit_the_format_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="identifier 65536"):
        tlv.encode([Resource(65536, b"")])
    with pytest.raises(ValueError, match="identifier -1"):
        tlv.encode([Resource(-1, b"")])
    with pytest.raises(ValueError, match="longer than 16777215"):
        tlv.encode([Resource(0, bytes(1 << 24))])


def test_a_value_that_may_be_a_key_is_not_in_the_repr() -> None:
    assert "secret" not in repr(ObjectInstance(0, (Resource(5, b"secret"),)))
