"""Devices as they are in the field, each from its first datagram to the answer to its Bootstrap-Request.

What differs is what OpenSSL and the path check see of them: suite, key, chain, and certificates that only a
small device would have.
"""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.association import HandshakeCompleted
from ftc_core.lwm2m.messages import dotted
from tests.certificates import Credential, Manufacturer
from tests.instance import Instance, Tenant
from tests.odd_certificates import BMP, PRINTABLE, T61, UNIVERSAL, UTF8, name, odd_device
from tests.raw_peer import POST, RawPeer, uri

CN, ORGANIZATION, UNIT = b"\x03", b"\x0a", b"\x0b"

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def plain(text: str) -> bytes:
    """A subject of nothing but a common name."""
    return name((CN, UTF8, text.encode()))


def peer_of(instance: Instance, device: Credential, **how: object) -> RawPeer:
    """The device, which has not begun."""
    return RawPeer(
        instance.address("bootstrap"),
        device.certificate,
        device.private_key,
        instance.server_ca,
        intermediates=device.intermediates,
        **how,  # type: ignore[arg-type]
    )


def answer(owner: Tenant, device: Credential, endpoint_name: str, **how: object) -> str:
    """What the enrolled device is answered to its Bootstrap-Request."""
    owner.enroll(device.certificate)
    with peer_of(owner.instance, device, **how) as peer:
        return dotted(peer.connect().ask(POST, uri("/bs", b"ep=" + endpoint_name.encode())))


def alert(owner: Tenant, device: Credential) -> int | None:
    """The alert that ends the enrolled device's handshake."""
    owner.enroll(device.certificate)
    with peer_of(owner.instance, device) as peer:
        return peer.closed().alert


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA256",
    ],
)
def test_a_device_of_each_suite_is_claimed(suite: str, owner: Tenant, manufacturer: Manufacturer) -> None:
    device = manufacturer.device(f"suite-{suite}")
    owner.enroll(device.certificate)
    with peer_of(owner.instance, device, suites=[suite]) as peer:
        assert peer.pump(lambda: bool(peer.events))
        (completed,) = peer.events
        assert isinstance(completed, HandshakeCompleted)
        assert completed.cipher == suite
        assert dotted(peer.ask(POST, uri("/bs", f"ep=suite-{suite}".encode()))) == "2.04"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2_048)],
    ids=["P-384", "RSA-2048"],
)
def test_a_device_of_each_key_is_claimed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, owner: Tenant, manufacturer: Manufacturer
) -> None:
    device = manufacturer.device(f"key-{type(key).__name__}", key=key)
    assert answer(owner, device, f"key-{type(key).__name__}") == "2.04"


@pytest.mark.parametrize("intermediates", [1, 2])
def test_a_device_is_claimed_under_any_ca_of_its_chain(intermediates: int, instance: Instance) -> None:
    authorities = [Manufacturer(f"Field root {intermediates}")]
    for number in range(intermediates):
        authorities.append(Manufacturer(f"Field CA {intermediates}.{number}", issuer=authorities[-1]))
    for level, authority in enumerate(authorities):
        owner = instance.tenant()
        owner.trust(authority)
        endpoint_name = f"chain-{intermediates}-{level}"
        assert answer(owner, authorities[-1].device(endpoint_name), endpoint_name) == "2.04"


ODD = {
    "version 1": {"version": 1},
    "no extensions": {},
    "serial 0": {"serial": b"\x00"},
    "version 1 and serial 0": {"version": 1, "serial": b"\x00"},
    "serial of 20 octets": {"serial": b"\x7f" + bytes(range(19))},
    "negative serial": {"serial": b"\x80"},
    "valid for twenty years": {},
    "valid until 2100": {"not_after": "21000101000000Z"},
    "no well-defined expiration (RFC 5280 §4.1.2.5)": {"not_after": "99991231235959Z"},
    "valid since 1970": {"not_before": "700101000000Z"},
}


@pytest.mark.parametrize("oddity", ODD)
def test_a_certificate_without_extensions_is_claimed(
    oddity: str, owner: Tenant, manufacturer: Manufacturer
) -> None:
    endpoint_name = f"odd-{list(ODD).index(oddity)}"
    device = odd_device(manufacturer, plain(endpoint_name), **ODD[oddity])  # type: ignore[arg-type]
    assert answer(owner, device, endpoint_name) == "2.04"


NAMES = {
    "UTF8String": ("n-\N{SNOWMAN}", [(CN, UTF8, "n-\N{SNOWMAN}".encode())]),
    "PrintableString": ("n-printable", [(CN, PRINTABLE, b"n-printable")]),
    "TeletexString": ("n-teletex", [(CN, T61, b"n-teletex")]),
    "BMPString": ("n-bmp", [(CN, BMP, "n-bmp".encode("utf-16-be"))]),
    "UniversalString": ("n-universal", [(CN, UNIVERSAL, "n-universal".encode("utf-32-be"))]),
    "a long name before it": (
        "n-long",
        [*((UNIT, UTF8, b"u" * 64) for _ in range(20)), (CN, UTF8, b"n-long")],
    ),
    "an organization, a common name of 64": (
        "n" * 64,
        [(ORGANIZATION, UTF8, b"o"), (CN, UTF8, b"n" * 64)],
    ),
    "a common name longer than X.520 has it": ("n" * 100, [(CN, UTF8, b"n" * 100)]),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_of_each_kind_is_claimed(kind: str, owner: Tenant, manufacturer: Manufacturer) -> None:
    endpoint_name, attributes = NAMES[kind]
    assert answer(owner, odd_device(manufacturer, name(*attributes)), endpoint_name) == "2.04"


UNUSABLE_NAMES = {
    "none": [],
    "two common names": [(CN, UTF8, b"unusable"), (CN, UTF8, b"other")],
    "a NUL in it": [(CN, UTF8, b"unusable\x00.example")],
    "a TeletexString beyond ASCII": [(CN, T61, b"unusabl\xe9")],
}


@pytest.mark.parametrize("kind", UNUSABLE_NAMES)
def test_a_name_that_fits_no_endpoint_name_passes_the_handshake_and_gets_4_00(
    kind: str, owner: Tenant, manufacturer: Manufacturer
) -> None:
    device = odd_device(manufacturer, name(*UNUSABLE_NAMES[kind]))
    assert answer(owner, device, "unusable") == "4.00"
    assert owner.device_count() == 0


REFUSED = {
    "expired": ({"not_after": "260201000000Z"}, Alert.CERTIFICATE_EXPIRED),
    "not yet valid": ({"not_before": "400101000000Z"}, Alert.CERTIFICATE_EXPIRED),
}


@pytest.mark.parametrize("why", REFUSED)
def test_an_odd_certificate_out_of_its_validity_is_certificate_expired(
    why: str, owner: Tenant, manufacturer: Manufacturer
) -> None:
    oddity, expected = REFUSED[why]
    device = odd_device(manufacturer, plain("late"), version=1, **oddity)  # type: ignore[arg-type]
    assert alert(owner, device) == expected


def test_an_odd_certificate_with_a_forged_signature_is_bad_certificate(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    stranger = Manufacturer()  # of the same name
    assert alert(owner, odd_device(stranger, plain("forged"), version=1)) == Alert.BAD_CERTIFICATE


def test_an_odd_certificate_of_nobody_is_unknown_ca(owner: Tenant) -> None:
    stranger = Manufacturer("Nobody's CA")
    assert alert(owner, odd_device(stranger, plain("nobody"), version=1)) == Alert.UNKNOWN_CA


def test_an_omitted_intermediate_is_unknown_ca(owner: Tenant, manufacturer: Manufacturer) -> None:
    device = Manufacturer("Field omitted CA", issuer=manufacturer).device("omitted")
    assert alert(owner, dataclasses.replace(device, intermediates=())) == Alert.UNKNOWN_CA
