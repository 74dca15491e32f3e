"""CoAP messages and exchanges with one peer (RFC 7252 §4, §5.2, §5.3), for client and server alike.

Theory of operation. One `ExchangeLayer` serves one DTLS session; it sends nothing and reads no clock.
Whoever owns it feeds datagrams and time, then takes datagrams, events and the next deadline:

    receive_datagram, handle_timer, send_*  →  datagrams_to_send(), next_event(), get_timer()

A confirmable message of ours, a request or a separate response, is encoded once and then lives as

    queued ──▶ in flight ──▶ acknowledged: a response is done, a request awaits its separate response
      │  NSTART    │ ├─────▶ answered, in the acknowledgement or (if that was lost or overtaken) separately
      │  is free   │ └─────▶ failed: reset, or all retransmissions spent
      │            └─▶ in flight: sent again at its deadline, the wait doubled
      └─ (cancelled: from any state)

A message of the peer is remembered by its ID, with the reply it got, for as long as a duplicate may come.
A request is answered in its acknowledgement if the answer is there within `processing_delay`, else by an
empty acknowledgement and a separate confirmable response.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

from aiocoap.message import Message
from aiocoap.numbers.types import Type

from ftc_core import limits
from ftc_core.coap.codec import HEADER_BYTES, BadMessageError, decode, empty_message, encode
from ftc_core.coap.deadlines import Deadlines
from ftc_core.coap.deduplication import Received, ReceivedMessages
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    FailureCause,
    RequestReceived,
    ResponseAcknowledged,
    ResponseLost,
    ResponseReceived,
)
from ftc_core.coap.parameters import RFC7252, TransmissionParameters
from ftc_core.coap.responses import error_response

__all__ = ["ExchangeLayer"]

_MESSAGE_IDS = 1 << 16


class _Confirmable:
    """A confirmable message of ours; `token` is None for a response, `deadline` None while it is queued."""

    __slots__ = ("data", "deadline", "exchange", "in_flight", "mid", "retransmissions", "token", "wait")

    def __init__(self, exchange: int, mid: int, token: bytes | None, data: bytes) -> None:
        self.exchange = exchange
        self.mid = mid
        self.token = token
        self.data = data
        self.deadline: float | None = None
        self.in_flight = False
        self.retransmissions = 0
        self.wait = 0.0


class ExchangeLayer:
    """The message layer and the request/response layer of one peer.

    `first_message_id` (0 to 65535) and `token_prefix` (4 bytes at most) should be random per session; a token
    is the prefix and the number of its exchange, so it is unique (over DTLS it need not be unguessable,
    RFC 7252 §5.3.1). `random` returns a number in [0, 1) and draws the retransmission times. `now` is
    monotonic seconds everywhere, and may not go back.

    Exchange numbers are unique within the layer across both directions.
    """

    def __init__(
        self,
        parameters: TransmissionParameters = RFC7252,
        *,
        first_message_id: int,
        token_prefix: bytes,
        random: Callable[[], float],
    ) -> None:
        if not 0 <= first_message_id < _MESSAGE_IDS or len(token_prefix) > 4:
            raise ValueError("first_message_id has 16 bits and token_prefix 4 bytes at most")
        self._parameters = parameters
        self._next_mid = first_message_id
        self._token_prefix = token_prefix
        self._random = random
        self._exchange_numbers = itertools.count(1)
        self._confirmables: dict[int, _Confirmable] = {}  # by message ID: queued or in flight
        self._queue: deque[_Confirmable] = deque()
        self._in_flight = 0
        self._requests: dict[bytes, _Confirmable] = {}  # by token: ours that have no response so far
        self._pending: dict[int, Received] = {}  # by exchange: the peer's that await our response
        self._received = ReceivedMessages(parameters)
        self._deadlines: Deadlines[_Confirmable | Received] = Deadlines()
        self._datagrams: list[bytes] = []
        self._events: deque[Event] = deque()

    # --- what the user does ------------------------------------------------------------------------

    def send_request(self, request: Message, now: float, *, token: bytes = b"") -> int:
        """Send a confirmable request, or queue it behind NSTART; returns its exchange number.

        It ends in exactly one `ResponseReceived` or `ExchangeFailed`, unless cancelled. Requests start in
        the order of these calls. `token` is that of an exchange which has ended, to be used once more. Raises
        ValueError for what is not a request or cannot be encoded.
        """
        if request.code is None or not request.code.is_request():
            raise ValueError(f"{request.code} is not a request")
        exchange = next(self._exchange_numbers)
        token = token or self._token_prefix + (exchange & 0xFFFFFFFF).to_bytes(4, "big")
        mid = self._take_message_id()
        item = _Confirmable(exchange, mid, token, encode(request, Type.CON, mid, token))
        self._requests[token] = item
        self._start(item, now)
        return exchange

    def send_response(self, exchange: int, response: Message, now: float) -> None:
        """Answer a `RequestReceived`, once: in the acknowledgement if that is still due, else separately.

        A separate response to a confirmable request is confirmable and ends in `ResponseAcknowledged` or
        `ResponseLost`; a non-confirmable request gets a non-confirmable response. Raises ValueError if the
        exchange awaits no response, or the message is none or cannot be encoded; the exchange is then as it
        was.
        """
        request = self._pending.get(exchange)
        if request is None:
            raise ValueError(f"exchange {exchange} awaits no response")
        if response.code is None or not response.code.is_response():
            raise ValueError(f"{response.code} is not a response")
        if not request.confirmable:
            self._datagrams.append(encode(response, Type.NON, self._take_message_id(), request.token))
        elif request.reply is None:
            self._reply(request, encode(response, Type.ACK, request.mid, request.token))
        else:
            mid = self._take_message_id()
            data = encode(response, Type.CON, mid, request.token)
            self._start(_Confirmable(exchange, mid, None, data), now)
        del self._pending[exchange]

    def acknowledge(self, exchange: int) -> None:
        """Acknowledge a confirmable `RequestReceived` at once, so that its response goes separately (§5.2.2).

        Without effect if it is acknowledged already, or awaits no response.
        """
        request = self._pending.get(exchange)
        if request is not None and request.confirmable and request.reply is None:
            self._reply(request, empty_message(Type.ACK, request.mid))

    def ignore(self, exchange: int) -> None:
        """Treat a `RequestReceived` as if it had been lost: no reply, and its retransmission counts as new.

        Without effect if it is acknowledged already, or awaits no response.
        """
        request = self._pending.get(exchange)
        if request is not None and request.reply is None:
            del self._pending[exchange]
            request.deadline = None
            self._received.forget(request.mid)

    def cancel(self, exchange: int, now: float) -> None:
        """Forget an exchange of either direction; it raises no further event. Unknown numbers are ignored.

        A request of ours is no longer retransmitted, and a response that still comes is reset. A request of
        the peer that has no acknowledgement yet is reset, so that the peer does not wait for us.
        """
        request = self._pending.pop(exchange, None)
        if request is not None:
            if request.confirmable and request.reply is None:
                self._reply(request, empty_message(Type.RST, request.mid))
            return
        ours = itertools.chain(self._requests.values(), self._confirmables.values())
        item = next((item for item in ours if item.exchange == exchange), None)
        if item is not None:
            self._end(item, now)

    # --- what the user's loop does -----------------------------------------------------------------

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take in one datagram of the peer, whatever it holds. Never raises."""
        if len(data) < HEADER_BYTES or data[0] >> 6 != 1:
            return  # no message ID to reset, or another version: silently ignored (§3)
        kind = (data[0] >> 4) & 3
        mid = data[2] << 8 | data[3]
        if kind == Type.ACK:
            self._receive_acknowledgement(data, mid, now)
        elif kind == Type.RST:
            self._receive_reset(data, mid, now)
        else:
            self._receive_message(data, kind == Type.CON, mid, now)

    def datagrams_to_send(self) -> list[bytes]:
        """The datagrams due now, in order; each is handed out once."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> Event | None:
        """The oldest event not yet taken."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """When `handle_timer` is next due, or None."""
        return self._deadlines.next()

    def handle_timer(self, now: float) -> None:
        """Do what is due: retransmissions, empty acknowledgements, failures. Early calls do nothing."""
        while (item := self._deadlines.pop_due(now)) is not None:
            if isinstance(item, Received):
                self._reply(item, empty_message(Type.ACK, item.mid))
            elif item.in_flight and item.retransmissions < self._parameters.max_retransmit:
                item.retransmissions += 1
                item.wait *= 2
                self._datagrams.append(item.data)
                self._deadlines.arm(item, now + item.wait)
            else:
                self._fail(item, FailureCause.TIMED_OUT, now)

    # --- messages of the peer ----------------------------------------------------------------------

    def _receive_message(self, data: bytes, confirmable: bool, mid: int, now: float) -> None:
        duplicate = self._received.find(mid, now)
        if duplicate is not None:
            if duplicate.reply is not None:
                self._datagrams.append(duplicate.reply)
            return
        try:
            message = decode(data)
        except BadMessageError as fault:
            # Not remembered: a duplicate is refused anew, with the same bytes.
            if confirmable:
                self._datagrams.append(_refusal(fault, data, mid))
            return
        if _is_request(data):
            self._receive_request(message, confirmable, mid, now)
        else:
            self._receive_response(message, confirmable, mid, now)

    def _receive_request(self, message: Message, confirmable: bool, mid: int, now: float) -> None:
        if len(self._pending) + len(self._queue) >= limits.COAP_PENDING_REQUESTS_MAX:
            return  # as if lost: the peer sends it again
        request = self._received.remember(mid, confirmable, now)
        request.exchange = exchange = next(self._exchange_numbers)
        request.token = message.token
        self._pending[exchange] = request
        if confirmable:
            self._deadlines.arm(request, now + self._parameters.processing_delay)
        self._events.append(RequestReceived(exchange, message))

    def _receive_response(self, message: Message, confirmable: bool, mid: int, now: float) -> None:
        """A separate response; it counts as the acknowledgement too (§5.2.2)."""
        item = self._requests.get(message.token)
        if item is None or item.deadline is None:  # not asked, or not sent yet
            if confirmable:
                self._datagrams.append(empty_message(Type.RST, mid))
            return
        received = self._received.remember(mid, confirmable, now)
        if confirmable:
            self._reply(received, empty_message(Type.ACK, mid))
        self._end(item, now)
        self._events.append(ResponseReceived(item.exchange, message))

    def _receive_acknowledgement(self, data: bytes, mid: int, now: float) -> None:
        item = self._confirmables.get(mid)
        if item is None or not item.in_flight:
            return  # a duplicate, or not ours
        if _is_empty(data):
            self._acknowledged(item, now)
            return
        if _is_request(data):
            return
        try:
            message = decode(data)
        except BadMessageError:
            return  # rejecting an acknowledgement is ignoring it (§4.2)
        if message.token == item.token:  # never so for a response of ours
            self._end(item, now)
            self._events.append(ResponseReceived(item.exchange, message))

    def _receive_reset(self, data: bytes, mid: int, now: float) -> None:
        item = self._confirmables.get(mid)
        if item is not None and item.in_flight and _is_empty(data):
            self._fail(item, FailureCause.RESET, now)

    def _reply(self, received: Received, reply: bytes) -> None:
        received.reply = reply
        received.deadline = None
        self._datagrams.append(reply)

    # --- confirmable messages of ours --------------------------------------------------------------

    def _start(self, item: _Confirmable, now: float) -> None:
        self._confirmables[item.mid] = item
        if self._in_flight < self._parameters.nstart:
            self._transmit(item, now)
        else:
            self._queue.append(item)

    def _transmit(self, item: _Confirmable, now: float) -> None:
        parameters = self._parameters
        self._in_flight += 1
        item.in_flight = True
        item.wait = parameters.ack_timeout * (1.0 + self._random() * (parameters.ack_random_factor - 1.0))
        self._datagrams.append(item.data)
        self._deadlines.arm(item, now + item.wait)

    def _release(self, item: _Confirmable, now: float) -> None:
        """Take an item off the wire or the queue, and start what waited behind it."""
        if self._confirmables.get(item.mid) is not item:
            return  # acknowledged before; another message may bear its ID by now
        del self._confirmables[item.mid]
        if not item.in_flight:
            self._queue.remove(item)
            return
        item.in_flight = False
        self._in_flight -= 1
        if self._queue:
            self._transmit(self._queue.popleft(), now)

    def _acknowledged(self, item: _Confirmable, now: float) -> None:
        if item.token is None:
            self._end(item, now)
            self._events.append(ResponseAcknowledged(item.exchange))
        else:
            self._deadlines.arm(item, now + self._parameters.response_wait)
            self._release(item, now)

    def _end(self, item: _Confirmable, now: float) -> None:
        item.deadline = None
        if item.token is not None:
            del self._requests[item.token]
        self._release(item, now)

    def _fail(self, item: _Confirmable, cause: FailureCause, now: float) -> None:
        self._end(item, now)
        if item.token is None:
            self._events.append(ResponseLost(item.exchange))
        else:
            self._events.append(ExchangeFailed(item.exchange, cause))

    def _take_message_id(self) -> int:
        """The next message ID that no message of ours, queued or in flight, still bears."""
        if len(self._confirmables) == _MESSAGE_IDS:
            raise ValueError("every message ID is in use")
        mid = self._next_mid
        while mid in self._confirmables:
            mid = (mid + 1) % _MESSAGE_IDS
        self._next_mid = (mid + 1) % _MESSAGE_IDS
        return mid


def _is_request(data: bytes) -> bool:
    """Whether the code's class is that of requests; an empty message is one by this test (§3)."""
    return data[1] >> 5 == 0


def _is_empty(data: bytes) -> bool:
    """Whether this is a well-formed empty message: no token, nothing behind the header (§4.1)."""
    return len(data) == HEADER_BYTES and data[1] == 0 and data[0] & 0x0F == 0


def _refusal(fault: BadMessageError, data: bytes, mid: int) -> bytes:
    """The reply to an unusable confirmable message: an error response to a request, else a Reset."""
    if fault.answer is None or not _is_request(data):
        return empty_message(Type.RST, mid)
    return encode(error_response(fault.answer), Type.ACK, mid, fault.token)
