"""Certificate requests (PKCS#10, RFC 2986) that devices send by EST, judged.

The CA decides what stands in the certificate (RFC 7030 §4.2.1): of a request, the key alone goes into it.
Names and extensions that the device wishes for are no reason to refuse it, as long as it does not say that it
is somebody else.
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, PublicKeyAlgorithmOID

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import SIGNING_REQUEST_MAX_BYTES

__all__ = ["judge_signing_request"]

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def judge_signing_request(
    der: bytes, *, endpoint_name: str, device_id: str, account_id: str
) -> ec.EllipticCurvePublicKey:
    """The key to certify, of which the sender has shown that it holds the private half.

    Raises FtcError SIGNING_REQUEST_INVALID if `der` is longer than SIGNING_REQUEST_MAX_BYTES or no PKCS#10;
    the key is not of P-256, which is what devices get where the key is made for them; it is not signed by
    that key with SHA-256, -384 or -512; or a CN, L or OU in its subject differs from the device's. A subject
    without them will do.
    """
    if len(der) > SIGNING_REQUEST_MAX_BYTES:
        raise _invalid(f"CSR is longer than {SIGNING_REQUEST_MAX_BYTES} bytes")
    try:
        request = x509.load_der_x509_csr(der)
        algorithm = request.public_key_algorithm_oid  # type: ignore[attr-defined]  # the stub lacks it
        if algorithm != PublicKeyAlgorithmOID.EC_PUBLIC_KEY:
            raise _invalid("CSR key is not P-256")  # before it is loaded: that can take a minute
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise _invalid("CSR is not PKCS#10 in DER with a known key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _invalid("CSR key is not P-256")
    if not _is_signed(request):
        raise _invalid("CSR is not signed by its key with SHA-256")
    subject = _subject(request)
    for name, oid, own in (
        ("CN is not the endpoint name", NameOID.COMMON_NAME, endpoint_name),
        ("L is not the device ID", NameOID.LOCALITY_NAME, device_id),
        ("OU is not the account ID", NameOID.ORGANIZATIONAL_UNIT_NAME, account_id),
    ):
        if any(attribute.value != own for attribute in subject.get_attributes_for_oid(oid)):
            raise _invalid(f"CSR subject: {name}")
    return key


def _is_signed(request: x509.CertificateSigningRequest) -> bool:
    try:
        return isinstance(request.signature_hash_algorithm, _HASHES) and request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        return False


def _subject(request: x509.CertificateSigningRequest) -> x509.Name:
    with warnings.catch_warnings():
        # Endpoint names may be longer than X.520 had it (`credentials.subject`).
        warnings.simplefilter("ignore", UserWarning)
        try:
            return request.subject
        except (ValueError, TypeError):  # TypeError for a name that is a BIT STRING
            raise _invalid("CSR subject cannot be read") from None


def _invalid(text: str) -> FtcError:
    return FtcError(Reason.SIGNING_REQUEST_INVALID, text)
