"""Errors as CoAP responses."""

from __future__ import annotations

import pytest
from aiocoap.numbers.codes import Code

from ftc_core.coap.responses import error_response
from ftc_core.errors import CATALOGUE, FtcError, Reason


@pytest.mark.parametrize("reason", [reason for reason in Reason if CATALOGUE[reason].coap])
def test_a_refusal_carries_the_catalogues_code_and_text(reason: Reason) -> None:
    response = error_response(FtcError(reason))
    assert response.code is not None
    assert response.code.dotted == CATALOGUE[reason].coap
    assert response.payload.decode() == CATALOGUE[reason].text
    assert response.opt.content_format is None


def test_the_message_of_the_error_is_the_diagnostic_payload_in_utf8() -> None:
    response = error_response(FtcError(Reason.REQUEST_MALFORMED, "bad “ep”"))
    assert (response.code, response.payload) == (Code.BAD_REQUEST, "bad “ep”".encode())


def test_an_error_that_no_device_can_meet_is_a_bug_and_says_nothing_more() -> None:
    response = error_response(FtcError(Reason.FIELD_INVALID, "secret"))
    assert (response.code, response.payload) == (Code.INTERNAL_SERVER_ERROR, b"Internal error #10")


def test_retry_after_becomes_max_age_with_service_unavailable_only() -> None:
    assert error_response(FtcError(Reason.OVERLOADED, retry_after_s=2.1)).opt.max_age == 3
    assert error_response(FtcError(Reason.OVERLOADED)).opt.max_age is None
    assert error_response(FtcError(Reason.INTERNAL_1, retry_after_s=2.1)).opt.max_age is None
