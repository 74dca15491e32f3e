"""A request of ours in blocks: its body out by Block1, its response's body in by Block2 (RFC 7959)."""

from __future__ import annotations

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber

from ftc_core.coap.blocks import RESERVED_EXPONENT, Block, ResourceKey, block_size, copy_without, resource_key

__all__ = ["BrokenTransferError", "Transfer"]

_OF_THE_BODY = (OptionNumber.BLOCK1, OptionNumber.SIZE1, OptionNumber.BLOCK2)


class BrokenTransferError(Exception):
    """The peer's blocks do not fit together, or exceed the bound; never leaves ftc_core.coap."""


class Transfer:
    """One request from its first block to its complete response.

    `exchange` is the number under which the user knows it. Send `first_request()`, then for each response
    whatever `next_request(response)` returns, until that is None and `response` is complete. A body that
    fits in one block of `2**(exponent + 4)` bytes travels without Block1; `upload` is the resource it goes to
    if it does not.
    """

    def __init__(self, request: Message, exponent: int, body_max_bytes: int) -> None:
        self.exchange = 0
        self.response: Message | None = None
        self.upload: ResourceKey | None = None
        self._request = request
        self._exponent = exponent
        self._offset = 0
        self._block1: Block | None = None  # of the request under way
        self._body = bytearray()
        self._body_max_bytes = body_max_bytes
        self._head: Message | None = None  # the response's first block, once a second is asked for

    def first_request(self) -> Message:
        """The request itself, or its first block with the body's length in Size1."""
        if len(self._request.payload) <= block_size(self._exponent):
            return self._request
        return self._block_at(0)

    def next_request(self, response: Message) -> Message | None:
        """The request that this response calls for, or None if the transfer is over.

        Raises BrokenTransferError.
        """
        if self._head is None:
            again = self._upload_after(response)
            if again is not None:
                return again
        return self._download_after(response)

    # --- Block1 (§2.3, §2.5, §2.9) -----------------------------------------------------------------

    def _block_at(self, offset: int) -> Message:
        body = self._request.payload
        size = block_size(self._exponent)
        payload = body[offset : offset + size]
        more = offset + size < len(body)
        self.upload = resource_key(self._request)
        self._offset = offset
        self._block1 = Block(offset // size, more, self._exponent)
        request = copy_without(self._request, OptionNumber.BLOCK1, payload=payload)
        request.opt.block1 = self._block1
        if offset == 0:
            request.opt.size1 = len(body)
        return request

    def _upload_after(self, response: Message) -> Message | None:
        sent, wanted = self._block1, response.opt.block1
        if response.code is Code.REQUEST_ENTITY_TOO_LARGE:
            return self._restart_in(wanted)
        if sent is None or not sent.more:
            if response.code is Code.CONTINUE:
                raise BrokenTransferError("2.31 Continue with nothing to continue")
            return None
        if not _is_success(response):
            return None
        if wanted is None or wanted.block_number != sent.block_number:
            raise BrokenTransferError("the response acknowledges another block")
        # What was sent is accepted whole; a smaller size holds from the next block on (§2.3, figure 9).
        offset = self._offset + block_size(self._exponent)
        self._exponent = min(self._exponent, wanted.size_exponent)
        return self._block_at(offset)

    def _restart_in(self, hint: Block | None) -> Message | None:
        """The first block again, in the smaller size that came with a 4.13, if it did (§2.9.3)."""
        if hint is None or hint.size_exponent >= self._exponent:
            return None
        if len(self._request.payload) <= block_size(hint.size_exponent):
            return None
        self._exponent = hint.size_exponent
        return self._block_at(0)

    # --- Block2 (§2.4) -----------------------------------------------------------------------------

    def _download_after(self, response: Message) -> Message | None:
        block = response.opt.block2
        head = self._head
        if head is None and (block is None or not block.more):
            self.response = response
            return None
        if head is not None and not _is_success(response):
            self.response = response  # the peer gave up the body, and says why
            return None
        if block is None or not self._continues(response, block):
            raise BrokenTransferError("the response's blocks do not follow each other")
        self._body += response.payload
        if len(self._body) > self._body_max_bytes:
            raise BrokenTransferError("the response's body is too large")
        if head is None:
            head = self._head = response
        if not block.more:
            self.response = copy_without(head, OptionNumber.BLOCK2, payload=bytes(self._body))
            return None
        request = copy_without(self._request, *_OF_THE_BODY, payload=b"")
        exponent = min(block.size_exponent, self._exponent)  # late negotiation (§3.1, figure 4)
        request.opt.block2 = Block(len(self._body) // block_size(exponent), False, exponent)
        return request

    def _continues(self, response: Message, block: Block) -> bool:
        if block.size_exponent == RESERVED_EXPONENT or block.start != len(self._body):
            return False
        if not block.is_valid_for_payload_size(len(response.payload)):
            return False
        head = self._head
        return head is None or (response.code is head.code and response.opt.etag == head.opt.etag)


def _is_success(response: Message) -> bool:
    return int(response.code or 0) >> 5 == 2
