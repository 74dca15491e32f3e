"""Enrolment over secure transport (EST), as far as a bootstrap needs it: requests parsed, answers framed.

Sources: RFC 9148 (EST over CoAP: paths, content formats, codes), RFC 7030 §4.1 and §4.2 (what is asked and
answered), PRODUCT contract §2 [I] for the framing of a widely used client, which names no formats at all.

    POST /est/sen    a certificate request (PKCS#10)    → 2.04, the certificate
    GET  /est/crts                                      → 2.05, the CA that issues it

Both also under /.well-known, where RFC 9148 §4.1 has them if nothing was discovered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.messages import response
from ftc_core.lwm2m.request import Dialect

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "CERTS_ONLY",
    "PKCS10",
    "PKIX_CERT",
    "AuthorityRequest",
    "EnrolmentRequest",
    "EstRequest",
    "certificate_answer",
    "is_est_request",
    "parse_est_request",
    "read_certificate",
]

PKCS10 = 286
"""application/pkcs10 (RFC 9148 §4.3, as those below)."""
CERTS_ONLY = 281
"""application/pkcs7-mime; smime-type=certs-only."""
PKIX_CERT = 287
"""application/pkix-cert: one certificate in DER."""

_ANSWERS = (None, CERTS_ONLY, PKIX_CERT)
_ENROL, _AUTHORITY = "sen", "crts"
_IZUMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """`POST /est/sen`: `csr` is the payload, whatever it is, `accept` the wanted format (None: not said)."""

    csr: bytes
    accept: int | None


@dataclass(frozen=True, slots=True)
class AuthorityRequest:
    """`GET /est/crts`."""

    accept: int | None


EstRequest = EnrolmentRequest | AuthorityRequest


def is_est_request(message: Message) -> bool:
    """Whether the request is for something below /est."""
    path: tuple[str, ...] = message.opt.uri_path
    return path[:1] == ("est",) or path[:2] == (".well-known", "est")


def parse_est_request(message: Message) -> EstRequest:
    """What a request below /est asks for.

    Raises FtcError: PATH_NOT_FOUND, METHOD_NOT_ALLOWED, ACCEPT_UNSUPPORTED, or REQUEST_MALFORMED for a
    payload that says that it is no PKCS#10: 4.00, since a widely used client gives up for good on the 4.15
    that CoAP has for it.
    """
    path, accept = message.opt.uri_path, message.opt.accept
    operation = path[path.index("est") + 1 :]
    if operation not in ((_ENROL,), (_AUTHORITY,)):
        raise FtcError(Reason.PATH_NOT_FOUND)
    if operation == (_ENROL,) and message.code != Code.POST:
        raise FtcError(Reason.METHOD_NOT_ALLOWED)
    if operation == (_AUTHORITY,) and message.code != Code.GET:
        raise FtcError(Reason.METHOD_NOT_ALLOWED, "Method not allowed: GET")
    accept = None if accept is None else int(accept)
    if accept not in _ANSWERS:
        raise FtcError(Reason.ACCEPT_UNSUPPORTED)
    if operation == (_AUTHORITY,):
        return AuthorityRequest(accept)
    if message.opt.content_format not in (None, PKCS10):
        raise FtcError(Reason.REQUEST_MALFORMED, "Content-Format is not application/pkcs10")
    return EnrolmentRequest(message.payload, accept)


def certificate_answer(request: EstRequest, certificate: bytes, dialect: Dialect) -> Message:
    """The answer with `certificate` (DER), in the wanted format.

    If none was named, that is 281 (RFC 9148 §4.3), and of Izuma's family its own framing, which has no
    Content-Format: version 1, the number of certificates, and each with its length in two bytes.
    """
    code = Code.CHANGED if isinstance(request, EnrolmentRequest) else Code.CONTENT
    if request.accept == PKIX_CERT:
        return response(code, content_format=PKIX_CERT, payload=certificate)
    if request.accept is None and dialect is Dialect.IZUMA:
        framed = bytes((_IZUMA_VERSION, 1)) + len(certificate).to_bytes(2, "big") + certificate
        return response(code, payload=framed)
    bag = pkcs7.serialize_certificates([x509.load_der_x509_certificate(certificate)], Encoding.DER)
    return response(code, content_format=CERTS_ONLY, payload=bag)


def read_certificate(content_format: int | None, payload: bytes) -> bytes:
    """The device's side of `certificate_answer`: the one certificate in it (DER). Raises ValueError."""
    try:
        certificate = _certificate_in(content_format, payload)
        x509.load_der_x509_certificate(certificate)
    except (UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ValueError(str(error)) from error
    return certificate


def _certificate_in(content_format: int | None, payload: bytes) -> bytes:
    match content_format:
        case _ if content_format == PKIX_CERT:
            return payload
        case _ if content_format == CERTS_ONLY:
            [bagged] = pkcs7.load_der_pkcs7_certificates(payload)
            return bagged.public_bytes(Encoding.DER)
        case None:
            certificate = payload[4:]
            if payload[:4] != bytes((_IZUMA_VERSION, 1)) + len(certificate).to_bytes(2, "big"):
                raise ValueError("the answer has not one certificate in version 1")
            return certificate
        case _:
            raise ValueError(f"the answer has content format {content_format}")
