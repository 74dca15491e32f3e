"""Every content format for all values and all bytes; the answer to Discover for all bytes."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import parse_discovered
from ftc_core.lwm2m.links import BadLinks
from ftc_core.lwm2m.values import RESOURCE_TYPES, BadPayload, Values, ValueType, is_of

NUMBERS = st.integers(0, 0xFFFF) | st.integers(0, 2)
VALUES_BY_TYPE = {
    ValueType.STRING: st.text(max_size=12),
    ValueType.INTEGER: st.integers(-(1 << 63), (1 << 63) - 1),
    ValueType.BOOLEAN: st.booleans(),
    ValueType.OPAQUE: st.binary(max_size=40),
}


@st.composite
def any_values(draw: st.DrawFn, instances: int) -> Values:
    """Resources that are known, of up to so many object instances."""
    places = draw(
        st.lists(st.tuples(st.sampled_from([0, 1]), NUMBERS), min_size=1, max_size=instances, unique=True)
    )
    resources = st.lists(st.sampled_from(sorted(RESOURCE_TYPES)), max_size=6, unique=True)
    return {
        (*place, resource): draw(VALUES_BY_TYPE[RESOURCE_TYPES[object_id, resource]])
        for place in places
        for object_id, resource in draw(resources)
        if object_id == place[0]
    }


@given(st.sampled_from(sorted(content.SUPPORTED_FORMATS)), any_values(1))
def test_what_is_written_to_an_instance_is_understood(content_format: int, values: Values) -> None:
    path = next(iter(values))[:2] if values else (0, 0)
    assert content.decode(content_format, path, content.encode(content_format, path, values)) == values


@given(st.sampled_from(sorted(content.SUPPORTED_FORMATS)), any_values(1))
def test_what_is_written_to_a_resource_is_understood(content_format: int, values: Values) -> None:
    for path, value in values.items():
        one = {path: value}
        assert content.decode(content_format, path[:2], content.encode(content_format, path, one)) == one
        assert content.decode(content_format, path, content.encode(content_format, path, one)) == one


@given(st.sampled_from(sorted(content.PACK_FORMATS)), any_values(3))
def test_what_is_packed_is_understood(content_format: int, values: Values) -> None:
    assert content.decode(content_format, (), content.encode(content_format, (), values)) == values


@given(
    st.sampled_from(sorted(content.SUPPORTED_FORMATS)),
    st.sampled_from([(), (0,), (0, 0)]),
    st.binary(max_size=200),
)
def test_any_bytes_are_values_or_a_bad_payload(
    content_format: int, path: tuple[int, ...], payload: bytes
) -> None:
    with contextlib.suppress(BadPayload):
        for place, value in content.decode(content_format, path, payload).items():
            assert place[: len(path)] == path
            assert is_of(value, RESOURCE_TYPES[place[0], place[2]])


@given(st.sampled_from(sorted(content.PACK_FORMATS)), any_values(2), st.data())
def test_a_damaged_pack_is_values_or_a_bad_payload(
    content_format: int, values: Values, data: st.DataObject
) -> None:
    payload = bytearray(content.encode(content_format, (), values))
    if payload:
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    del payload[data.draw(st.integers(0, len(payload))) :]
    with contextlib.suppress(BadPayload):
        content.decode(content_format, (), bytes(payload))


@given(st.binary(max_size=100) | st.text('</>0123;=ssidlwm", ', max_size=60).map(str.encode))
def test_any_bytes_are_links_or_bad_links(payload: bytes) -> None:
    with contextlib.suppress(BadLinks):
        discovered = parse_discovered(payload)
        account = discovered.bootstrap_account
        assert account is None or discovered.security[account] is None
