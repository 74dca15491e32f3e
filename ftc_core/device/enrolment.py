"""The device's side of EST: its key, its certificate request (PKCS#10, RFC 2986), and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.credentials.pki import private_key_der
from ftc_core.credentials.subject import credential_subject
from ftc_core.device.model import ClientModel
from ftc_core.device.parameters import account_id_of, load_key_pair
from ftc_core.lwm2m.est import PKCS10, read_certificate
from ftc_core.lwm2m.messages import request
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = ["Enrolment", "SigningRequest", "make_signing_request"]


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A request for a certificate, and the private key (PKCS#8) that stays here; both DER."""

    csr: bytes
    private_key: bytes = field(repr=False)


def make_signing_request(endpoint_name: str, device_id: str, account_id: str) -> SigningRequest:
    """A new P-256 key, and the request for `CN=<endpoint_name>, L=<device_id>, OU=<account_id>` [I].

    A device that was told neither ID ("") leaves the subject empty, to be set by the CA.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    known = device_id and account_id
    subject = credential_subject(endpoint_name, device_id, account_id) if known else x509.Name([])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return SigningRequest(csr.public_bytes(Encoding.DER), private_key_der(key))


class Enrolment:
    """One device's certificate request in one bootstrap; `sign` makes it, as `make_signing_request` does."""

    def __init__(
        self, endpoint_name: str, model: ClientModel, sign: Callable[[str, str, str], SigningRequest]
    ) -> None:
        self._endpoint_name = endpoint_name
        self._model = model
        self._sign = sign
        self._private_key = b""

    def request(self, account: SecurityInstance, device_id: str) -> Message:
        """A new key, and what to send for its certificate; `account` is the LwM2M server's, in mode EST.

        Raises ValueError if what the server wrote cannot stand in a request, or its URI is none.
        """
        signed = self._sign(self._endpoint_name, device_id, account_id_of(account.server_uri) or "")
        self._private_key = signed.private_key
        return request(
            Code.POST,
            ("est", "sen"),
            content_format=None if self._model.izuma else PKCS10,
            accept=self._model.certificate_format,
            payload=signed.csr,
        )

    def completed(self, account: SecurityInstance, answer: Message) -> SecurityInstance:
        """The account with certificate and key. Raises ValueError if `answer` has none for that key."""
        certificate = read_certificate(answer.opt.content_format, answer.payload)
        load_key_pair(certificate, self._private_key)
        return replace(
            account,
            mode=SecurityMode.CERTIFICATE,
            public_key=certificate,
            secret_key=self._private_key,
        )
