"""The devices that foreign clients play: made by `ftc factory`, or by a test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import Credential
from tests.interop.instance import Instance, ftc

__all__ = ["Device", "Fleet", "provision"]

_SIZE = 150


@dataclass(frozen=True)
class Device:
    """A device's endpoint name, and its bootstrap certificate and key in PEM."""

    endpoint_name: str
    certificate: Path
    key: Path

    @property
    def credential(self) -> tuple[Path, Path]:
        """Certificate and key, as clients take them."""
        return self.certificate, self.key

    def onboarded(self) -> Device:
        """This device as it is after our own simulated device played it: with its LwM2M credential."""
        bundle = self.certificate.parent
        ftc("device", "run", "--bundle", bundle)
        certificate = x509.load_der_x509_certificate((bundle / "mbed.LwM2MDeviceCert").read_bytes())
        key = serialization.load_der_private_key((bundle / "mbed.LwM2MDevicePrivateKey").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Device.of(Credential(certificate, key), self.endpoint_name, bundle / "lwm2m")

    @classmethod
    def of(cls, credential: Credential, endpoint_name: str, directory: Path) -> Device:
        """A device with a certificate made by a test."""
        return cls(endpoint_name, *credential.write(directory))


@dataclass(frozen=True)
class Fleet:
    """The manufacturer's CA, and devices under it that nobody has used yet."""

    ca: Path
    devices: Iterator[Device]


def provision(instance: Instance, directory: Path, count: int = _SIZE) -> Fleet:
    """What a factory does for `count` devices that are to meet `instance`."""
    ca, output = directory / "ca", directory / "production"
    ftc("factory", "init-ca", "--out", ca)
    uri = f"coaps://localhost:{instance.ports['bootstrap']}"
    place: list[str | Path] = ["--out", output, "--ca", ca, "--no-labels"]
    server: list[str | Path] = ["--bootstrap-uri", uri, "--server-ca", instance.ca]
    ftc("factory", "provision", "--count", str(count), *place, *server)
    bundles = sorted((output / "devices").iterdir())
    assert len(bundles) == count
    devices = (Device(bundle.name, bundle / "device.pem", bundle / "device.key") for bundle in bundles)
    return Fleet(output / "ca.pem", devices)
