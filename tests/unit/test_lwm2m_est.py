"""Requests of EST as CoAP has them, and the framings of the answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ftc_core.credentials.pki import create_authority
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.est import (
    AuthorityRequest,
    EnrolmentRequest,
    certificate_answer,
    is_est_request,
    parse_est_request,
    read_certificate,
)
from ftc_core.lwm2m.messages import request
from ftc_core.lwm2m.request import Dialect

CERTIFICATE = create_authority("Any", now=datetime(2026, 11, 29, tzinfo=UTC)).certificate_der


def sen(code: Code = Code.POST, *, content_format: int | None = None, accept: int | None = None) -> Message:
    return request(code, ("est", "sen"), content_format=content_format, accept=accept, payload=b"csr")


@pytest.mark.parametrize(
    ("message", "parsed"),
    [
        (sen(), EnrolmentRequest(b"csr", None)),  # as Izuma's client has it
        (sen(content_format=286, accept=281), EnrolmentRequest(b"csr", 281)),
        (sen(content_format=286, accept=287), EnrolmentRequest(b"csr", 287)),
        (request(Code.POST, (".well-known", "est", "sen"), payload=b"csr"), EnrolmentRequest(b"csr", None)),
        (request(Code.GET, ("est", "crts"), accept=287), AuthorityRequest(287)),
        (request(Code.GET, (".well-known", "est", "crts")), AuthorityRequest(None)),
    ],
)
def test_a_request_is_understood(message: Message, parsed: EnrolmentRequest | AuthorityRequest) -> None:
    assert is_est_request(message)
    assert parse_est_request(message) == parsed


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (sen(Code.GET), Reason.METHOD_NOT_ALLOWED),
        (sen(Code.PUT), Reason.METHOD_NOT_ALLOWED),
        (request(Code.POST, ("est", "crts")), Reason.METHOD_NOT_ALLOWED),
        (request(Code.POST, ("est",)), Reason.PATH_NOT_FOUND),
        (request(Code.POST, ("est", "sren")), Reason.PATH_NOT_FOUND),
        (request(Code.POST, ("est", "skg")), Reason.PATH_NOT_FOUND),  # a key that is made here: never
        (request(Code.POST, ("est", "my-cert", "sen")), Reason.PATH_NOT_FOUND),  # Izuma's named certificates
        (sen(accept=284), Reason.ACCEPT_UNSUPPORTED),
        (sen(content_format=0), Reason.REQUEST_MALFORMED),
        (sen(content_format=281), Reason.REQUEST_MALFORMED),
    ],
)
def test_one_that_is_none_of_ours_is_refused_by_a_code_after_which_clients_try_again(
    message: Message, reason: Reason
) -> None:
    assert is_est_request(message)
    with pytest.raises(FtcError) as refused:
        parse_est_request(message)
    assert refused.value.reason is reason
    assert refused.value.spec.coap in ("4.00", "4.04", "4.05", "4.06")


@pytest.mark.parametrize("path", [(), ("bs",), ("sen",), (".well-known", "core"), ("bs", "est")])
def test_other_paths_are_not_of_est(path: tuple[str, ...]) -> None:
    assert not is_est_request(request(Code.POST, path))


@pytest.mark.parametrize("dialect", Dialect)
def test_the_wanted_format_is_served(dialect: Dialect) -> None:
    plain = certificate_answer(EnrolmentRequest(b"", 287), CERTIFICATE, dialect)
    assert (plain.code, plain.opt.content_format, plain.payload) == (Code.CHANGED, 287, CERTIFICATE)

    bag = certificate_answer(EnrolmentRequest(b"", 281), CERTIFICATE, dialect)
    assert (bag.code, bag.opt.content_format) == (Code.CHANGED, 281)
    [bagged] = pkcs7.load_der_pkcs7_certificates(bag.payload)
    assert bagged.public_bytes(Encoding.DER) == CERTIFICATE


def test_without_a_wish_izumas_client_gets_its_own_framing() -> None:
    """Version, number, and the length in two bytes before each certificate; no Content-Format."""
    answer = certificate_answer(EnrolmentRequest(b"", None), CERTIFICATE, Dialect.IZUMA)
    assert (answer.code, answer.opt.content_format) == (Code.CHANGED, None)
    assert answer.payload == b"\x01\x01" + len(CERTIFICATE).to_bytes(2, "big") + CERTIFICATE


@pytest.mark.parametrize("dialect", [Dialect.LWM2M_1_0, Dialect.LWM2M_1_1])
def test_without_a_wish_others_get_pkcs7(dialect: Dialect) -> None:
    """RFC 9148 §4.3: the server should choose 281."""
    answer = certificate_answer(EnrolmentRequest(b"", None), CERTIFICATE, dialect)
    assert answer.opt.content_format == 281


def test_the_authority_is_content() -> None:
    answer = certificate_answer(AuthorityRequest(287), CERTIFICATE, Dialect.LWM2M_1_1)
    assert (answer.code, answer.payload) == (Code.CONTENT, CERTIFICATE)


@pytest.mark.parametrize("accept", [None, 281, 287])
def test_a_device_reads_each_format(accept: int | None) -> None:
    answer = certificate_answer(EnrolmentRequest(b"", accept), CERTIFICATE, Dialect.IZUMA)
    assert read_certificate(answer.opt.content_format, answer.payload) == CERTIFICATE


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (None, b""),
        (None, b"\x02\x01" + len(CERTIFICATE).to_bytes(2, "big") + CERTIFICATE),
        (None, b"\x01\x02" + len(CERTIFICATE).to_bytes(2, "big") + CERTIFICATE),
        (None, b"\x01\x01\x00\x01" + CERTIFICATE),
        (281, CERTIFICATE),
        (281, b""),
        (287, CERTIFICATE[:-1]),
        (0, CERTIFICATE),
    ],
)
def test_a_device_takes_nothing_that_is_no_certificate(content_format: int | None, payload: bytes) -> None:
    with pytest.raises(ValueError):
        read_certificate(content_format, payload)
