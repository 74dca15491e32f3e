"""OpenSSL's command line against the bootstrap server and the enrollment IDs."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certificates import Manufacturer, now
from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance, ftc
from tests.interop.openssl import (
    BAD_CERTIFICATE,
    CERTIFICATE_EXPIRED,
    HANDSHAKE_FAILURE,
    UNKNOWN_CA,
    Handshake,
    fingerprint,
    handshake,
)

CCM_8 = "ECDHE-ECDSA-AES128-CCM8"
# LwM2M's mandatory suites (LwM2M Transport 1.1 §5.2.8.3) and the others that we offer.
CIPHERS = [
    CCM_8,
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
]


def knock(
    instance: Instance, credential: tuple[Path, Path] | None, cipher: str = CCM_8, *options: str
) -> Handshake:
    # OpenSSL counts CCM-8's 64-bit tag below every security level but 0.
    return handshake(
        instance.ports["bootstrap"],
        ca=instance.ca,
        cipher=f"{cipher}:@SECLEVEL=0",
        credential=credential,
        options=options,
    )


def test_enrollment_id_is_the_fingerprint_that_openssl_prints(device: Device) -> None:
    assert ftc("enrollment-id", device.certificate).split()[0] == "A-" + fingerprint(device.certificate)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_handshake_completes_and_the_server_is_verified(
    instance: Instance, owner: Account, device: Device, cipher: str
) -> None:
    done = knock(instance, device.credential, cipher)

    assert done.cipher == cipher, done.log
    assert done.server_verified, done.log


def test_chain_with_an_intermediate_is_accepted(instance: Instance, account: Account, tmp_path: Path) -> None:
    root = Manufacturer("Interop Root CA")
    (tmp_path / "root.pem").write_bytes(root.pem)
    account.upload_ca(tmp_path / "root.pem")
    line = Manufacturer("Interop Production Line 7", issuer=root, path_length=0)
    (tmp_path / "line.pem").write_bytes(line.pem)
    credential = line.device("chained").write(tmp_path)

    done = knock(instance, credential, CCM_8, "-cert_chain", str(tmp_path / "line.pem"))

    assert done.cipher == CCM_8, done.log


def test_small_mtu_of_the_client_is_no_obstacle(instance: Instance, owner: Account, device: Device) -> None:
    done = knock(instance, device.credential, CCM_8, "-mtu", "512")

    assert done.cipher == CCM_8, done.log


def test_ca_that_nobody_uploaded_is_unknown(instance: Instance, owner: Account, tmp_path: Path) -> None:
    stranger = Manufacturer("Nobody's CA").device("stranger")

    done = knock(instance, stranger.write(tmp_path))

    assert (done.cipher, done.alert) == (None, UNKNOWN_CA), done.log


def test_certificate_forged_in_the_name_of_a_trusted_ca_is_bad(
    instance: Instance, account: Account, tmp_path: Path
) -> None:
    genuine, imitation = Manufacturer("Look-alike CA"), Manufacturer("Look-alike CA")
    (tmp_path / "ca.pem").write_bytes(genuine.pem)
    account.upload_ca(tmp_path / "ca.pem")

    refused = knock(instance, imitation.device("forged").write(tmp_path / "forged"))
    accepted = knock(instance, genuine.device("genuine").write(tmp_path / "genuine"))

    assert (refused.cipher, refused.alert) == (None, BAD_CERTIFICATE), refused.log
    assert accepted.cipher == CCM_8, accepted.log


def test_expired_device_certificate_is_named_by_the_alert(
    instance: Instance, account: Account, manufacturer: Manufacturer, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(manufacturer.pem)
    account.upload_ca(tmp_path / "ca.pem")
    yesterday = now() - timedelta(days=1)
    expired = manufacturer.device("expired", not_before=yesterday - timedelta(days=1), not_after=yesterday)

    done = knock(instance, expired.write(tmp_path))

    assert (done.cipher, done.alert) == (None, CERTIFICATE_EXPIRED), done.log


def test_client_without_certificate_fails(instance: Instance) -> None:
    done = knock(instance, None)

    assert (done.cipher, done.alert) == (None, HANDSHAKE_FAILURE), done.log


def test_suite_that_we_do_not_offer_fails(instance: Instance, device: Device) -> None:
    done = knock(instance, device.credential, "ECDHE-ECDSA-AES256-SHA")

    assert (done.cipher, done.alert) == (None, HANDSHAKE_FAILURE), done.log


@pytest.mark.parametrize("mtu", [300, 548, 1_232])
def test_handshake_completes_in_datagrams_of_any_mtu(
    instance: Instance, owner: Account, device: Device, mtu: int
) -> None:
    done = knock(instance, device.credential, CCM_8, "-mtu", str(mtu))

    assert done.cipher == CCM_8, done.log


@pytest.mark.parametrize("length", [512, 1_024])
def test_maximum_fragment_length_is_negotiated(
    instance: Instance, owner: Account, device: Device, length: int
) -> None:
    """RFC 6066 §4, which small devices ask for."""
    done = knock(instance, device.credential, CCM_8, "-maxfraglen", str(length))

    assert done.cipher == CCM_8, done.log


@pytest.mark.parametrize("cipher", CIPHERS)
def test_session_is_resumed_by_ticket_from_the_same_port(
    instance: Instance, owner: Account, device: Device, tmp_path: Path, cipher: str
) -> None:
    """Which the kernel gives to the worker that gave the ticket."""
    session, port = str(tmp_path / "session.pem"), f"127.0.0.1:{free_port()}"
    first = knock(instance, device.credential, cipher, "-bind", port, "-sess_out", session)
    assert first.cipher == cipher, first.log
    assert not first.resumed

    again = knock(instance, device.credential, cipher, "-bind", port, "-sess_in", session)
    assert again.resumed, again.log
    assert again.cipher == cipher


def test_session_is_resumed_by_ticket_at_any_worker(
    instance: Instance, owner: Account, device: Device, tmp_path: Path
) -> None:
    """From ports of the kernel's choice, some of eight meet the worker that gave the ticket, some not."""
    session = str(tmp_path / "session.pem")
    assert knock(instance, device.credential, CCM_8, "-sess_out", session).cipher == CCM_8

    again = [knock(instance, device.credential, CCM_8, "-sess_in", session) for _ in range(8)]

    assert [(one.cipher, one.resumed) for one in again] == [(CCM_8, True)] * 8


def free_port() -> int:
    """One that nobody had a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
