"""The subject of an LwM2M client certificate: `CN=<endpoint name>, L=<device id>, OU=<account id>`.

RFC 5280's upper bounds allow 64 characters in a common name; an LwM2M endpoint name has up to 256 bytes
(PRODUCT §1). Names up to 64 bytes are built as usual. A longer one is still put into CN, since clients and
LwM2M servers look for it there and nowhere else: X.520 has dropped the bound since, mbedTLS, OpenSSL and
Java do not enforce it, and a device with such a name carries it in its own bootstrap certificate already.
Only the builder's guard is in the way, so such a name is encoded with the ASN.1 encoder and read back.
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import NameOID

__all__ = ["credential_subject"]

_UB_COMMON_NAME_BYTES = 64
"""ub-common-name (RFC 5280 appendix A.1); the builder counts bytes of UTF-8."""


@asn1.sequence
class _Attribute:
    """AttributeTypeAndValue (RFC 5280 §4.1.2.4), its value a UTF8String."""

    type: x509.ObjectIdentifier
    value: str


@asn1.sequence
class _ThreeAttributeName:
    """An RDNSequence of three single-valued RDNs: a SEQUENCE of known length, so a SEQUENCE OF in DER."""

    common_name: asn1.SetOf[_Attribute]
    locality: asn1.SetOf[_Attribute]
    organizational_unit: asn1.SetOf[_Attribute]


def credential_subject(endpoint_name: str, device_id: str, account_id: str) -> x509.Name:
    """The subject name. `endpoint_name` is not empty and at most 256 bytes of UTF-8, else ValueError."""
    if len(endpoint_name.encode()) > _UB_COMMON_NAME_BYTES:
        return _long_subject(endpoint_name, device_id, account_id)
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, endpoint_name),
            x509.NameAttribute(NameOID.LOCALITY_NAME, device_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, account_id),
        ]
    )


def _long_subject(endpoint_name: str, device_id: str, account_id: str) -> x509.Name:
    encoded = asn1.encode_der(
        _ThreeAttributeName(
            common_name=asn1.SetOf([_Attribute(type=NameOID.COMMON_NAME, value=endpoint_name)]),
            locality=asn1.SetOf([_Attribute(type=NameOID.LOCALITY_NAME, value=device_id)]),
            organizational_unit=asn1.SetOf(
                [_Attribute(type=NameOID.ORGANIZATIONAL_UNIT_NAME, value=account_id)]
            ),
        )
    )
    with warnings.catch_warnings():
        # The parser says that the name is longer than 64 bytes; that is why we are here.
        warnings.simplefilter("ignore", UserWarning)
        return x509.Name.from_bytes(encoded)
