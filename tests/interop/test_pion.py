"""Devices on pion/dtls and go-coap: what a DTLS stack may offer, and whole onboardings over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.certificates import Manufacturer, PrivateKey
from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance
from tests.interop.pion_device import Report, run

SUITES = {
    "CCM_8": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    "CCM": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
    "GCM": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "GCM_256": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "CHACHA20": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}
KEYS: dict[str, Callable[[], PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-2048": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
# The offers of a ClientHello, one at a time.
OFFERS = [
    pytest.param(["-mtu", "300"], id="datagrams of 300 bytes"),
    pytest.param(["-mtu", "576"], id="datagrams of 576 bytes"),
    pytest.param(["-extended-secret", "require"], id="extended master secret required"),
    pytest.param(["-extended-secret", "disable"], id="no extended master secret"),
    pytest.param(["-connection-id"], id="connection ID offered"),
]


def onboarded(told: Report, account: Account, device: Device) -> bool:
    """Whether the report and the API both say that the device is registered."""
    assert told.error == "", told
    (record,) = account.devices_named(device.endpoint_name)
    identity = record["name"].rpartition("/")[2]
    assert told.register_location == f"/rd/{account.id}/{identity}", told
    return (told.answer, told.register_answer, record["state"]) == ("2.04", "2.01", "REGISTERED")


@pytest.mark.parametrize("suite", SUITES)
def test_device_onboards_with_each_suite(
    instance: Instance, owner: Account, device: Device, suite: str
) -> None:
    owner.enroll(device.certificate)

    told = run(instance, device, "-suite", suite)

    assert told.suite == SUITES[suite], told
    assert onboarded(told, owner, device), told


@pytest.mark.parametrize("offer", OFFERS)
def test_device_onboards_whatever_else_it_offers(
    instance: Instance, owner: Account, device: Device, offer: list[str]
) -> None:
    owner.enroll(device.certificate)

    assert onboarded(run(instance, device, *offer), owner, device)


def test_device_without_bootstrap_discover_is_written_at_the_usual_numbers(
    instance: Instance, owner: Account, device: Device
) -> None:
    owner.enroll(device.certificate)

    told = run(instance, device)

    assert told.requests is not None
    writes = [request for request in told.requests if not request.startswith("GET ")]
    assert writes == ["DELETE /0", "PUT /0/0", "PUT /1/0", "PUT /0/1", "POST /bs"], told


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("intermediates", [0, 1, 2])
def test_certificates_of_every_kind_of_key_and_length_of_chain_are_taken(
    instance: Instance, account: Account, tmp_path: Path, kind: str, intermediates: int
) -> None:
    make_key = KEYS[kind]
    issuer = Manufacturer("pion Root CA", key=make_key())
    (tmp_path / "root.pem").write_bytes(issuer.pem)
    account.upload_ca(tmp_path / "root.pem")
    for number in range(intermediates):
        issuer = Manufacturer(f"pion CA {number}", issuer=issuer, key=make_key())
    name = f"pion-{kind}-{intermediates}"
    device = Device.of(issuer.device(name, key=make_key()), name, tmp_path)
    account.enroll(device.certificate)

    assert onboarded(run(instance, device), account, device)


def test_device_that_nobody_enrolled_is_told_so(instance: Instance, owner: Account, device: Device) -> None:
    assert run(instance, device).answer == "4.03 Enrollment ID not registered"


def test_ca_that_nobody_uploaded_is_named_by_the_alert(instance: Instance, tmp_path: Path) -> None:
    stranger = Device.of(Manufacturer("Nobody's CA").device("stranger"), "stranger", tmp_path)

    assert run(instance, stranger).alert == "UnknownCA"


@pytest.mark.parametrize("suite", ["CBC_SHA", "RSA_GCM"])
def test_suite_that_the_server_does_not_have_fails_the_handshake(
    instance: Instance, owner: Account, device: Device, suite: str
) -> None:
    assert run(instance, device, "-suite", suite).alert == "HandshakeFailure"
