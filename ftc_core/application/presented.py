"""What a certificate that was presented tells, trusted or not: for people, and to find who knows its CA.

Whatever is read here was written by whoever knocked: texts are cut, and shown without what a terminal would
obey.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.profile import UNREADABLE
from ftc_core.limits import DENIAL_TEXT_MAX_CHARS, PRESENTED_CHAIN_MAX, TRUST_CANDIDATES_MAX
from ftc_core.storage.port import View

__all__ = ["UNREADABLE", "Presented", "find_issuers", "read_presented", "shown"]


class Presented(msgspec.Struct, frozen=True):
    """The names on a certificate: `issuer` in RFC 4514 form, `issuer_key_id` as in `domain.denial`."""

    common_name: str = ""
    issuer: str = ""
    issuer_key_id: bytes = b""


def read_presented(certificate_der: bytes) -> Presented:
    """As much as can be read. Never raises, whatever the bytes."""
    with _odd_certificates_allowed():
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            issuer = certificate.issuer.rfc4514_string()
        except UNREADABLE:
            return Presented()
        common_name = shown(str(names[0].value)) if names else ""
        return Presented(common_name, shown(issuer), _issuer_key_id(certificate))


def find_issuers(view: View, chain_der: Sequence[bytes]) -> tuple[bytes, ...]:
    """SHA-256 of the CAs, of any account and status, that issued a certificate of the chain (leaf first).

    That is told by the signature: to bear a CA's name is anybody's choice.
    """
    with _odd_certificates_allowed():
        try:
            chain = [x509.load_der_x509_certificate(der) for der in chain_der[:PRESENTED_CHAIN_MAX]]
            subjects = [certificate.issuer.public_bytes() for certificate in chain]
        except UNREADABLE:
            return ()
        candidates = dict(_candidates(view, subjects, [fingerprint_of(der) for der in chain_der[1:]]))
        return tuple(
            fingerprint
            for certificate in chain
            for fingerprint, authority in candidates.items()
            if _issued(authority, certificate)
        )


def shown(text: str) -> str:
    """`text` as it may be kept and printed."""
    printable = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return printable[:DENIAL_TEXT_MAX_CHARS]


def _candidates(
    view: View, subjects: Sequence[bytes], fingerprints: Sequence[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Fingerprint and DER of each CA that may have issued something by its name."""
    for anchor in view.find_trust_anchors(subjects, fingerprints):
        yield anchor.fingerprint, anchor.certificate_der
    for certificate in view.find_inactive_cas(subjects, limit=TRUST_CANDIDATES_MAX):
        yield certificate.fingerprint, certificate.certificate_der


def _issued(authority_der: bytes, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority_der))
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


@contextmanager
def _odd_certificates_allowed() -> Iterator[None]:
    """Fielded devices have what `cryptography` warns of: long names, serial numbers of zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _issuer_key_id(certificate: x509.Certificate) -> bytes:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return b""
    return (extension.value.key_identifier or b"")[:DENIAL_TEXT_MAX_CHARS]
