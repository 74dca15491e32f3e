"""Certificate requests (PKCS#10) for tests, made with knobs that the simulated device does not have."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.certificates import PrivateKey

__all__ = ["ACCOUNT_ID", "DEVICE_ID", "NAME", "signing_request", "subject"]

NAME, DEVICE_ID, ACCOUNT_ID = "dev-1", "d" * 32, "a" * 32


def subject(**changes: str) -> list[tuple[x509.ObjectIdentifier, str]]:
    """The subject of the device NAME, with another CN, L or OU; "" leaves one out."""
    names = {"CN": NAME, "L": DEVICE_ID, "OU": ACCOUNT_ID, **changes}
    oids = {
        "CN": NameOID.COMMON_NAME,
        "L": NameOID.LOCALITY_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "O": NameOID.ORGANIZATION_NAME,
    }
    return [(oids[name], value) for name, value in names.items() if value]


def signing_request(
    attributes: Sequence[tuple[x509.ObjectIdentifier, str]] = (),
    *,
    key: PrivateKey | None = None,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | hashes.SHA224 | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """A request in DER, signed by `key` (default: a new one of P-256); by default of an empty subject."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), digest or hashes.SHA256())
    return signed.public_bytes(Encoding.DER)
