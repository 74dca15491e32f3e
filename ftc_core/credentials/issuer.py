"""The issuer of LwM2M client credentials: for each bootstrap a certificate, with a fresh P-256 key unless the
device has its own.

On the path of every onboarding, so everything that does not depend on the device is built once, and the
certificate carries two extensions only: the authority's key identifier (so that a verifier picks the right
CA while one is being replaced) and extended key usage clientAuth (so that it can never pose as a server).
Without basicConstraints a v3 certificate is no CA (RFC 5280 §4.2.1.9).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ftc_core.credentials.pki import (
    CLOCK_SKEW_ALLOWANCE,
    Identity,
    authority_key_identifier,
    new_serial_number,
    private_key_der,
)
from ftc_core.credentials.subject import credential_subject
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CREDENTIAL_DER_MAX_BYTES

__all__ = ["CredentialIssuer", "IssuedCredential"]

_CURVE = ec.SECP256R1()
_SIGNATURE_HASH = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """What the device gets: its certificate in DER and its private key in DER (PKCS#8).

    The key exists nowhere else; whoever holds this value sends it and forgets it.
    """

    certificate_der: bytes
    private_key_der: bytes = field(repr=False)


class CredentialIssuer:
    """Signs LwM2M client certificates with the issuing CA `authority`, each valid for `validity`."""

    def __init__(self, authority: Identity, validity: timedelta) -> None:
        self._authority = authority
        self._validity = validity
        self._ends = authority.certificate.not_valid_after_utc
        self._template = (
            x509.CertificateBuilder()
            .issuer_name(authority.certificate.subject)
            .add_extension(authority_key_identifier(authority.certificate), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )

    @property
    def authority_der(self) -> bytes:
        """The issuing CA's certificate in DER."""
        return self._authority.certificate_der

    def issue(
        self, *, endpoint_name: str, device_id: str, account_id: str, now: datetime
    ) -> IssuedCredential:
        """A new key and its certificate; as `certify`."""
        key = ec.generate_private_key(_CURVE)
        certificate = self.certify(
            key.public_key(),
            endpoint_name=endpoint_name,
            device_id=device_id,
            account_id=account_id,
            now=now,
        )
        return IssuedCredential(certificate, private_key_der(key))

    def certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        *,
        endpoint_name: str,
        device_id: str,
        account_id: str,
        now: datetime,
    ) -> bytes:
        """The key's certificate in DER, `CN=<endpoint_name>, L=<device_id>, OU=<account_id>`.

        `now` is aware, UTC; the certificate never outlives the issuing CA. Raises FtcError INTERNAL_4 if
        the CA has expired, the names cannot stand in a certificate, or it would be longer than
        CREDENTIAL_DER_MAX_BYTES.
        """
        if now >= self._ends:
            raise FtcError(Reason.INTERNAL_4, metadata={"cause": "the issuing CA has expired"})
        try:
            certificate = (
                self._template.subject_name(credential_subject(endpoint_name, device_id, account_id))
                .public_key(public_key)
                .serial_number(new_serial_number())
                .not_valid_before(now - CLOCK_SKEW_ALLOWANCE)
                .not_valid_after(min(now + self._validity, self._ends))
                .sign(self._authority.private_key, _SIGNATURE_HASH)
            )
        except ValueError as error:
            raise FtcError(Reason.INTERNAL_4, metadata={"cause": str(error)}) from error
        der = certificate.public_bytes(serialization.Encoding.DER)
        if len(der) > CREDENTIAL_DER_MAX_BYTES:
            raise FtcError(
                Reason.INTERNAL_4,
                metadata={
                    "cause": f"the certificate has {len(der)} bytes, at most {CREDENTIAL_DER_MAX_BYTES} fit"
                },
            )
        return der
