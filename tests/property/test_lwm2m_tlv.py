"""TLV for all values and all bytes."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.tlv import BadTlv, Entry, MultipleResource, ObjectInstance, Resource, ResourceInstance

IDENTIFIERS = st.integers(0, 0xFFFF) | st.integers(0, 4)
VALUES = st.binary(max_size=20) | st.integers(250, 300).map(bytes)


def distinct(entries: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(entries, max_size=4, unique_by=lambda entry: entry.id).map(tuple)  # type: ignore[attr-defined]


RESOURCES = distinct(
    st.builds(Resource, IDENTIFIERS, VALUES)
    | st.builds(MultipleResource, IDENTIFIERS, distinct(st.builds(ResourceInstance, IDENTIFIERS, VALUES)))
)
PAYLOADS = RESOURCES | distinct(st.builds(ObjectInstance, IDENTIFIERS, RESOURCES))


@given(PAYLOADS)
def test_what_is_encoded_is_decoded(entries: tuple[Entry, ...]) -> None:
    assert tlv.decode(tlv.encode(entries)) == entries


@given(st.binary(max_size=200))
@example(b"\xd8\x00\xff\xff\xff")
def test_any_bytes_are_entries_or_bad_tlv(payload: bytes) -> None:
    try:
        entries = tlv.decode(payload)
    except BadTlv:
        return
    # What was accepted means the same in its shortest form, which is never longer.
    shortest = tlv.encode(entries)
    assert tlv.decode(shortest) == entries
    assert len(shortest) <= len(payload)


@given(PAYLOADS, st.data())
def test_a_damaged_payload_is_entries_or_bad_tlv(entries: tuple[Entry, ...], data: st.DataObject) -> None:
    payload = bytearray(tlv.encode(entries))
    if payload:
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    del payload[data.draw(st.integers(0, len(payload))) :]
    with contextlib.suppress(BadTlv):
        tlv.decode(bytes(payload))
