"""CoAP messages of the LwM2M interfaces: how requests and answers are built on aiocoap's message type.

Message type, message ID and token are left open: the exchange layer fills them in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.optiontypes import OptionType

from ftc_core.coap.responses import error_response
from ftc_core.errors import FtcError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["diagnostic_of", "dotted", "refusal", "request", "response"]

_DIAGNOSTIC_MAX_CHARS = 63
"""Characters of a peer's diagnostic payload that are kept; the same cut as a widely used client's."""


def request(
    code: Code,
    path: Sequence[str],
    *,
    query: Sequence[str] = (),
    content_format: int | None = None,
    accept: int | None = None,
    payload: bytes = b"",
) -> Message:
    """A request for `/path?query`."""
    message = Message(code=code, payload=payload)
    options = message.opt
    for option in _standing_options(tuple(path), content_format, accept):
        options.add_option(option)
    if query:
        options.uri_query = query
    return message


@lru_cache(maxsize=256)  # the same for all devices but those with instance numbers of their own
def _standing_options(
    path: tuple[str, ...], content_format: int | None, accept: int | None
) -> tuple[OptionType, ...]:
    """Options that messages may share: nothing changes an option in place."""
    template = Message()
    template.opt.uri_path = path
    template.opt.content_format = content_format
    template.opt.accept = accept
    return tuple(template.opt.option_list())


def response(
    code: Code, *, location: Sequence[str] = (), content_format: int | None = None, payload: bytes = b""
) -> Message:
    """An answer, with its Location-Path and its Content-Format if it has them."""
    message = Message(code=code, payload=payload)
    if location:
        message.opt.location_path = location
    if content_format is not None:
        message.opt.content_format = content_format
    return message


def refusal(error: FtcError) -> Message:
    """The answer that tells a device of `error`: the catalogue's code, the text as diagnostic payload.

    Of our own failures the device gets the catalogue's text alone ("Internal error #3"), never the details.
    """
    if error.spec.coap.startswith("5."):
        error = FtcError(error.reason, retry_after_s=error.retry_after_s)
    return error_response(error)


def dotted(message: Message) -> str:
    """The code as RFC 7252 writes it: "2.04" ("" if the message has none)."""
    return "" if message.code is None else str(message.code.dotted)


def diagnostic_of(message: Message) -> str:
    """A peer's diagnostic payload, made safe for a log line: one line, printable, at most 63 characters."""
    text = message.payload[: 4 * _DIAGNOSTIC_MAX_CHARS].decode(errors="replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[
        :_DIAGNOSTIC_MAX_CHARS
    ]
