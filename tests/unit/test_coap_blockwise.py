"""The rules of RFC 7959, one by one, against a peer that is played by hand."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type

from ftc_core import limits
from ftc_core.coap.blockwise import BODY_LIFETIME_S, BlockwiseLayer
from ftc_core.coap.codec import decode, empty_message, encode
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    FailureCause,
    RequestReceived,
    ResponseAcknowledged,
    ResponseHandedOut,
    ResponseReceived,
)
from ftc_core.coap.exchange import ExchangeLayer

NOW = 1_000.0
TLV = 11542
BODY = bytes(n % 251 for n in range(300))


class Peer:
    """The layer under test, and its peer's side of the wire."""

    def __init__(self, block_size: int = 1024, body_max_bytes: int = limits.COAP_BODY_MAX_BYTES) -> None:
        exchanges = ExchangeLayer(first_message_id=100, token_prefix=b"ours", random=lambda: 0.0)
        self.layer = BlockwiseLayer(exchanges, block_size=block_size, body_max_bytes=body_max_bytes)
        self.now = NOW
        self._mid = 0

    def sent(self) -> Message:
        (data,) = self.layer.datagrams_to_send()
        return decode(data)

    def respond(self, message: Message) -> None:
        """Take the layer's one request off the wire and answer it in the acknowledgement."""
        request = self.sent()
        self.layer.receive_datagram(encode(message, Type.ACK, request.mid, request.token), self.now)

    def ask(self, message: Message, kind: Type = Type.CON) -> None:
        self._mid += 1
        self.layer.receive_datagram(encode(message, kind, self._mid, b"tk"), self.now)

    def events(self) -> list[Event]:
        taken = []
        while (event := self.layer.next_event()) is not None:
            taken.append(event)
        return taken

    def response(self) -> ResponseReceived:
        (event,) = self.events()
        assert isinstance(event, ResponseReceived)
        return event

    def request(self) -> RequestReceived:
        (event,) = self.events()
        assert isinstance(event, RequestReceived)
        return event


def write(payload: bytes = BODY) -> Message:
    return Message(
        code=Code.PUT, payload=payload, uri_path=("0", "0"), uri_query=("a=b",), content_format=TLV
    )


def block1(number: int, more: bool, exponent: int, payload: bytes, **options: object) -> Message:
    message = write(payload)
    message.opt.block1 = (number, more, exponent)
    for name, value in options.items():
        setattr(message.opt, name, value)
    return message


def acknowledge(code: Code, number: int, more: bool, exponent: int) -> Message:
    return Message(code=code, block1=(number, more, exponent))


def read(number: int | None = None, exponent: int = 6, code: Code = Code.GET, path: str = "big") -> Message:
    message = Message(code=code, uri_path=(path,))
    if number is not None:
        message.opt.block2 = (number, False, exponent)
    return message


@pytest.mark.parametrize("size", [0, 8, 15, 17, 100, 2048, -16])
def test_a_block_size_is_a_power_of_two_from_16_to_1024(size: int) -> None:
    with pytest.raises(ValueError, match="no block size"):
        Peer(block_size=size)


# --- requests of ours: Block1 ----------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 64])
def test_a_body_of_at_most_one_block_travels_without_block1(length: int) -> None:
    peer = Peer(block_size=64)
    peer.layer.send_request(write(BODY[:length]), NOW)
    request = peer.sent()
    assert (request.opt.block1, request.opt.size1, request.payload) == (None, None, BODY[:length])


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_a_larger_body_goes_out_block_by_block_with_its_options_on_each(size: int) -> None:
    peer = Peer(block_size=size)
    exchange = peer.layer.send_request(write(), NOW)
    body, tokens = b"", set()
    for number in range(-(-len(BODY) // size)):
        (data,) = peer.layer.datagrams_to_send()
        request = decode(data)
        more = len(body) + size < len(BODY)
        assert request.opt.block1 == (number, more, size.bit_length() - 5)
        assert request.opt.size1 == (len(BODY) if number == 0 else None)
        assert (request.code, request.opt.uri_path, request.opt.uri_query) == (Code.PUT, ("0", "0"), ("a=b",))
        assert request.opt.content_format == TLV
        body += request.payload
        tokens.add(request.token)
        assert peer.events() == []
        code = Code.CONTINUE if more else Code.CHANGED
        answer = acknowledge(code, number, more, size.bit_length() - 5)
        peer.layer.receive_datagram(encode(answer, Type.ACK, request.mid, request.token), NOW)
    assert body == BODY
    assert len(tokens) == 1
    event = peer.response()
    assert (event.exchange, event.message.code) == (exchange, Code.CHANGED)
    assert peer.layer.datagrams_to_send() == []


@pytest.mark.parametrize("kind", [Type.ACK, Type.CON, Type.NON])
def test_copies_of_the_response_to_a_block_are_not_taken_for_the_next(kind: Type) -> None:
    """All blocks of a body bear the same token; the message ID tells a copy from a response."""
    peer = Peer(block_size=128)
    peer.layer.send_request(write(), NOW)
    for number, more in enumerate((True, True, False)):
        [request] = [decode(data) for data in peer.layer.datagrams_to_send() if data[1] == Code.PUT]
        answer = acknowledge(Code.CONTINUE if more else Code.CHANGED, number, more, 3)
        mid = request.mid if kind is Type.ACK else 700 + number
        data = encode(answer, kind, mid, request.token)
        for _ in range(3):
            peer.layer.receive_datagram(data, NOW)
    assert peer.response().message.code is Code.CHANGED


def test_two_bodies_for_one_resource_do_not_go_out_at_once() -> None:
    peer = Peer(block_size=64)
    first = peer.layer.send_request(write(), NOW)
    with pytest.raises(ValueError, match="another body"):
        peer.layer.send_request(write(), NOW)
    peer.layer.send_request(write(b"fits in one block"), NOW)
    peer.layer.cancel(first, NOW)
    peer.layer.send_request(write(), NOW)


def test_a_smaller_size_in_continue_holds_from_the_next_block_on() -> None:
    peer = Peer(block_size=128)
    peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 1))
    (data,) = peer.layer.datagrams_to_send()
    following = decode(data)
    assert following.opt.block1 == (4, True, 1)  # 128 bytes are taken: block 4 of 32
    assert following.payload == BODY[128:160]


def test_a_larger_size_in_continue_is_not_followed() -> None:
    peer = Peer(block_size=64)
    peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 6))
    assert peer.sent().opt.block1 == (1, True, 2)


def test_too_large_with_a_smaller_size_starts_again_in_that_size() -> None:
    peer = Peer(block_size=256)
    peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 4))
    peer.respond(acknowledge(Code.REQUEST_ENTITY_TOO_LARGE, 1, False, 2))
    again = peer.sent()
    assert (again.opt.block1, again.opt.size1, again.payload) == ((0, True, 2), 300, BODY[:64])


def test_too_large_for_a_single_message_starts_blocks_of_the_size_hinted() -> None:
    peer = Peer(block_size=512)
    peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.REQUEST_ENTITY_TOO_LARGE, 0, False, 3))
    assert peer.sent().opt.block1 == (0, True, 3)


@pytest.mark.parametrize("hint", [None, (0, False, 4), (0, False, 6), (0, False, 7)])
def test_too_large_without_a_smaller_size_ends_the_request(hint: tuple[int, bool, int] | None) -> None:
    peer = Peer(block_size=256)
    peer.layer.send_request(write(), NOW)
    peer.respond(Message(code=Code.REQUEST_ENTITY_TOO_LARGE, block1=hint))
    assert peer.response().message.code is Code.REQUEST_ENTITY_TOO_LARGE
    assert peer.layer.datagrams_to_send() == []


def test_too_large_with_a_size_that_the_body_fits_in_ends_the_request() -> None:
    peer = Peer(block_size=512)
    peer.layer.send_request(write(BODY[:128]), NOW)
    peer.respond(acknowledge(Code.REQUEST_ENTITY_TOO_LARGE, 0, False, 3))
    assert peer.response().message.code is Code.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize(
    "code", [Code.REQUEST_ENTITY_INCOMPLETE, Code.BAD_REQUEST, Code.INTERNAL_SERVER_ERROR]
)
def test_an_error_amid_the_blocks_is_the_response(code: Code) -> None:
    peer = Peer(block_size=64)
    exchange = peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 2))
    peer.respond(Message(code=code))
    event = peer.response()
    assert (event.exchange, event.message.code) == (exchange, code)
    assert peer.layer.datagrams_to_send() == []


@pytest.mark.parametrize(
    "answer",
    [
        acknowledge(Code.CONTINUE, 1, True, 2),
        Message(code=Code.CONTINUE),
        Message(code=Code.CHANGED),
    ],
)
def test_a_response_that_acknowledges_another_block_breaks_the_transfer(answer: Message) -> None:
    peer = Peer(block_size=64)
    exchange = peer.layer.send_request(write(), NOW)
    peer.respond(answer)
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.TRANSFER_BROKEN)]
    assert peer.layer.datagrams_to_send() == []


def test_continue_without_blocks_breaks_the_transfer() -> None:
    peer = Peer()
    exchange = peer.layer.send_request(write(), NOW)
    peer.respond(Message(code=Code.CONTINUE))
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.TRANSFER_BROKEN)]


def test_a_reset_of_a_later_block_fails_the_request_under_its_own_number() -> None:
    peer = Peer(block_size=64)
    exchange = peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 2))
    peer.layer.receive_datagram(empty_message(Type.RST, peer.sent().mid), NOW)
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.RESET)]


def test_cancel_ends_the_block_under_way() -> None:
    peer = Peer(block_size=64)
    exchange = peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 2))
    request = peer.sent()
    peer.layer.cancel(exchange, NOW)
    assert peer.layer.get_timer() is None
    late = encode(acknowledge(Code.CONTINUE, 1, True, 2), Type.CON, 9, request.token)
    peer.layer.receive_datagram(late, NOW)
    assert peer.layer.datagrams_to_send() == [empty_message(Type.RST, 9)]
    assert peer.events() == []


# --- responses of the peer: Block2 -----------------------------------------------------------------


def served(request: Message, exponent: int, body: bytes = BODY, **options: object) -> Message:
    size = 16 << exponent
    number = request.opt.block2.block_number if request.opt.block2 is not None else 0
    part = body[number * size : (number + 1) * size]
    response = Message(code=Code.CONTENT, payload=part, content_format=TLV)
    response.opt.block2 = (number, (number + 1) * size < len(body), exponent)
    for name, value in options.items():
        setattr(response.opt, name, value)
    return response


def test_a_response_in_blocks_is_put_together() -> None:
    peer = Peer()
    request = Message(code=Code.GET, uri_path=("big",), uri_query=("q",), accept=TLV)
    exchange = peer.layer.send_request(request, NOW)
    for number in range(5):
        (data,) = peer.layer.datagrams_to_send()
        sent = decode(data)
        assert sent.opt.block2 == (None if number == 0 else (number, False, 2))
        assert (sent.opt.uri_path, sent.opt.uri_query, sent.opt.accept) == (("big",), ("q",), TLV)
        assert peer.events() == []
        peer.layer.receive_datagram(encode(served(sent, 2), Type.ACK, sent.mid, sent.token), NOW)
    event = peer.response()
    assert (event.exchange, event.message.code, event.message.payload) == (exchange, Code.CONTENT, BODY)
    assert (event.message.opt.content_format, event.message.opt.block2) == (TLV, None)


def test_later_blocks_are_asked_in_our_size_if_that_is_smaller() -> None:
    peer = Peer(block_size=64)
    peer.layer.send_request(read(), NOW)
    peer.respond(served(read(), 3))
    assert peer.sent().opt.block2 == (2, False, 2)


def test_the_response_to_a_body_sent_by_block1_is_fetched_without_sending_the_body_again() -> None:
    peer = Peer(block_size=256)
    peer.layer.send_request(write(), NOW)
    peer.respond(acknowledge(Code.CONTINUE, 0, True, 4))
    final = served(read(), 4)
    final.opt.block1 = (1, False, 4)
    peer.respond(final)
    following = peer.sent()
    assert (following.code, following.payload) == (Code.PUT, b"")
    assert (following.opt.block1, following.opt.block2) == (None, (1, False, 4))
    assert following.opt.content_format == TLV


def test_an_error_amid_a_response_is_the_response() -> None:
    peer = Peer()
    peer.layer.send_request(read(), NOW)
    peer.respond(served(read(), 2))
    peer.respond(Message(code=Code.NOT_FOUND))
    assert peer.response().message.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    "second",
    [
        served(read(2), 2),  # a gap
        served(read(0), 2),  # again
        served(read(1), 2, etag=b"new"),  # the resource changed meanwhile
        Message(code=Code.VALID, payload=BODY[64:128], block2=(1, True, 2)),  # another code
        Message(code=Code.CONTENT, payload=BODY[64:100], block2=(1, True, 2)),  # short, though not the last
        Message(code=Code.CONTENT, payload=BODY[64:200], block2=(1, False, 2)),  # longer than a block
        Message(code=Code.CONTENT, payload=BODY[64:128]),  # no block at all
        Message(code=Code.CONTENT, payload=BODY[:64], block2=(0, True, 7)),  # the reserved size
    ],
)
def test_blocks_that_do_not_follow_each_other_break_the_transfer(second: Message) -> None:
    peer = Peer()
    exchange = peer.layer.send_request(read(), NOW)
    peer.respond(served(read(), 2))
    peer.respond(second)
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.TRANSFER_BROKEN)]


def test_a_first_block_of_the_reserved_size_breaks_the_transfer() -> None:
    peer = Peer()
    exchange = peer.layer.send_request(read(), NOW)
    peer.respond(Message(code=Code.CONTENT, payload=bytes(1024), block2=(0, True, 7)))
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.TRANSFER_BROKEN)]


def test_a_response_body_above_the_bound_breaks_the_transfer() -> None:
    peer = Peer(body_max_bytes=128)
    exchange = peer.layer.send_request(read(), NOW)
    peer.respond(served(read(), 2))
    peer.respond(served(read(1), 2))
    assert peer.events() == []
    peer.respond(served(read(2), 2))
    assert peer.events() == [ExchangeFailed(exchange, FailureCause.TRANSFER_BROKEN)]


# --- requests of the peer: Block1 ------------------------------------------------------------------


@pytest.mark.parametrize("ours", [16, 64, 1024])
def test_a_request_in_blocks_is_delivered_once_and_whole(ours: int) -> None:
    peer = Peer(block_size=ours)
    exponent = ours.bit_length() - 5
    for number in range(4):
        peer.ask(block1(number, True, 2, BODY[number * 64 : (number + 1) * 64]))
        answer = peer.sent()
        assert (answer.code, answer.opt.block1) == (Code.CONTINUE, (number, True, min(2, exponent)))
        assert peer.events() == []
    peer.ask(block1(4, False, 2, BODY[256:]))
    event = peer.request()
    assert event.message.payload == BODY
    assert (event.message.opt.uri_query, event.message.opt.content_format) == (("a=b",), TLV)
    assert event.message.opt.block1 is None
    peer.layer.send_response(event.exchange, Message(code=Code.CHANGED), NOW)
    answer = peer.sent()
    assert (answer.code, answer.opt.block1) == (Code.CHANGED, (4, False, min(2, exponent)))


def test_the_peer_may_change_to_a_smaller_size_amid_the_body() -> None:
    peer = Peer(block_size=32)
    peer.ask(block1(0, True, 3, BODY[:128]))
    assert peer.sent().opt.block1 == (0, True, 1)
    for number in range(4, 9):
        peer.ask(block1(number, True, 1, BODY[number * 32 : (number + 1) * 32]))
        assert peer.sent().code is Code.CONTINUE
    peer.ask(block1(9, False, 1, BODY[288:]))
    assert peer.request().message.payload == BODY


def test_a_gap_is_incomplete_and_the_body_forgotten() -> None:
    peer = Peer()
    peer.ask(block1(0, True, 2, BODY[:64]))
    peer.sent()
    for number in (2, 1):
        peer.ask(block1(number, True, 2, BODY[number * 64 : (number + 1) * 64]))
        assert peer.sent().code is Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.events() == []


def test_block_0_starts_the_body_anew() -> None:
    peer = Peer()
    for first in (b"x" * 64, BODY[:64]):
        peer.ask(block1(0, True, 2, first))
        assert peer.sent().code is Code.CONTINUE
    peer.ask(block1(1, False, 2, BODY[64:100]))
    assert peer.request().message.payload == BODY[:100]


def test_another_content_format_amid_the_body_is_incomplete() -> None:
    peer = Peer()
    peer.ask(block1(0, True, 2, BODY[:64]))
    peer.sent()
    peer.ask(block1(1, False, 2, BODY[64:100], content_format=112))
    assert peer.sent().code is Code.REQUEST_ENTITY_INCOMPLETE


def test_bodies_for_several_resources_do_not_mix_and_the_oldest_gives_way() -> None:
    peer = Peer()
    paths = [("0", str(n)) for n in range(limits.COAP_BODIES_MAX + 1)]
    for path in paths:
        peer.ask(block1(0, True, 2, BODY[:64], uri_path=path))
        assert peer.sent().code is Code.CONTINUE
    for path in paths[1:]:
        peer.ask(block1(1, False, 2, BODY[64:100], uri_path=path))
        assert peer.request().message.opt.uri_path == path
    peer.ask(block1(1, False, 2, BODY[64:100], uri_path=paths[0]))
    assert peer.sent().code is Code.REQUEST_ENTITY_INCOMPLETE


def test_bodies_for_one_resource_do_not_mix_if_their_request_tags_differ() -> None:
    """RFC 9175 §3.3: blocks belong together only under the same Request-Tag, none being one of its values."""
    peer = Peer()
    bodies: dict[bytes, bytes] = {b"": BODY[:100], b"1": BODY[100:200], b"2": BODY[200:300]}
    tagged = {tag: {"request_tag": [tag]} if tag else {} for tag in bodies}
    for tag, body in bodies.items():
        peer.ask(block1(0, True, 2, body[:64], **tagged[tag]))
        assert peer.sent().code is Code.CONTINUE
    for tag, body in reversed(bodies.items()):
        peer.ask(block1(1, False, 2, body[64:], **tagged[tag]))
        assert peer.request().message.payload == body


def test_an_unfinished_body_is_forgotten_after_its_lifetime() -> None:
    peer = Peer()
    peer.ask(block1(0, True, 2, BODY[:64]))
    peer.now += BODY_LIFETIME_S - 0.1
    peer.ask(block1(1, True, 2, BODY[64:128]))
    peer.now += BODY_LIFETIME_S
    peer.ask(block1(2, True, 2, BODY[128:192]))
    codes = [decode(data).code for data in peer.layer.datagrams_to_send()]
    assert codes == [Code.CONTINUE, Code.CONTINUE, Code.REQUEST_ENTITY_INCOMPLETE]


@pytest.mark.parametrize(
    "request_",
    [
        block1(0, True, 2, BODY[:63]),
        block1(0, True, 2, BODY[:65]),
        block1(0, False, 2, BODY[:65]),
        block1(0, True, 7, BODY[:64]),
        read(0, exponent=7),
        read(3, exponent=7),
    ],
)
def test_a_block_of_the_wrong_length_or_the_reserved_size_is_a_bad_request(request_: Message) -> None:
    peer = Peer()
    peer.ask(request_)
    assert peer.sent().code is Code.BAD_REQUEST
    assert peer.events() == []


def test_a_body_above_the_bound_is_too_large_and_told_the_bound() -> None:
    peer = Peer(body_max_bytes=100)
    peer.ask(block1(0, True, 2, BODY[:64]))
    assert peer.sent().code is Code.CONTINUE
    peer.ask(block1(1, True, 2, BODY[64:128]))
    answer = peer.sent()
    assert (answer.code, answer.opt.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 100)


def test_a_body_of_just_the_bound_is_taken() -> None:
    peer = Peer(body_max_bytes=100)
    peer.ask(block1(0, True, 2, BODY[:64], size1=100))
    peer.ask(block1(1, False, 2, BODY[64:100]))
    assert peer.request().message.payload == BODY[:100]
    peer.ask(write(BODY[:100]))
    assert peer.request().message.payload == BODY[:100]


@pytest.mark.parametrize("request_", [block1(0, True, 2, BODY[:64], size1=101), write(BODY[:101])])
def test_a_body_that_says_it_is_too_large_is_refused_at_once(request_: Message) -> None:
    peer = Peer(body_max_bytes=100)
    peer.ask(request_)
    answer = peer.sent()
    assert (answer.code, answer.opt.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 100)
    assert peer.events() == []


def test_a_duplicate_block_gets_the_same_bytes_and_does_not_count_twice() -> None:
    peer = Peer()
    first = encode(block1(0, True, 2, BODY[:64]), Type.CON, 50, b"tk")
    peer.layer.receive_datagram(first, NOW)
    peer.layer.receive_datagram(first, NOW)
    once, again = peer.layer.datagrams_to_send()
    assert once == again
    peer.ask(block1(1, False, 2, BODY[64:100]))
    assert peer.request().message.payload == BODY[:100]


# --- responses of ours: Block2 ---------------------------------------------------------------------


def content(body: bytes = BODY) -> Message:
    return Message(code=Code.CONTENT, payload=body, content_format=TLV, etag=b"v1")


def untagged(body: bytes) -> Message:
    return Message(code=Code.CONTENT, payload=body)


@pytest.mark.parametrize(("ours", "asked"), [(64, None), (64, 6), (1024, 2), (128, 2)])
def test_a_large_response_is_handed_out_in_the_smaller_of_both_sizes(ours: int, asked: int | None) -> None:
    peer = Peer(block_size=ours)
    peer.ask(read() if asked is None else read(0, asked))
    exchange = peer.request().exchange
    assert not peer.layer.send_response(exchange, content(), NOW)
    body = b""
    for number in range(5):
        if number:
            peer.ask(read(number, 2))
        answer = peer.sent()
        assert answer.opt.block2 == (number, number < 4, 2)
        assert (answer.code, answer.opt.content_format, answer.opt.etag) == (Code.CONTENT, TLV, b"v1")
        body += answer.payload
        assert peer.events() == ([] if number < 4 else [ResponseHandedOut(exchange)])
    assert body == BODY


def test_a_small_response_carries_block2_only_if_asked() -> None:
    peer = Peer()
    peer.ask(read())
    assert peer.layer.send_response(peer.request().exchange, content(), NOW), (
        "nothing is left to be asked for"
    )
    assert peer.sent().opt.block2 is None
    peer.ask(read(0, 6))
    peer.layer.send_response(peer.request().exchange, content(), NOW)
    assert peer.sent().opt.block2 == (0, False, 6)
    peer.ask(read(0, 6))
    peer.layer.send_response(peer.request().exchange, Message(code=Code.NOT_FOUND), NOW)
    assert peer.sent().opt.block2 is None


def test_a_response_to_blocks_may_itself_be_in_blocks() -> None:
    peer = Peer(block_size=64)
    peer.ask(block1(0, False, 2, BODY[:64]))
    peer.layer.send_response(peer.request().exchange, content(), NOW)
    first = peer.sent()
    assert (first.opt.block1, first.opt.block2) == ((0, False, 2), (0, True, 2))
    following = Message(code=Code.PUT, uri_path=("0", "0"), uri_query=("a=b",), block2=(1, False, 2))
    peer.ask(following)
    second = peer.sent()
    assert (second.opt.block1, second.opt.block2) == (None, (1, True, 2))


def test_a_block_beyond_the_end_is_a_bad_request() -> None:
    peer = Peer(block_size=64)
    peer.ask(read())
    peer.layer.send_response(peer.request().exchange, content(), NOW)
    peer.sent()
    peer.ask(read(5, 2))
    assert peer.sent().code is Code.BAD_REQUEST
    peer.ask(read())
    peer.layer.send_response(peer.request().exchange, content(BODY[:128]), NOW)
    peer.sent()
    peer.ask(read(2, 2))
    assert peer.sent().code is Code.BAD_REQUEST


def test_a_response_kept_anew_costs_no_other_its_place() -> None:
    peer = Peer(block_size=64)
    paths = [str(n) for n in range(limits.COAP_BODIES_MAX)]
    for path in [*paths, paths[-1]]:
        peer.ask(read(code=Code.POST, path=path))
        peer.layer.send_response(peer.request().exchange, content(), NOW)
        peer.sent()
    for path in paths:
        peer.ask(read(1, 2, code=Code.POST, path=path))
        assert peer.sent().payload == BODY[64:128]


def test_any_block_of_a_repeatable_request_can_be_asked_and_of_another_only_while_it_is_kept() -> None:
    peer = Peer(block_size=64)
    peer.ask(read(3, 2))
    event = peer.request()
    peer.layer.send_response(event.exchange, content(), NOW)
    assert (answer := peer.sent()).opt.block2 == (3, True, 2)
    assert answer.payload == BODY[192:256]
    peer.ask(read(9, 2, path="other"))
    peer.layer.send_response(peer.request().exchange, content(), NOW)
    assert peer.sent().code is Code.BAD_REQUEST
    peer.ask(read(3, 2, code=Code.POST))
    assert peer.sent().code is Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.events() == []


def test_a_response_is_forgotten_after_its_lifetime() -> None:
    peer = Peer(block_size=64)
    peer.ask(read(code=Code.POST))
    peer.layer.send_response(peer.request().exchange, content(), peer.now)
    peer.sent()
    peer.now += BODY_LIFETIME_S
    peer.ask(read(1, 2, code=Code.POST))
    assert peer.sent().code is Code.REQUEST_ENTITY_INCOMPLETE


@pytest.mark.parametrize("code", [Code.GET, Code.POST])
def test_a_last_block_that_got_lost_is_there_once_more_and_handed_out_once(code: Code) -> None:
    peer = Peer(block_size=64)
    peer.ask(read(code=code))
    exchange = peer.request().exchange
    peer.layer.send_response(exchange, content(BODY[:100]), peer.now)
    peer.sent()
    for events in ([ResponseHandedOut(exchange)], []):
        peer.ask(read(1, 2, code=code))
        assert peer.sent().payload == BODY[64:100]
        assert peer.events() == events
        peer.now += BODY_LIFETIME_S / 2


def test_the_blocks_of_one_body_have_one_etag_and_those_of_another_have_another() -> None:
    peer = Peer(block_size=64)
    etags = []
    for body in (BODY[:128], BODY[1:129]):
        peer.ask(read())
        peer.layer.send_response(peer.request().exchange, untagged(body), NOW)
        first = peer.sent().opt.etag
        peer.ask(read(1, 2))
        assert peer.sent().opt.etag == first
        peer.events()
        assert first is not None
        etags.append(first)
    assert etags[0] != etags[1]


def test_an_etag_of_the_user_stands_and_a_body_in_one_block_has_none() -> None:
    peer = Peer(block_size=64)
    for response, etag in ((content(), content().opt.etag), (untagged(BODY[:64]), None)):
        peer.ask(read(0, 2))
        peer.layer.send_response(peer.request().exchange, response, NOW)
        assert peer.sent().opt.etag == etag


def test_a_message_that_is_answered_twice_or_never_asked_is_refused() -> None:
    peer = Peer()
    peer.ask(read())
    exchange = peer.request().exchange
    peer.layer.send_response(exchange, content(), NOW)
    for wrong in (exchange, exchange + 1):
        with pytest.raises(ValueError, match="awaits no response"):
            peer.layer.send_response(wrong, content(), NOW)


def test_the_exchange_layers_own_events_pass() -> None:
    peer = Peer()
    peer.ask(read())
    exchange = peer.request().exchange
    peer.layer.handle_timer(NOW + 0.5)
    peer.layer.send_response(exchange, content(), NOW + 1)
    acknowledgement, response = peer.layer.datagrams_to_send()
    assert decode(response).mtype is Type.CON
    assert acknowledgement == empty_message(Type.ACK, 1)
    peer.layer.receive_datagram(empty_message(Type.ACK, 100), NOW + 1)
    assert peer.events() == [ResponseAcknowledged(exchange)]


def test_cancel_resets_a_request_of_the_peer() -> None:
    peer = Peer()
    peer.ask(read())
    exchange = peer.request().exchange
    peer.layer.cancel(exchange, NOW)
    assert peer.layer.datagrams_to_send() == [empty_message(Type.RST, 1)]
    with pytest.raises(ValueError, match="awaits no response"):
        peer.layer.send_response(exchange, content(), NOW)
