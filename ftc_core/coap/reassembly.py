"""The peer's bodies: requests put together from Block1, responses handed out by Block2 (RFC 7959)."""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

from aiocoap.message import Message
from aiocoap.numbers.optionnumbers import OptionNumber

from ftc_core import limits
from ftc_core.coap.blocks import (
    RESERVED_EXPONENT,
    Block,
    ResourceKey,
    block_size,
    copy_without,
    resource_key,
)
from ftc_core.errors import FtcError, Reason

__all__ = ["RequestBodies", "ResponseBodies", "response_block"]

T = TypeVar("T")

_ETAG_BYTES = 8
"""The most that the option holds (RFC 7252 §5.10.6)."""


class _Bodies(Generic[T]):
    """At most COAP_BODIES_MAX bodies, the longest untouched leaving first, each kept `lifetime` seconds."""

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._entries: dict[ResourceKey, tuple[float, T]] = {}  # the longest untouched first

    def take(self, key: ResourceKey, now: float) -> T | None:
        expires, body = self._entries.pop(key, (now, None))
        return body if now < expires else None

    def put(self, key: ResourceKey, body: T, now: float) -> None:
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= limits.COAP_BODIES_MAX:
            del entries[next(iter(entries))]
        entries[key] = (now + self._lifetime, body)


class _PartialRequest:
    __slots__ = ("body", "content_format")

    def __init__(self, content_format: int | None) -> None:
        self.body = bytearray()
        self.content_format = content_format


class RequestBodies:
    """Reassembles requests, one per resource at a time; block 0 begins anew.

    An unfinished body is forgotten after `lifetime` seconds without a block, or for a newer one.
    """

    def __init__(self, body_max_bytes: int, lifetime: float) -> None:
        self._body_max_bytes = body_max_bytes
        self._partial: _Bodies[_PartialRequest] = _Bodies(lifetime)

    def add(self, request: Message, block: Block, now: float) -> Message | None:
        """Take in a request with its Block1 option; the complete request, without it, or None if more is due.

        Raises FtcError, upon which the body is forgotten: REQUEST_MALFORMED for a block of the wrong length
        or of the reserved size, REQUEST_INCOMPLETE if it does not follow the last, or has another
        Content-Format (§2.9.2), REQUEST_TOO_LARGE if the body is, or is said to become, larger than the
        bound (§2.9.3).
        """
        key = resource_key(request)
        partial = self._partial.take(key, now)
        if block.size_exponent == RESERVED_EXPONENT or not block.is_valid_for_payload_size(
            len(request.payload)
        ):
            raise FtcError(Reason.REQUEST_MALFORMED, "Payload does not match Block1")
        content_format = request.opt.content_format
        if block.block_number == 0:
            partial = _PartialRequest(content_format)
        if partial is None or block.start != len(partial.body) or partial.content_format != content_format:
            raise FtcError(Reason.REQUEST_INCOMPLETE)
        partial.body += request.payload
        if max(len(partial.body), request.opt.size1 or 0) > self._body_max_bytes:
            raise FtcError(Reason.REQUEST_TOO_LARGE)
        if block.more:
            self._partial.put(key, partial, now)
            return None
        return copy_without(request, OptionNumber.BLOCK1, OptionNumber.SIZE1, payload=bytes(partial.body))


class ResponseBodies:
    """Keeps large responses while the peer asks for their blocks, up to `lifetime` seconds between two."""

    def __init__(self, lifetime: float) -> None:
        self._responses: _Bodies[tuple[int | None, Message]] = _Bodies(lifetime)

    def keep(self, exchange: int, request: Message, response: Message, now: float) -> None:
        """Note the response whose first block answers this request, known as `exchange`."""
        self._responses.put(resource_key(request), (exchange, response), now)

    def next_block(self, request: Message, block: Block, now: float) -> tuple[Message, int | None] | None:
        """The block asked for, or None if no such response is kept; and if it is the last one, and asked for
        for the first time, the exchange of the first.

        The response stays, for the last block may get lost and be asked for again. Raises FtcError
        REQUEST_MALFORMED for a block beyond the end.
        """
        key = resource_key(request)
        kept = self._responses.take(key, now)
        if kept is None:
            return None
        exchange, response = kept
        answer = response_block(response, block)
        more = answer.opt.block2.more
        self._responses.put(key, (exchange if more else None, response), now)
        return answer, None if more else exchange


def response_block(response: Message, wanted: Block) -> Message:
    """One block of a response, with all its options, and an ETag by which the peer sees that two blocks are
    not of one body (RFC 7959 §2.4), unless the response has one.

    Raises FtcError REQUEST_MALFORMED for a block beyond the end.
    """
    body = response.payload
    if wanted.start >= max(1, len(body)):
        raise FtcError(Reason.REQUEST_MALFORMED, "No such block")
    end = wanted.start + block_size(wanted.size_exponent)
    block = copy_without(response, OptionNumber.BLOCK2, payload=body[wanted.start : end])
    block.opt.block2 = Block(wanted.block_number, end < len(body), wanted.size_exponent)
    if len(body) > len(block.payload) and block.opt.etag is None:
        block.opt.etag = hashlib.sha256(body).digest()[:_ETAG_BYTES]
    return block
