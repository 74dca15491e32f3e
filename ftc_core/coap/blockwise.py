"""Bodies of any size over the exchanges of one peer (RFC 7959), behind `ExchangeLayer`'s own interface.

    user ── complete requests and responses ── BlockwiseLayer ── single messages ── ExchangeLayer ── datagrams

Each block is an exchange of its own. A request of ours keeps the number of its first block; a request of the
peer has the number of its last, which is the one to be answered. Blocks of several requests may interleave:
whoever needs them in order waits for each response.

The blocks of one request of ours share a token, by which some peers (go-coap) tell bodies apart, though
RFC 7959 §3 leaves it free. No response can be taken for that to a later block (RFC 9175 §4.1): it came before
that was sent, and a copy of it is known by its message ID.
"""

from __future__ import annotations

from collections import deque

import msgspec
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber

from ftc_core import limits
from ftc_core.coap.blocks import RESERVED_EXPONENT, Block, block_size, copy_without, size_exponent
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    FailureCause,
    RequestReceived,
    ResponseHandedOut,
    ResponseReceived,
)
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.coap.reassembly import RequestBodies, ResponseBodies, response_block
from ftc_core.coap.responses import error_response
from ftc_core.coap.transfer import BrokenTransferError, Transfer
from ftc_core.errors import FtcError, Reason

__all__ = ["BODY_LIFETIME_S", "BlockwiseLayer"]

BODY_LIFETIME_S = 93.0
"""Seconds for which a body waits for its next block: MAX_TRANSMIT_WAIT, after which the peer has given up."""

_REPEATABLE_METHODS = frozenset({Code.GET, Code.FETCH})


class _Asked(msgspec.Struct, frozen=True):
    """A request at the user's, and the Block1 option to confirm in its response."""

    request: Message
    block1: Block | None


class BlockwiseLayer:
    """`ExchangeLayer` with complete bodies: same methods, same events, same exchange numbers.

    `block_size` (bytes; a power of two from 16 to 1,024, else ValueError) is the largest block that we send
    and the size that we ask of the peer; the peer may ask for less. `body_max_bytes` bounds the bodies that
    we accept.
    """

    def __init__(
        self,
        exchanges: ExchangeLayer,
        *,
        block_size: int = limits.COAP_BLOCK_SIZE,
        body_max_bytes: int = limits.COAP_BODY_MAX_BYTES,
    ) -> None:
        self._exchanges = exchanges
        self._exponent = size_exponent(block_size)
        self._body_max_bytes = body_max_bytes
        self._transfers: dict[int, Transfer] = {}  # by the exchange of the block under way
        self._later_blocks: dict[int, int] = {}  # a transfer's number → that exchange, if it is another
        self._asked: dict[int, _Asked] = {}
        self._request_bodies = RequestBodies(body_max_bytes, BODY_LIFETIME_S)
        self._response_bodies = ResponseBodies(BODY_LIFETIME_S)
        self._events: deque[Event] = deque()

    # --- what the user does ------------------------------------------------------------------------

    def send_request(self, request: Message, now: float) -> int:
        """As `ExchangeLayer.send_request`; a body above one block goes out by Block1, block after block.

        It ends in one `ResponseReceived` with the complete response (which is an error such as 4.08 or 4.13
        if the peer gave the transfer up) or one `ExchangeFailed`. Raises ValueError also while another body
        goes out to the same resource, since the peer could not tell their blocks apart (§2.5).
        """
        transfer = Transfer(request, self._exponent, self._body_max_bytes)
        first = transfer.first_request()
        if transfer.upload is not None and any(t.upload == transfer.upload for t in self._transfers.values()):
            raise ValueError("another body is on its way to this resource")
        transfer.exchange = self._exchanges.send_request(first, now)
        self._transfers[transfer.exchange] = transfer
        return transfer.exchange

    def send_response(self, exchange: int, response: Message, now: float) -> bool:
        """As `ExchangeLayer.send_response`; a body above one block, or above the block size that the peer
        asked for, is handed out by Block2 as the peer asks.

        True if that is all; False if the peer has to ask for more blocks, whose last makes a
        `ResponseHandedOut`.
        """
        asked = self._asked.get(exchange)
        if asked is None:
            raise ValueError(f"exchange {exchange} awaits no response")
        first = self._first_block(exchange, asked, response, now)
        self._exchanges.send_response(exchange, first, now)
        del self._asked[exchange]
        return first.opt.block2 is None or not first.opt.block2.more

    def acknowledge(self, exchange: int) -> None:
        """As `ExchangeLayer.acknowledge`."""
        self._exchanges.acknowledge(exchange)

    def ignore(self, exchange: int) -> None:
        """As `ExchangeLayer.ignore`."""
        self._asked.pop(exchange, None)
        self._exchanges.ignore(exchange)

    def cancel(self, exchange: int, now: float) -> None:
        """As `ExchangeLayer.cancel`."""
        self._asked.pop(exchange, None)
        current = self._later_blocks.pop(exchange, exchange)
        self._transfers.pop(current, None)
        self._exchanges.cancel(current, now)

    # --- what the user's loop does -----------------------------------------------------------------

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take in one datagram of the peer, whatever it holds. Never raises."""
        self._exchanges.receive_datagram(data, now)
        self._take_events(now)

    def datagrams_to_send(self) -> list[bytes]:
        """The datagrams due now, in order; each is handed out once."""
        return self._exchanges.datagrams_to_send()

    def next_event(self) -> Event | None:
        """The oldest event not yet taken."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """When `handle_timer` is next due, or None."""
        return self._exchanges.get_timer()

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        self._exchanges.handle_timer(now)
        self._take_events(now)

    def _take_events(self, now: float) -> None:
        while (event := self._exchanges.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self._request_received(event, now)
            elif isinstance(event, ResponseReceived):
                self._response_received(event, now)
            elif isinstance(event, ExchangeFailed):
                self._failed(self._end_block(event.exchange), event.cause)
            else:
                self._events.append(event)

    # --- requests of the peer ----------------------------------------------------------------------

    def _request_received(self, event: RequestReceived, now: float) -> None:
        request, options = event.message, event.message.opt
        try:
            block1 = options.block1
            if block1 is not None:
                complete = self._request_bodies.add(request, block1, now)
                block1 = Block(block1.block_number, block1.more, min(block1.size_exponent, self._exponent))
                if complete is None:
                    self._exchanges.send_response(event.exchange, _continue(block1), now)
                    return
                event = RequestReceived(event.exchange, complete)
            elif len(request.payload) > self._body_max_bytes:
                raise FtcError(Reason.REQUEST_TOO_LARGE)
            block2 = options.block2
            if block2 is not None and block2.size_exponent == RESERVED_EXPONENT:
                raise FtcError(Reason.REQUEST_MALFORMED, "Reserved size in Block2")
            if block2 is not None and block2.block_number > 0:
                kept = self._response_bodies.next_block(request, block2, now)
                if kept is not None:
                    answer, handed_out = kept
                    self._exchanges.send_response(event.exchange, answer, now)
                    if handed_out is not None:
                        self._events.append(ResponseHandedOut(handed_out))
                    return
                if request.code not in _REPEATABLE_METHODS:  # its effect must not happen twice
                    raise FtcError(Reason.REQUEST_INCOMPLETE)
        except FtcError as error:
            self._exchanges.send_response(event.exchange, self._refusal(error), now)
            return
        self._asked[event.exchange] = _Asked(event.message, block1)
        self._events.append(event)

    def _first_block(self, exchange: int, asked: _Asked, response: Message, now: float) -> Message:
        """The response as it fits in one message; the rest of it is kept for the requests to come."""
        wanted = asked.request.opt.block2
        if wanted is None and asked.block1 is None and len(response.payload) <= block_size(self._exponent):
            return response
        if asked.block1 is not None:
            response = copy_without(response, OptionNumber.BLOCK1, payload=response.payload)
            response.opt.block1 = asked.block1
        if wanted is None:
            if len(response.payload) <= block_size(self._exponent):
                return response
            wanted = Block(0, False, self._exponent)
        if not response.payload:
            return response
        try:
            first = response_block(response, wanted.reduced_to(self._exponent))
        except FtcError as error:
            return self._refusal(error)
        if first.opt.block2.more:
            rest = copy_without(response, OptionNumber.BLOCK1, payload=response.payload)
            self._response_bodies.keep(exchange, asked.request, rest, now)
        return first

    def _refusal(self, error: FtcError) -> Message:
        response = error_response(error)
        if error.reason is Reason.REQUEST_TOO_LARGE:
            response.opt.size1 = self._body_max_bytes
        return response

    # --- responses of the peer ---------------------------------------------------------------------

    def _response_received(self, event: ResponseReceived, now: float) -> None:
        transfer = self._end_block(event.exchange)
        try:
            request = transfer.next_request(event.message)
        except BrokenTransferError:
            self._failed(transfer, FailureCause.TRANSFER_BROKEN)
            return
        if request is not None:
            current = self._exchanges.send_request(request, now, token=event.message.token)
            self._transfers[current] = transfer
            self._later_blocks[transfer.exchange] = current
        elif transfer.response is not None:
            self._events.append(ResponseReceived(transfer.exchange, transfer.response))

    def _end_block(self, exchange: int) -> Transfer:
        transfer = self._transfers.pop(exchange)
        self._later_blocks.pop(transfer.exchange, None)
        return transfer

    def _failed(self, transfer: Transfer, cause: FailureCause) -> None:
        self._events.append(ExchangeFailed(transfer.exchange, cause))


def _continue(block1: Block) -> Message:
    """2.31: the block is taken, more is due, if possible in blocks of this size (§2.9.1)."""
    response = Message(code=Code.CONTINUE)
    response.opt.block1 = block1
    return response
