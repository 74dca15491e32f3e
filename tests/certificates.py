"""Certificates for tests, made with knobs that the product's own factory does not have.

A `Manufacturer` is a CA; its `device()` gives a bootstrap certificate with its key. Nothing is canned, so
nothing expires in the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

__all__ = ["Credential", "Manufacturer", "PrivateKey", "now"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def now() -> datetime:
    """The current second, UTC: what an X.509 time can hold (RFC 5280 §4.1.2.5)."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Credential:
    """A certificate, its private key, and the CA certificates between it and the root (nearest first)."""

    certificate: x509.Certificate
    private_key: PrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM, PKCS#8, not encrypted."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write `device.pem` (leaf, then intermediates) and `device.key`; give both paths."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / "device.pem", directory / "device.key"
        chain = [one.public_bytes(serialization.Encoding.PEM) for one in self.intermediates]
        certificate.write_bytes(b"".join([self.pem, *chain]))
        key.write_bytes(self.key_pem)
        return certificate, key


class Manufacturer:
    """A CA that signs device certificates: self-signed, or under `issuer`."""

    def __init__(
        self,
        common_name: str = "Test Devices CA",
        *,
        issuer: Manufacturer | None = None,
        key: PrivateKey | None = None,
        is_authority: bool = True,
        path_length: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> None:
        """Make the CA; `is_authority` False gives the common mistake of a plain certificate used as one."""
        self.private_key = key or ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer
        subject = _name(common_name)
        builder = (
            _builder(subject, issuer.certificate.subject if issuer else subject, not_before, not_after)
            .public_key(self.private_key.public_key())
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.private_key.public_key()), critical=False
            )
        )
        self.certificate: x509.Certificate = builder.sign(
            issuer.private_key if issuer else self.private_key, hashes.SHA256()
        )

    @property
    def der(self) -> bytes:
        """The CA certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The CA certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def device(
        self,
        endpoint_name: str,
        *,
        key: PrivateKey | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> Credential:
        """A device certificate for `endpoint_name`; `extensions` are added, not critical."""
        private_key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(endpoint_name), self.certificate.subject, not_before, not_after).public_key(
            private_key.public_key()
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self.private_key, hashes.SHA256())
        return Credential(certificate, private_key, self._intermediates())

    def _intermediates(self) -> tuple[x509.Certificate, ...]:
        return (self.certificate, *self.issuer._intermediates()) if self.issuer else ()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, not_before: datetime | None, not_after: datetime | None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now() - timedelta(hours=1))
        .not_valid_after(not_after or now() + timedelta(days=30))
    )
