"""Refusals as CoAP responses: the catalogue of errors rendered to RFC 7252."""

from __future__ import annotations

import math

from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.errors import CATALOGUE, FtcError, Reason

__all__ = ["error_response"]


def _code(dotted: str) -> Code:
    code_class, detail = dotted.split(".")
    return Code(int(code_class) << 5 | int(detail))


_CODES = {reason: _code(spec.coap) for reason, spec in CATALOGUE.items() if spec.coap}


def error_response(error: FtcError) -> Message:
    """The response to a refused request: the catalogue's code, and the message as diagnostic payload.

    The payload is UTF-8 without a Content-Format (RFC 7252 §5.5.2). An error that no device can meet has no
    CoAP code: that it got here is a bug, so the device is told INTERNAL_10 and nothing of the message. With
    5.03, `retry_after_s` becomes Max-Age, rounded up to whole seconds (§5.9.3.4).
    """
    code = _CODES.get(error.reason)
    if code is None:
        bug = Reason.INTERNAL_10
        return Message(code=_CODES[bug], payload=CATALOGUE[bug].text.encode())
    response = Message(code=code, payload=error.message.encode())
    if error.retry_after_s is not None and code is Code.SERVICE_UNAVAILABLE:
        response.opt.max_age = math.ceil(error.retry_after_s)
    return response
