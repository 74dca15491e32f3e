"""The Security and Server objects as values and as TLV."""

from __future__ import annotations

import pytest

from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance
from ftc_core.lwm2m.tlv import BadTlv, MultipleResource, Resource, ResourceInstance

WHOLE = SecurityInstance(
    server_uri="coaps://[::1]:5684?aid=0123",
    bootstrap_server=False,
    mode=SecurityMode.CERTIFICATE,
    public_key=b"certificate",
    server_public_key=b"ca",
    secret_key=b"key",
    short_server_id=123,
    hold_off=1,
)


def test_a_security_instance_survives_the_wire() -> None:
    payload = tlv.encode(WHOLE.resources())
    resources = tlv.decode(payload)
    assert SecurityInstance().written(resources) == WHOLE  # type: ignore[arg-type]


def test_a_server_instance_is_the_specifications_example() -> None:
    server = ServerInstance(short_server_id=1, lifetime=86_400, notification_storing=True, binding="U")
    # LwM2M 1.0 TS §6.4.3.2 C), without the object instance's own header
    assert tlv.encode(server.resources()) == bytes.fromhex("C10001C40100015180C10601C10755")
    assert ServerInstance().written(server.resources()) == server


def test_the_bootstrap_flag_is_written_before_certificates_and_key() -> None:
    assert [resource.id for resource in WHOLE.resources()] == [0, 1, 2, 3, 4, 5, 10, 11]


def test_absent_fields_are_not_written() -> None:
    assert [resource.id for resource in SecurityInstance().resources()] == [1]
    assert ServerInstance().resources() == ()


def test_what_a_write_does_not_mention_stays() -> None:
    written = WHOLE.written([Resource(0, b"coaps://elsewhere"), Resource(4, b"other ca")])
    assert written.server_uri == "coaps://elsewhere"
    assert written.server_public_key == b"other ca"
    assert (written.secret_key, written.public_key, written.mode) == (b"key", b"certificate", 2)


def test_unknown_resources_are_ignored() -> None:
    assert WHOLE.written([Resource(17, b"?"), MultipleResource(99, ())]) == WHOLE


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
def test_integers_are_signed_in_the_least_of_1_2_4_8_bytes(value: int, encoded: str) -> None:
    (resource,) = ServerInstance(lifetime=value).resources()
    assert resource.value.hex() == encoded
    assert ServerInstance().written([resource]).lifetime == value


def test_an_integer_beyond_64_bits_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ServerInstance(lifetime=1 << 63).resources()


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        (Resource(0, b"\xff"), "not UTF-8"),
        (Resource(1, b""), "not one byte"),
        (Resource(1, b"\x02"), "not one byte"),
        (Resource(2, b""), "has 0 bytes"),
        (Resource(10, b"\x00\x00\x01"), "has 3 bytes"),
        (MultipleResource(3, (ResourceInstance(0, b""),)), "resource 3 has a single instance"),
    ],
)
def test_a_malformed_value_is_refused(resource: Resource | MultipleResource, text: str) -> None:
    with pytest.raises(BadTlv, match=text):
        SecurityInstance().written([resource])


def test_keys_are_not_in_the_repr() -> None:
    assert "secret" not in repr(SecurityInstance(secret_key=b"secret"))
