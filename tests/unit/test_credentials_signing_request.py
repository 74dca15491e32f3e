"""Certificate requests by EST: what is taken, and what is refused with which words."""

from __future__ import annotations

from base64 import encodebytes
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.device.enrolment import make_signing_request
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_core.limits import SIGNING_REQUEST_MAX_BYTES
from tests.signing_requests import ACCOUNT_ID, DEVICE_ID, NAME, signing_request, subject

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 11, 29, tzinfo=UTC)
SHOWN_MAX_CHARS = 63 - len("bad-request:")


def judge(der: bytes, name: str = NAME) -> ec.EllipticCurvePublicKey:
    return judge_signing_request(der, endpoint_name=name, device_id=DEVICE_ID, account_id=ACCOUNT_ID)


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


GOOD = signing_request(subject(), key=KEY)


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(GOOD, id="as Izuma's client makes it"),
        pytest.param(signing_request(key=KEY), id="empty subject"),
        pytest.param(signing_request(subject(L="", OU=""), key=KEY), id="CN alone"),
        pytest.param(signing_request(reversed(subject()), key=KEY), id="another order"),  # type: ignore[arg-type]
        pytest.param(signing_request(subject(O="Acme"), key=KEY), id="a name more"),
        pytest.param(signing_request(subject(), key=KEY, digest=hashes.SHA384()), id="SHA-384"),
        pytest.param(signing_request(subject(), key=KEY, digest=hashes.SHA512()), id="SHA-512"),
        pytest.param(
            signing_request(
                subject(),
                key=KEY,
                extensions=[
                    x509.BasicConstraints(ca=True, path_length=None),
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                    x509.SubjectAlternativeName([x509.DNSName("bootstrap.example")]),
                    x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
                ],
            ),
            id="wishes for extensions",
        ),
    ],
)
def test_the_key_is_taken_whatever_else_the_device_wishes_for(der: bytes) -> None:
    assert point(judge(der)) == point(KEY.public_key())


def wrong_signature() -> bytes:
    """Of another request by the same key: both are well-formed."""
    other = x509.load_der_x509_csr(signing_request(subject(CN="dev-2"), key=KEY))
    request = x509.load_der_x509_csr(GOOD)
    head = GOOD[: -len(request.signature)]
    signature = other.signature.ljust(len(request.signature), b"\0")
    return head + signature[: len(request.signature)]


def stolen_key() -> bytes:
    """Somebody else's public key under one's own signature: no proof of possession."""
    other = signing_request(subject())
    own, theirs = point(judge(GOOD)), point(judge(other))
    return GOOD.replace(own, theirs)


def bit_string_name() -> bytes:
    """The endpoint name in a BIT STRING, which X.520 has no common name in; signed as it is."""
    request = x509.load_der_x509_csr(GOOD)
    name = NAME.encode()
    signed = request.tbs_certrequest_bytes
    altered = signed.replace(b"\x0c\x05" + name, b"\x03\x05" + name)
    assert altered != signed
    signature = b""
    while len(signature) != len(request.signature):  # it is of 70 to 72 bytes
        signature = KEY.sign(altered, ec.ECDSA(hashes.SHA256()))
    return GOOD.replace(signed, altered)[: -len(signature)] + signature


BAD = {
    "wrong signature": (wrong_signature(), "CSR is not signed by its key with SHA-256"),
    "another's key": (stolen_key(), "CSR is not signed by its key with SHA-256"),
    "SHA-224": (
        signing_request(subject(), digest=hashes.SHA224()),
        "CSR is not signed by its key with SHA-256",
    ),
    "RSA 1024": (
        signing_request(subject(), key=rsa.generate_private_key(65_537, 1_024)),  # noqa: S505 - refused
        "CSR key is not P-256",
    ),
    "RSA 2048": (
        signing_request(subject(), key=rsa.generate_private_key(65_537, 2_048)),
        "CSR key is not P-256",
    ),
    "P-384": (
        signing_request(subject(), key=ec.generate_private_key(ec.SECP384R1())),
        "CSR key is not P-256",
    ),
    "secp256k1": (
        signing_request(subject(), key=ec.generate_private_key(ec.SECP256K1())),
        "CSR key is not P-256",
    ),
    # Judged by its kind alone: to load one of X9.42 is to test its primes, however long.
    "another kind": (
        GOOD.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")),
        "CSR key is not P-256",
    ),
    "another CN": (signing_request(subject(CN="dev-2")), "CSR subject: CN is not the endpoint name"),
    "CN in another case": (signing_request(subject(CN="DEV-1")), "CSR subject: CN is not the endpoint name"),
    "another L": (signing_request(subject(L="e" * 32)), "CSR subject: L is not the device ID"),
    "another OU": (signing_request(subject(OU="b" * 32)), "CSR subject: OU is not the account ID"),
    "two CNs": (
        signing_request([*subject(), (NameOID.COMMON_NAME, "dev-2")]),
        "CSR subject: CN is not the endpoint name",
    ),
    "CN of bits": (bit_string_name(), "CSR subject cannot be read"),
    "trailing garbage": (GOOD + b"\0", "CSR is not PKCS#10 in DER with a known key"),
    "truncated": (GOOD[:-1], "CSR is not PKCS#10 in DER with a known key"),
    "empty": (b"", "CSR is not PKCS#10 in DER with a known key"),
    "PEM": (
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + encodebytes(GOOD) + b"-----END CERTIFICATE REQUEST-----\n",
        "CSR is not PKCS#10 in DER with a known key",
    ),
    "Base64, as EST over HTTP has it": (encodebytes(GOOD), "CSR is not PKCS#10 in DER with a known key"),
    "a certificate": (
        create_authority("Any", now=NOW).certificate_der,
        "CSR is not PKCS#10 in DER with a known key",
    ),
    "version 2": (
        GOOD.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1),
        "CSR is not PKCS#10 in DER with a known key",
    ),
    "huge": (
        signing_request(subject(), extensions=[x509.UnrecognizedExtension(NameOID.TITLE, bytes(4_096))]),
        f"CSR is longer than {SIGNING_REQUEST_MAX_BYTES} bytes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_in_words_that_a_device_can_show(name: str) -> None:
    der, text = BAD[name]
    with pytest.raises(FtcError) as refused:
        judge(der)
    assert (refused.value.reason, refused.value.message) == (Reason.SIGNING_REQUEST_INVALID, text)
    assert len(text) <= SHOWN_MAX_CHARS
    assert CATALOGUE[refused.value.reason].coap == "4.00"


def test_a_long_endpoint_name_may_stand_in_the_subject() -> None:
    name = "ü" * 128
    signed = make_signing_request(name, DEVICE_ID, ACCOUNT_ID)
    judge(signed.csr, name)
    with pytest.raises(FtcError):
        judge(signed.csr, name[:-1] + "u")


def test_what_is_certified_is_what_is_delivered_but_for_the_key() -> None:
    """Subject, extensions, validity and issuer are the CA's: nothing of the request but its key."""
    issuer = CredentialIssuer(create_authority("Issuing CA", now=NOW), timedelta(days=30))
    names = {"endpoint_name": NAME, "device_id": DEVICE_ID, "account_id": ACCOUNT_ID}
    wishes = signing_request(
        subject(O="Acme"), key=KEY, extensions=[x509.BasicConstraints(ca=True, path_length=None)]
    )

    mine = x509.load_der_x509_certificate(issuer.certify(judge(wishes), **names, now=NOW))
    delivered = x509.load_der_x509_certificate(issuer.issue(**names, now=NOW).certificate_der)

    assert mine.public_key() == KEY.public_key()
    assert mine.subject == delivered.subject
    assert list(mine.extensions) == list(delivered.extensions)
    assert (mine.issuer, mine.not_valid_before_utc, mine.not_valid_after_utc) == (
        delivered.issuer,
        delivered.not_valid_before_utc,
        delivered.not_valid_after_utc,
    )
    assert mine.serial_number != delivered.serial_number
