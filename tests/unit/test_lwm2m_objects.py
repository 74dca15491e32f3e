"""The Security and Server objects as values."""

from __future__ import annotations

from ftc_core.lwm2m.objects import CertificateUsage, SecurityInstance, SecurityMode, ServerInstance

WHOLE = SecurityInstance(
    server_uri="coaps://[::1]:5684?aid=0123",
    bootstrap_server=False,
    mode=SecurityMode.CERTIFICATE,
    public_key=b"certificate",
    server_public_key=b"ca",
    secret_key=b"key",
    short_server_id=123,
    hold_off=1,
    certificate_usage=CertificateUsage.TRUST_ANCHOR_ASSERTION,
)


def test_the_bootstrap_flag_is_written_before_certificates_and_key() -> None:
    assert list(WHOLE.resources()) == [0, 1, 2, 3, 4, 5, 10, 11, 15]


def test_resources_have_plain_values() -> None:
    values = WHOLE.resources()
    assert (values[1], values[2], values[15]) == (False, 2, 2)
    assert {type(value) for value in values.values()} == {str, bool, int, bytes}


def test_absent_fields_are_not_written() -> None:
    assert SecurityInstance().resources() == {1: False}
    assert ServerInstance().resources() == {}
    assert ServerInstance(lifetime=0, notification_storing=False).resources() == {1: 0, 6: False}


def test_an_instance_is_what_was_written() -> None:
    server = ServerInstance(short_server_id=1, lifetime=86_400, notification_storing=True, binding="U")
    assert SecurityInstance().written(WHOLE.resources()) == WHOLE
    assert ServerInstance().written(server.resources()) == server


def test_what_a_write_does_not_mention_stays() -> None:
    written = WHOLE.written({0: "coaps://elsewhere", 4: b"other ca"})
    assert written.server_uri == "coaps://elsewhere"
    assert written.server_public_key == b"other ca"
    assert (written.secret_key, written.public_key, written.mode) == (b"key", b"certificate", 2)


def test_unknown_resources_are_ignored() -> None:
    assert WHOLE.written({17: b"?", 99: 1}) == WHOLE


def test_keys_are_not_in_the_repr() -> None:
    assert "secret" not in repr(SecurityInstance(secret_key=b"secret"))
