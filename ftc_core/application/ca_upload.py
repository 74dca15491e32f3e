"""Reading an uploaded CA: PEM in, one trusted CA out, or a refusal that names what is wrong with it.

The chain's lower end is what is trusted: the handshake takes it as an anchor of its own, whatever stands
above it (ARCHITECTURE, "candidates only"), so the certificates above only have to form a chain. Certificate
rules: RFC 5280 §4.2.1.9 (basic constraints) and §4.2.1.3 (keyCertSign); keys as in `ftc_core.dtls.profile`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.profile import UNREADABLE, certificate_key_objection
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CERTIFICATE_CHAIN_MAX, CERTIFICATE_PEM_MAX_BYTES

__all__ = ["UploadedCa", "read_ca"]

_DIFFIE_HELLMAN = frozenset(
    {x509.ObjectIdentifier("1.2.840.113549.1.3.1"), x509.ObjectIdentifier("1.2.840.10046.2.1")}
)
"""PKCS#3 and X9.42: such keys sign nothing, and to load one may take a minute (`dtls.profile`)."""


class UploadedCa(msgspec.Struct, frozen=True, kw_only=True):
    """The trusted CA of an upload. `pem` is the whole chain, root first, and nothing else of the file.

    `fingerprint` is SHA-256 over `der`; `subject_der` is encoded as the handshake's lookup encodes it;
    `subject` and `issuer` are in RFC 4514 form.
    """

    pem: str
    der: bytes
    fingerprint: bytes
    subject: str
    subject_der: bytes
    issuer: str
    not_before: datetime
    not_after: datetime


def read_ca(pem: str, now: datetime, *, field: str) -> UploadedCa:
    """Judge an uploaded chain, root first or root last, at `now` (aware).

    Raises FtcError, with `field`: FIELD_REQUIRED if empty; FIELD_INVALID if too large or holding a private
    key; CERTIFICATE_UNPARSEABLE; CERTIFICATE_CHAIN_BROKEN; CERTIFICATE_NOT_CA;
    CERTIFICATE_KEY_UNSUPPORTED; CERTIFICATE_EXPIRED, also for one that is not valid yet.
    """
    with warnings.catch_warnings():
        # Zero serial numbers and such, which OpenSSL takes and which fielded CAs have.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        chain = _root_first(_parse(pem, field), field)
        try:
            for certificate in chain:
                _check_authority(certificate, field)
            return _describe(chain, now, field)
        except UNREADABLE as error:
            raise FtcError(
                Reason.CERTIFICATE_UNPARSEABLE, f"certificate is malformed: {error}", field=field
            ) from error


def _parse(pem: str, field: str) -> list[x509.Certificate]:
    data = pem.encode()
    if not data.strip():
        raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
    if len(data) > CERTIFICATE_PEM_MAX_BYTES:
        raise FtcError(
            Reason.FIELD_INVALID,
            f"{field} has {len(data)} bytes; at most {CERTIFICATE_PEM_MAX_BYTES} are allowed",
            field=field,
        )
    if b"PRIVATE KEY-----" in data:
        raise FtcError(
            Reason.FIELD_INVALID, f"{field} holds a private key; upload the certificate alone", field=field
        )
    try:
        chain = x509.load_pem_x509_certificates(data)
    except UNREADABLE as error:
        raise FtcError(Reason.CERTIFICATE_UNPARSEABLE, field=field) from error
    if len(chain) > CERTIFICATE_CHAIN_MAX:
        raise FtcError(
            Reason.FIELD_INVALID,
            f"{field} has {len(chain)} certificates; at most {CERTIFICATE_CHAIN_MAX} are allowed",
            field=field,
        )
    return chain


def _root_first(chain: list[x509.Certificate], field: str) -> list[x509.Certificate]:
    for candidate in (chain, chain[::-1]):
        if all(_issued(issuer, subject) for issuer, subject in pairwise(candidate)):
            return candidate
    raise FtcError(Reason.CERTIFICATE_CHAIN_BROKEN, field=field)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    if issuer.public_key_algorithm_oid in _DIFFIE_HELLMAN:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _check_authority(certificate: x509.Certificate, field: str) -> None:
    subject = certificate.subject.rfc4514_string()
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise FtcError(
            Reason.CERTIFICATE_NOT_CA,
            f"certificate is not a CA certificate: {subject} is not marked as one (basic constraints)",
            field=field,
        )
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise FtcError(
            Reason.CERTIFICATE_NOT_CA,
            f"certificate is not a CA certificate: {subject} may not sign certificates (key usage)",
            field=field,
        )


def _describe(chain: Sequence[x509.Certificate], now: datetime, field: str) -> UploadedCa:
    trusted = chain[-1]
    try:
        objection = certificate_key_objection(trusted)
    except UNREADABLE:
        objection = "the key cannot be read"
    if objection:
        raise FtcError(
            Reason.CERTIFICATE_KEY_UNSUPPORTED, f"certificate key is not supported: {objection}", field=field
        )
    not_before, not_after = trusted.not_valid_before_utc, trusted.not_valid_after_utc
    if now > not_after:
        raise FtcError(
            Reason.CERTIFICATE_EXPIRED,
            f"certificate has expired: it was valid until {not_after:%Y-%m-%d %H:%M} UTC",
            field=field,
        )
    if now < not_before:
        raise FtcError(
            Reason.CERTIFICATE_EXPIRED,
            f"certificate is not yet valid: it is from {not_before:%Y-%m-%d %H:%M} UTC",
            field=field,
        )
    der = trusted.public_bytes(Encoding.DER)
    return UploadedCa(
        pem="".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain),
        der=der,
        fingerprint=fingerprint_of(der),
        subject=trusted.subject.rfc4514_string(),
        subject_der=trusted.subject.public_bytes(),
        issuer=trusted.issuer.rfc4514_string(),
        not_before=not_before,
        not_after=not_after,
    )
