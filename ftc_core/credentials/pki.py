"""Our own certificate authorities and the identities under them (X.509 v3, RFC 5280; ECDSA P-256, SHA-256).

Three kinds of authority use the same profile: the server CA (what devices and API clients trust), the
issuing CA (signs the LwM2M client certificates) and a manufacturer's factory CA (signs device bootstrap
certificates). P-256 is what LwM2M devices can verify (RFC 7925 §4.4).
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ftc_core.errors import FtcError, Reason

__all__ = [
    "AUTHORITY_VALIDITY",
    "CLOCK_SKEW_ALLOWANCE",
    "SERVER_VALIDITY",
    "Identity",
    "authority_key_identifier",
    "create_authority",
    "create_server_identity",
    "new_serial_number",
    "private_key_der",
    "renew_server_identity",
]

AUTHORITY_VALIDITY = timedelta(days=20 * 365)
"""Validity of a CA: the life of a fielded device, since a device cannot be told of another one."""
SERVER_VALIDITY = timedelta(days=5 * 365)
"""Validity of a server identity; replaced under the same CA, so no device notices."""
CLOCK_SKEW_ALLOWANCE = timedelta(hours=1)
"""How far `not_before` lies in the past, for verifiers whose clock is behind ours."""

_SIGNATURE_HASH = hashes.SHA256()
_SERIAL_RANDOM_BITS = 70


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @classmethod
    def from_pem(cls, certificate: bytes, private_key: bytes) -> Identity:
        """Read both from PEM; the first certificate of a chain is taken.

        Raises ValueError if either cannot be parsed, the key is not an elliptic-curve key, or the two do
        not belong together.
        """
        parsed = x509.load_pem_x509_certificate(certificate)
        key = serialization.load_pem_private_key(private_key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("private key is not an elliptic-curve key")
        if parsed.public_key() != key.public_key():
            raise ValueError("private key does not belong to the certificate")
        return cls(parsed, key)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def private_key_pem(self) -> bytes:
        """The private key in PEM, PKCS#8 (RFC 5958), not encrypted."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def private_key_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key in DER as devices take it: PKCS#8 (RFC 5958), 138 bytes for P-256.

    PKCS#8 rather than SEC 1 (RFC 5915, 121 bytes): mbedTLS, wolfSSL and OpenSSL parse both, but Java
    (`PKCS8EncodedKeySpec`, hence Leshan and Californium) parses PKCS#8 only.
    """
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_serial_number() -> int:
    """A serial number for a certificate: 70 random bits, always 9 bytes in DER, the first bit set.

    Positive and unique as RFC 5280 §4.1.2.2 asks, and above the 64 bits from a CSPRNG that the CA/Browser
    Forum asks; `cryptography` takes 20 bytes, which a Security instance pays for twice.
    """
    return 1 << _SERIAL_RANDOM_BITS | secrets.randbits(_SERIAL_RANDOM_BITS)


def create_authority(
    common_name: str, *, now: datetime, validity: timedelta = AUTHORITY_VALIDITY
) -> Identity:
    """A self-signed CA that may sign end-entity certificates only (path length 0).

    `common_name` has 1 to 64 characters (RFC 5280 ub-common-name), else ValueError. `now` is aware, UTC.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(new_serial_number())
        .not_valid_before(now - CLOCK_SKEW_ALLOWANCE)
        .not_valid_after(now + validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_authority=True), critical=True)
        .add_extension(_subject_key_identifier(key.public_key()), critical=False)
        .sign(key, _SIGNATURE_HASH)
    )
    return Identity(certificate, key)


def create_server_identity(
    authority: Identity,
    common_name: str,
    *,
    hosts: Iterable[str],
    now: datetime,
    validity: timedelta = SERVER_VALIDITY,
) -> Identity:
    """A server certificate under `authority`, for the DNS names and IP addresses in `hosts` (RFC 6125)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    names = [_general_name(host) for host in hosts]
    return _certify_server(authority, subject, key, names=names, now=now, validity=validity)


def renew_server_identity(
    authority: Identity,
    identity: Identity,
    *,
    hosts: Iterable[str],
    now: datetime,
    validity: timedelta = SERVER_VALIDITY,
) -> Identity:
    """The same server with a new certificate: same key and subject, its names and those in `hosts`."""
    certificate = identity.certificate
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [*held, *(_general_name(host) for host in hosts)]
    return _certify_server(
        authority, certificate.subject, identity.private_key, names=names, now=now, validity=validity
    )


def _certify_server(
    authority: Identity,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    names: Iterable[x509.GeneralName],
    now: datetime,
    validity: timedelta,
) -> Identity:
    issuer = authority.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(new_serial_number())
        .not_valid_before(now - CLOCK_SKEW_ALLOWANCE)
        .not_valid_after(min(now + validity, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificate_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(dict.fromkeys(names)), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .sign(authority.private_key, _SIGNATURE_HASH)
    )
    return Identity(certificate, key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise FtcError(
            Reason.SETTING_INVALID, f"{host!r} is neither a DNS name nor an IP address", field="public_host"
        ) from error


def _subject_key_identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    """The short identifier of RFC 5280 §4.2.1.2 (2), 8 bytes: 0100, then the last 60 bits of the SHA-1.

    It only tells keys apart, and each certificate below carries it too; signatures decide who issued what.
    """
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest  # method (1): the whole SHA-1
    return x509.SubjectKeyIdentifier(bytes([0x40 | digest[-8] & 0x0F]) + digest[-7:])


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What a certificate under `issuer` says about its issuer's key (RFC 5280 §4.2.1.1)."""
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, certificate_authority: bool) -> x509.KeyUsage:
    # RFC 5280 §4.2.1.3: a CA signs certificates and CRLs; an ECDHE_ECDSA peer only signs (RFC 8422 §5.3).
    return x509.KeyUsage(
        digital_signature=not certificate_authority,
        key_cert_sign=certificate_authority,
        crl_sign=certificate_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
