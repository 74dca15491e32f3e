"""Certificates as small devices have them, which no builder makes: DER by hand (X.690 §8, RFC 5280 §4.1)."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import Credential, Manufacturer

__all__ = ["BMP", "PRINTABLE", "T61", "UNIVERSAL", "UTF8", "name", "odd_device"]

UTF8, PRINTABLE, T61, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x1C, 0x1E
_INTEGER, _BIT_STRING, _OID, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 2, 3, 6, 0x17, 0x18, 0x30, 0x31
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def name(*attributes: tuple[bytes, int, bytes]) -> bytes:
    """A Name of (arc below 2.5.4, string type, encoded value), each in an RDN of its own."""
    return _der(
        _SEQUENCE,
        *(
            _der(_SET, _der(_SEQUENCE, _der(_OID, b"\x55\x04" + arc), _der(kind, value)))
            for arc, kind, value in attributes
        ),
    )


def odd_device(
    manufacturer: Manufacturer,
    subject: bytes,
    *,
    version: int = 3,
    serial: bytes = b"\x01",
    not_before: str = "260101000000Z",
    not_after: str = "460101000000Z",
) -> Credential:
    """A device certificate without extensions; `serial` is the INTEGER's content, the times as in the DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = manufacturer.certificate.subject.public_bytes()
    body = _der(
        _SEQUENCE,
        _der(0xA0, _der(_INTEGER, bytes((version - 1,)))) if version > 1 else b"",
        _der(_INTEGER, serial),
        _ECDSA_WITH_SHA256,
        issuer,
        _der(_SEQUENCE, _time(not_before), _time(not_after)),
        subject,
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
    assert isinstance(manufacturer.private_key, ec.EllipticCurvePrivateKey)
    signature = manufacturer.private_key.sign(body, ec.ECDSA(hashes.SHA256()))
    der = _der(_SEQUENCE, body, _ECDSA_WITH_SHA256, _der(_BIT_STRING, b"\x00", signature))
    return Credential(x509.load_der_x509_certificate(der), key)


def _time(text: str) -> bytes:
    return _der(_UTC_TIME if len(text) == 13 else _GENERALIZED_TIME, text.encode())


def _der(tag: int, *content: bytes) -> bytes:
    value = b"".join(content)
    length = len(value)
    if length < 128:
        return bytes((tag, length)) + value
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + value
