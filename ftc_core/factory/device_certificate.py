"""Device bootstrap certificates, signed by the manufacturer's CA."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ftc_core.credentials.pki import CLOCK_SKEW_ALLOWANCE, Identity, authority_key_identifier

__all__ = ["DeviceCertificateIssuer"]


class DeviceCertificateIssuer:
    """Signs certificates `CN=<endpoint name>` with `authority`, valid for `validity` from `now` (aware, UTC).

    A certificate never outlives the CA: the server would refuse its path then.
    """

    def __init__(self, authority: Identity, *, now: datetime, validity: timedelta) -> None:
        self._authority = authority
        issuer = authority.certificate
        self._template = (
            x509.CertificateBuilder()
            .issuer_name(issuer.subject)
            .not_valid_before(max(now - CLOCK_SKEW_ALLOWANCE, issuer.not_valid_before_utc))
            .not_valid_after(min(now + validity, issuer.not_valid_after_utc))
            .add_extension(authority_key_identifier(issuer), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )

    def issue(self, endpoint_name: str) -> Identity:
        """A fresh P-256 key and its certificate. ValueError if the name has more than 64 bytes."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Identity(self.certify(endpoint_name, key.public_key()), key)

    def certify(self, endpoint_name: str, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """A certificate for a key that stands. ValueError if the name has more than 64 bytes."""
        return (
            self._template.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, endpoint_name)]))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .sign(self._authority.private_key, hashes.SHA256())
        )
