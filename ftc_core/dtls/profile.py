"""The certificate profile that we hold peers and ourselves to, beyond what OpenSSL's path check asks.

CCM-8 forces OpenSSL to security level 0 (see `context`), and with it go its own checks of key size and
signature hash; these are here. The X.509 store is used without a purpose, so key usages are here, too.
Sources: RFC 5280 §4.2.1.3 and §4.2.1.12 (key usage, extended key usage), RFC 7925 §4.4 (IoT certificate
profile), PRODUCT §2 (P-256 and P-384 device keys, RSA of 2048 bits or more).

Absent extensions are not held against a certificate: a version 1 certificate passes as a leaf.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

__all__ = [
    "UNREADABLE",
    "certificate_key_objection",
    "certificate_objection",
    "key_objection",
    "leaf_objection",
]

EC_KEY_MIN_BITS = 256
"""P-256, the smallest curve of RFC 7925 §4.4."""
RSA_KEY_MIN_BITS = 2_048
"""PRODUCT §2."""

_SIGNATURE_HASHES = frozenset({"sha256", "sha384", "sha512"})
"""Neither MD5 nor SHA-1, whose collisions allow forged certificates; RFC 7925 §4.4 asks for SHA-256."""

_KEY_ALGORITHMS = frozenset(
    {
        PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
        PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
        PublicKeyAlgorithmOID.RSASSA_PSS,
    }
)
_OTHER_KEY = "key is neither elliptic-curve nor RSA"

UNREADABLE = (
    ValueError,
    TypeError,  # a value of a kind that has no text; a key of a kind that signs nothing
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for a certificate that somebody made up, at whatever part of it."""


def key_objection(key: object) -> str:
    """Why a public key is too weak or of a kind that we do not take; "" if it is good."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.key_size >= EC_KEY_MIN_BITS else f"elliptic-curve key of {key.key_size} bits"
    if isinstance(key, rsa.RSAPublicKey):
        return "" if key.key_size >= RSA_KEY_MIN_BITS else f"RSA key of {key.key_size} bits"
    return _OTHER_KEY


def certificate_key_objection(certificate: x509.Certificate) -> str:
    """As `key_objection`, of a certificate that anybody may have made; raises what its key raises when read.

    A key of another kind is not read at all. Of one of Diffie-Hellman the primes would be tested, which takes
    a minute and more if they are large (RFC 3526's group of 8,192 bits, in the form of X9.42: 2 KiB).
    """
    if certificate.public_key_algorithm_oid not in _KEY_ALGORITHMS:
        return _OTHER_KEY
    return key_objection(certificate.public_key())


def leaf_objection(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> str:
    """Why a certificate may not authenticate a peer for `purpose` (an extended key usage); "" if it may.

    The peer signs the handshake, so a key usage extension must allow digitalSignature (RFC 5280 §4.2.1.3).
    """
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return "key usage does not allow digitalSignature"
    except x509.ExtensionNotFound:
        pass
    except UNREADABLE as error:
        return f"unreadable: {error}"
    return certificate_objection(certificate, purpose)


def certificate_objection(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> str:
    """Why no certificate below a trust anchor may be like this one; "" if it may.

    An extended key usage of an intermediate binds what it issues, as in OpenSSL's own purpose check.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
        if algorithm is None or algorithm.name not in _SIGNATURE_HASHES:
            return f"signature hash is {algorithm.name if algorithm else 'unknown'}"
        if not _allows(certificate, purpose):
            return "extended key usage does not allow this use"
        return certificate_key_objection(certificate)
    except UNREADABLE as error:
        return f"unreadable: {error}"


def _allows(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return purpose in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
