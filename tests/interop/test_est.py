"""Certificates by EST for a device on Mbed TLS and aiocoap, whose requests OpenSSL or Mbed TLS made."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiocoap import Message
from aiocoap.numbers.codes import Code
from mbedtls import hashlib, pk
from mbedtls import x509 as mbedtls_x509

from tests.interop.fleet import Fleet, provision
from tests.interop.instance import Account, Instance, running_instance
from tests.interop.mbedtls_device import MODE, SERVER_URI, Credential, ObjectTree, associate

SECONDS = 10.0
PKCS10, CERTS_ONLY, PKIX_CERT = 286, 281, 287

Signer = Callable[[Path, str], tuple[bytes, str]]
"""A directory and a subject as OpenSSL writes it → the request in DER, and the private key in PEM."""


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout


def signed_by_openssl(place: Path, subject: str) -> tuple[bytes, str]:
    key = place / "lwm2m.key"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    request = openssl("req", "-new", "-key", key, "-sha256", "-subj", subject, "-outform", "DER")
    return request, key.read_text()


def signed_by_mbedtls(_: Path, subject: str) -> tuple[bytes, str]:
    key = pk.ECC(pk.Curve.SECP256R1)
    key.generate()
    name = subject.strip("/").replace("/", ",")
    return mbedtls_x509.CSR.new(key, name, hashlib.sha256()).to_DER(), key.export_key("PEM")


@pytest.fixture(scope="module")
def est_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    data_directory = tmp_path_factory.mktemp("est-instance") / "data"
    with running_instance(data_directory, "--lwm2m-credentials=est") as running:
        yield running


@pytest.fixture(scope="module")
def est_fleet(est_instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return provision(est_instance, tmp_path_factory.mktemp("est-factory"))


@pytest.fixture(scope="module")
def est_owner(est_instance: Instance, est_fleet: Fleet) -> Account:
    account = est_instance.create_account("Fleet owner")
    account.upload_ca(est_fleet.ca)
    return account


@pytest.mark.parametrize("accept", [CERTS_ONLY, PKIX_CERT])
@pytest.mark.parametrize("sign", [signed_by_openssl, signed_by_mbedtls])
async def test_device_makes_its_key_enrolls_and_registers(
    est_instance: Instance,
    est_fleet: Fleet,
    est_owner: Account,
    tmp_path: Path,
    sign: Signer,
    accept: int,
) -> None:
    device, tree = next(est_fleet.devices), ObjectTree()
    est_owner.enroll(device.certificate)
    factory = Credential.of_factory(device, est_instance.ca.read_text())

    async with (
        asyncio.timeout(SECONDS),
        associate(est_instance.ports["bootstrap"], factory, tree) as context,
    ):
        bootstrap = Message(code=Code.POST, uri=f"coaps://localhost/bs?ep={device.endpoint_name}")
        assert (await context.request(bootstrap).response).code is Code.CHANGED
        await tree.finished.wait()
        subject = f"/CN={device.endpoint_name}/L={tree.device_id}/OU={est_owner.id}"
        csr, key = sign(tmp_path, subject)
        enroll = Message(
            code=Code.POST,
            uri="coaps://localhost/est/sen",
            content_format=PKCS10,
            accept=accept,
            payload=csr,
        )
        answer = await context.request(enroll).response

    account = tree.account()
    assert account[MODE] == b"\x04"
    assert set(account) == {0, 1, 2, 4, 10}
    assert (answer.code, answer.opt.content_format) == (Code.CHANGED, accept)
    certificate = answer.payload if accept == PKIX_CERT else unpacked_by_openssl(answer.payload, tmp_path)

    port = urlsplit(account[SERVER_URI].decode()).port
    async with (
        asyncio.timeout(SECONDS),
        associate(port, Credential.enrolled(account, certificate, key), ObjectTree()) as context,
    ):
        register = Message(
            code=Code.POST,
            uri=f"coaps://localhost/rd?ep={device.endpoint_name}&lt=3600&lwm2m=1.1&b=U",
            content_format=40,
            payload=b"</1/0>,</3/0>",
        )
        registered = await context.request(register).response

    assert registered.code is Code.CREATED, registered
    (record,) = est_owner.devices_named(device.endpoint_name)
    assert record["state"] == "REGISTERED"


def unpacked_by_openssl(bag: bytes, place: Path) -> bytes:
    """The one certificate (DER) that `openssl pkcs7` finds."""
    file = place / "bag.p7b"
    file.write_bytes(bag)
    found = openssl("pkcs7", "-inform", "DER", "-in", file, "-print_certs").decode()
    assert found.count("BEGIN CERTIFICATE") == 1
    (place / "found.pem").write_text(found)
    return openssl("x509", "-in", place / "found.pem", "-outform", "DER")
