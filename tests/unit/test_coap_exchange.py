"""The rules of RFC 7252's message and request/response layers, one by one, at explicit times."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type

from ftc_core import limits
from ftc_core.coap.codec import decode, empty_message, encode
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    FailureCause,
    RequestReceived,
    ResponseAcknowledged,
    ResponseLost,
    ResponseReceived,
)
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.coap.parameters import RFC7252, TransmissionParameters

NOW = 1_000.0


def layer(
    parameters: TransmissionParameters = RFC7252, *, first_message_id: int = 100, random: float = 0.0
) -> ExchangeLayer:
    return ExchangeLayer(
        parameters, first_message_id=first_message_id, token_prefix=b"ours", random=lambda: random
    )


def get(*path: str) -> Message:
    return Message(code=Code.GET, uri_path=path)


def changed(payload: bytes = b"") -> Message:
    return Message(code=Code.CHANGED, payload=payload)


def from_peer(message: Message, kind: Type, mid: int, token: bytes = b"tk") -> bytes:
    return encode(message, kind, mid, token)


def events(exchanges: ExchangeLayer) -> list[Event]:
    taken = []
    while (event := exchanges.next_event()) is not None:
        taken.append(event)
    return taken


def request_event(exchanges: ExchangeLayer) -> RequestReceived:
    (event,) = events(exchanges)
    assert isinstance(event, RequestReceived)
    return event


def sent(exchanges: ExchangeLayer) -> Message:
    """The one datagram that is due, decoded."""
    (data,) = exchanges.datagrams_to_send()
    return decode(data)


def asking(exchanges: ExchangeLayer, *path: str, now: float = NOW) -> tuple[int, Message]:
    exchange = exchanges.send_request(get(*path), now)
    return exchange, sent(exchanges)


# --- parameters ------------------------------------------------------------------------------------


def test_derived_times_are_those_of_rfc_7252_section_4_8_2() -> None:
    assert RFC7252.max_transmit_span == 45
    assert RFC7252.max_transmit_wait == 93
    assert RFC7252.exchange_lifetime == 247
    assert RFC7252.non_lifetime == 145


@pytest.mark.parametrize(("mid", "prefix"), [(-1, b"ours"), (65_536, b"ours"), (0, b"ourss")])
def test_message_ids_have_16_bits_and_token_prefixes_4_bytes_at_most(mid: int, prefix: bytes) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        ExchangeLayer(first_message_id=mid, token_prefix=prefix, random=lambda: 0.0)


# --- requests of ours ------------------------------------------------------------------------------


def test_a_request_goes_out_confirmable_with_an_8_byte_token() -> None:
    exchanges = layer()
    _, first = asking(exchanges, "a")
    assert (first.mtype, first.code, first.mid, first.opt.uri_path) == (Type.CON, Code.GET, 100, ("a",))
    assert len(first.token) == 8
    assert first.token.startswith(b"ours")
    assert exchanges.datagrams_to_send() == []


def test_tokens_and_message_ids_differ_from_request_to_request() -> None:
    exchanges = layer(TransmissionParameters(nstart=50), first_message_id=65_530)
    messages = [asking(exchanges)[1] for _ in range(50)]
    assert len({message.token for message in messages}) == 50
    assert [message.mid for message in messages] == [(65_530 + n) % 65_536 for n in range(50)]


@pytest.mark.parametrize(("random", "first_wait"), [(0.0, 2.0), (0.5, 2.5), (0.999, 2.999)])
def test_retransmission_backs_off_exponentially_and_then_gives_up(random: float, first_wait: float) -> None:
    exchanges = layer(random=random)
    exchange = exchanges.send_request(get("a"), NOW)
    (original,) = exchanges.datagrams_to_send()
    due, wait = NOW, first_wait
    for _ in range(4):
        due, wait = due + wait, wait * 2
        assert exchanges.get_timer() == pytest.approx(due)
        exchanges.handle_timer(due - 0.001)
        assert exchanges.datagrams_to_send() == []
        exchanges.handle_timer(due)
        assert exchanges.datagrams_to_send() == [original]
    exchanges.handle_timer(due + wait - 0.001)
    assert events(exchanges) == []
    exchanges.handle_timer(due + wait)
    assert events(exchanges) == [ExchangeFailed(exchange, FailureCause.TIMED_OUT)]
    assert due + wait - NOW == pytest.approx(first_wait * 31)
    assert exchanges.datagrams_to_send() == []
    assert exchanges.get_timer() is None


def test_a_piggybacked_response_ends_the_exchange() -> None:
    exchanges = layer()
    exchange, request = asking(exchanges)
    exchanges.receive_datagram(from_peer(changed(b"x"), Type.ACK, 100, request.token), NOW + 1)
    (event,) = events(exchanges)
    assert isinstance(event, ResponseReceived)
    assert (event.exchange, event.message.code, event.message.payload) == (exchange, Code.CHANGED, b"x")
    assert exchanges.get_timer() is None
    assert exchanges.datagrams_to_send() == []


def test_a_duplicate_of_a_piggybacked_response_is_ignored() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    response = from_peer(changed(), Type.ACK, 100, request.token)
    exchanges.receive_datagram(response, NOW)
    exchanges.receive_datagram(response, NOW)
    assert len(events(exchanges)) == 1
    assert exchanges.datagrams_to_send() == []


@pytest.mark.parametrize(
    "response",
    [
        from_peer(changed(), Type.ACK, 100, b"another1"),  # §5.3.2: message ID and token must both match
        from_peer(changed(), Type.ACK, 99, b"ours\x00\x00\x00\x01"),
        from_peer(get("x"), Type.ACK, 100, b"ours\x00\x00\x00\x01"),  # a request is no response
        b"\x61\x00\x00\x64\x01",  # an empty message with a token
        b"\x60\x00\x00\x64\xff",  # an empty message with something behind it
        b"\x68\x45\x00\x64ours\x00\x00\x00\x01\xff",  # malformed
        b"\x68\x45\x00\x64ours\x00\x00\x00\x01\x10",  # with an unknown critical option
        b"\x71\x00\x00\x64\x01",  # a Reset with a token
    ],
)
def test_an_acknowledgement_that_does_not_fit_is_ignored(response: bytes) -> None:
    exchanges = layer()
    asking(exchanges)
    exchanges.receive_datagram(response, NOW + 1)
    assert events(exchanges) == []
    assert exchanges.datagrams_to_send() == []
    exchanges.handle_timer(NOW + 2)
    assert len(exchanges.datagrams_to_send()) == 1  # still retransmitted


def test_reset_fails_the_exchange() -> None:
    exchanges = layer()
    exchange, _ = asking(exchanges)
    exchanges.receive_datagram(empty_message(Type.RST, 100), NOW)
    assert events(exchanges) == [ExchangeFailed(exchange, FailureCause.RESET)]
    assert exchanges.get_timer() is None


def test_an_empty_ack_stops_retransmission_and_the_separate_response_is_acknowledged() -> None:
    exchanges = layer()
    exchange, request = asking(exchanges)
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 1)
    exchanges.handle_timer(NOW + 2)
    assert exchanges.datagrams_to_send() == []
    exchanges.receive_datagram(from_peer(changed(), Type.CON, 7, request.token), NOW + 3)
    (event,) = events(exchanges)
    assert isinstance(event, ResponseReceived)
    assert event.exchange == exchange
    assert exchanges.datagrams_to_send() == [empty_message(Type.ACK, 7)]
    assert exchanges.get_timer() is None


def test_a_separate_response_without_the_empty_ack_counts_as_the_acknowledgement() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    exchanges.receive_datagram(from_peer(changed(), Type.CON, 7, request.token), NOW + 1)
    assert len(events(exchanges)) == 1
    assert exchanges.datagrams_to_send() == [empty_message(Type.ACK, 7)]
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 2)  # overtaken
    assert exchanges.get_timer() is None
    assert events(exchanges) == []


def test_a_duplicate_separate_response_is_acknowledged_again_and_not_delivered_again() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    response = from_peer(changed(), Type.CON, 7, request.token)
    for later in (0.0, 2.0, 246.9):
        exchanges.receive_datagram(response, NOW + later)
        assert exchanges.datagrams_to_send() == [empty_message(Type.ACK, 7)]
    assert len(events(exchanges)) == 1


def test_a_non_confirmable_response_ends_the_exchange_without_an_acknowledgement() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    response = from_peer(changed(), Type.NON, 7, request.token)
    exchanges.receive_datagram(response, NOW)
    exchanges.receive_datagram(response, NOW)
    assert len(events(exchanges)) == 1
    assert exchanges.datagrams_to_send() == []
    assert exchanges.get_timer() is None


def test_an_acknowledged_request_without_a_response_times_out() -> None:
    exchanges = layer()
    exchange, _ = asking(exchanges)
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 1)
    assert exchanges.get_timer() == NOW + 1 + RFC7252.response_wait
    exchanges.handle_timer(NOW + 1 + RFC7252.response_wait)
    assert events(exchanges) == [ExchangeFailed(exchange, FailureCause.TIMED_OUT)]


def test_an_unknown_confirmable_response_is_reset_and_a_non_confirmable_one_ignored() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(changed(), Type.CON, 7), NOW)
    exchanges.receive_datagram(from_peer(changed(), Type.NON, 8), NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    assert events(exchanges) == []


def test_nstart_holds_the_next_request_back_until_the_first_is_acknowledged() -> None:
    exchanges = layer()
    first, request = asking(exchanges, "1")
    second = exchanges.send_request(get("2"), NOW)
    third = exchanges.send_request(get("3"), NOW)
    assert exchanges.datagrams_to_send() == []
    exchanges.receive_datagram(empty_message(Type.ACK, request.mid), NOW + 1)  # no longer outstanding (§4.7)
    following = sent(exchanges)
    assert following.opt.uri_path == ("2",)
    assert exchanges.get_timer() == NOW + 3
    exchanges.receive_datagram(empty_message(Type.RST, following.mid), NOW + 2)
    assert sent(exchanges).opt.uri_path == ("3",)
    assert events(exchanges) == [ExchangeFailed(second, FailureCause.RESET)]
    assert first < second < third


def test_a_response_to_a_request_that_is_still_queued_is_reset() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    exchanges.send_request(get("2"), NOW)
    guessed = request.token[:-1] + b"\x02"
    exchanges.receive_datagram(from_peer(changed(), Type.CON, 7, guessed), NOW)
    exchanges.receive_datagram(empty_message(Type.ACK, request.mid + 1), NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    assert events(exchanges) == []


def test_message_ids_in_flight_are_not_used_again_after_the_wrap() -> None:
    exchanges = layer(TransmissionParameters(nstart=2), first_message_id=5)
    asking(exchanges)
    for mid in range(65_535):  # non-confirmable responses take one message ID each
        exchanges.receive_datagram(from_peer(get(), Type.NON, mid), NOW + mid)
        exchanges.send_response(request_event(exchanges).exchange, changed(), NOW + mid)
        assert exchanges.datagrams_to_send()[0][2:4] != b"\x00\x05"
    assert asking(exchanges)[1].mid == 6


@pytest.mark.parametrize("code", [Code.CHANGED, Code.EMPTY, None])
def test_what_is_not_a_request_is_not_sent_as_one(code: Code | None) -> None:
    exchanges = layer()
    with pytest.raises(ValueError, match="not a request"):
        exchanges.send_request(Message(code=code), NOW)
    assert exchanges.datagrams_to_send() == []
    assert exchanges.get_timer() is None


# --- requests of the peer --------------------------------------------------------------------------


def test_an_answer_in_time_goes_in_the_acknowledgement() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    event = request_event(exchanges)
    assert event.message.opt.uri_path == ("a",)
    assert exchanges.get_timer() == NOW + RFC7252.processing_delay
    exchanges.send_response(event.exchange, changed(b"x"), NOW + 0.1)
    answer = sent(exchanges)
    assert (answer.mtype, answer.mid, answer.token, answer.payload) == (Type.ACK, 7, b"tk", b"x")
    assert exchanges.get_timer() is None


def test_a_duplicate_request_gets_the_very_same_bytes_and_is_not_delivered_again() -> None:
    exchanges = layer()
    request = from_peer(get("a"), Type.CON, 7)
    exchanges.receive_datagram(request, NOW)
    event = request_event(exchanges)
    exchanges.receive_datagram(request, NOW + 0.1)
    assert exchanges.datagrams_to_send() == []  # not answered so far
    exchanges.send_response(event.exchange, changed(b"x"), NOW + 0.2)
    (answer,) = exchanges.datagrams_to_send()
    for later in (0.3, 2.0, 246.9):
        exchanges.receive_datagram(request, NOW + later)
        assert exchanges.datagrams_to_send() == [answer]
    assert events(exchanges) == []


@pytest.mark.parametrize(("kind", "lifetime"), [(Type.CON, 247.0), (Type.NON, 145.0)])
def test_a_message_id_may_come_again_after_its_lifetime(kind: Type, lifetime: float) -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), kind, 7), NOW)
    exchanges.send_response(request_event(exchanges).exchange, changed(), NOW)
    exchanges.receive_datagram(from_peer(get("b"), kind, 7), NOW + lifetime - 0.1)
    assert events(exchanges) == []
    exchanges.receive_datagram(from_peer(get("b"), kind, 7), NOW + lifetime)
    assert request_event(exchanges).message.opt.uri_path == ("b",)


def test_memory_of_message_ids_is_bounded_and_drops_the_oldest() -> None:
    exchanges = layer()
    for mid in range(limits.COAP_DEDUPLICATION_MAX + 1):
        exchanges.receive_datagram(from_peer(get(), Type.CON, mid), NOW)
        exchanges.send_response(request_event(exchanges).exchange, changed(), NOW)
    assert len(exchanges._received) == limits.COAP_DEDUPLICATION_MAX
    exchanges.receive_datagram(from_peer(get(), Type.CON, 1), NOW)
    assert events(exchanges) == []
    exchanges.receive_datagram(from_peer(get(), Type.CON, 0), NOW)
    assert len(events(exchanges)) == 1


def test_a_message_id_that_came_again_counts_as_new_when_the_oldest_are_dropped() -> None:
    exchanges = layer()

    def receive(kind: Type, mid: int, now: float) -> int:
        exchanges.receive_datagram(from_peer(get(), kind, mid), now)
        delivered = events(exchanges)
        for event in delivered:
            exchanges.send_response(event.exchange, changed(), now)
        return len(delivered)

    for kind, mid in ((Type.CON, 1), (Type.NON, 7), (Type.CON, 2)):
        assert receive(kind, mid, NOW) == 1
    later = NOW + RFC7252.non_lifetime
    assert receive(Type.NON, 7, later) == 1
    for mid in range(1_000, 1_000 + limits.COAP_DEDUPLICATION_MAX - 1):  # 1 and 2 make room
        assert receive(Type.CON, mid, later) == 1
    assert receive(Type.NON, 7, later) == 0
    assert receive(Type.CON, 2, later) == 1


def test_a_late_answer_goes_out_separately_after_an_empty_ack() -> None:
    exchanges = layer()
    request = from_peer(get("a"), Type.CON, 7)
    exchanges.receive_datagram(request, NOW)
    event = request_event(exchanges)
    exchanges.handle_timer(NOW + 0.5)
    assert exchanges.datagrams_to_send() == [empty_message(Type.ACK, 7)]
    exchanges.send_response(event.exchange, changed(b"x"), NOW + 3)
    (data,) = exchanges.datagrams_to_send()
    answer = decode(data)
    assert (answer.mtype, answer.mid, answer.token, answer.payload) == (Type.CON, 100, b"tk", b"x")
    exchanges.receive_datagram(request, NOW + 4)
    assert exchanges.datagrams_to_send() == [empty_message(Type.ACK, 7)]
    exchanges.handle_timer(NOW + 5)
    assert exchanges.datagrams_to_send() == [data]
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 6)
    assert events(exchanges) == [ResponseAcknowledged(event.exchange)]
    assert exchanges.get_timer() is None


@pytest.mark.parametrize("reset", [True, False])
def test_a_separate_response_that_is_reset_or_never_acknowledged_is_lost(reset: bool) -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    event = request_event(exchanges)
    exchanges.handle_timer(NOW + 0.5)
    exchanges.send_response(event.exchange, changed(), NOW + 1)
    if reset:
        exchanges.receive_datagram(empty_message(Type.RST, 100), NOW + 1)
    while (due := exchanges.get_timer()) is not None:
        exchanges.handle_timer(due)
    assert events(exchanges) == [ResponseLost(event.exchange)]


def test_a_response_in_the_acknowledgement_of_a_response_is_ignored() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    event = request_event(exchanges)
    exchanges.handle_timer(NOW + 0.5)
    exchanges.send_response(event.exchange, changed(), NOW + 1)
    exchanges.receive_datagram(from_peer(changed(), Type.ACK, 100), NOW + 1)
    assert events(exchanges) == []
    assert exchanges.get_timer() is not None


def test_separate_responses_and_requests_share_nstart_in_order() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    event = request_event(exchanges)
    exchanges.handle_timer(NOW + 0.5)
    exchanges.datagrams_to_send()
    exchanges.send_response(event.exchange, changed(), NOW + 1)
    exchanges.send_request(Message(code=Code.DELETE, uri_path=("0",)), NOW + 1)
    assert sent(exchanges).code is Code.CHANGED  # the delete may not overtake it
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 2)
    assert sent(exchanges).code is Code.DELETE


def test_a_non_confirmable_request_gets_a_non_confirmable_response_and_no_empty_ack() -> None:
    exchanges = layer()
    request = from_peer(get("a"), Type.NON, 7)
    exchanges.receive_datagram(request, NOW)
    event = request_event(exchanges)
    assert exchanges.get_timer() is None
    exchanges.send_response(event.exchange, changed(), NOW + 5)
    answer = sent(exchanges)
    assert (answer.mtype, answer.mid, answer.token) == (Type.NON, 100, b"tk")
    exchanges.receive_datagram(request, NOW + 6)
    assert events(exchanges) == []
    assert exchanges.datagrams_to_send() == []


def test_two_requests_at_once_are_answered_each_under_its_own_token() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7, b"A"), NOW)
    exchanges.receive_datagram(from_peer(get("b"), Type.CON, 8, b""), NOW)
    first, second = events(exchanges)
    exchanges.send_response(second.exchange, changed(b"2"), NOW)
    exchanges.send_response(first.exchange, changed(b"1"), NOW)
    answers = [decode(data) for data in exchanges.datagrams_to_send()]
    assert [(a.mid, a.token, a.payload) for a in answers] == [(8, b"", b"2"), (7, b"A", b"1")]


def test_requests_beyond_the_bound_are_dropped_until_one_is_answered() -> None:
    exchanges = layer()
    for mid in range(limits.COAP_PENDING_REQUESTS_MAX + 1):
        exchanges.receive_datagram(from_peer(get(), Type.CON, mid), NOW)
    waiting = events(exchanges)
    assert len(waiting) == limits.COAP_PENDING_REQUESTS_MAX
    dropped = from_peer(get("again"), Type.CON, limits.COAP_PENDING_REQUESTS_MAX)
    exchanges.receive_datagram(dropped, NOW + 2)
    assert events(exchanges) == []
    exchanges.send_response(waiting[0].exchange, changed(), NOW + 2)
    exchanges.receive_datagram(dropped, NOW + 6)
    assert request_event(exchanges).message.opt.uri_path == ("again",)


def test_answers_that_the_peer_does_not_acknowledge_count_against_the_bound() -> None:
    exchanges = layer()
    for mid in range(limits.COAP_PENDING_REQUESTS_MAX):
        exchanges.receive_datagram(from_peer(get(), Type.CON, mid), NOW)
    exchanges.handle_timer(NOW + RFC7252.processing_delay)  # too late to answer in the acknowledgement
    for asked in events(exchanges):
        assert isinstance(asked, RequestReceived)
        exchanges.send_response(asked.exchange, changed(), NOW + 2)
    separate = decode(exchanges.datagrams_to_send()[-1])  # the others wait behind it (NSTART)
    last = limits.COAP_PENDING_REQUESTS_MAX
    exchanges.receive_datagram(from_peer(get("last"), Type.CON, last), NOW + 2)
    assert request_event(exchanges).message.opt.uri_path == ("last",)
    dropped = from_peer(get("again"), Type.CON, last + 1)
    exchanges.receive_datagram(dropped, NOW + 2)
    assert events(exchanges) == []
    exchanges.receive_datagram(empty_message(Type.ACK, separate.mid), NOW + 3)
    events(exchanges)
    exchanges.receive_datagram(dropped, NOW + 4)
    assert request_event(exchanges).message.opt.uri_path == ("again",)


def test_an_exchange_is_answered_once_and_with_a_response() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    exchange = request_event(exchanges).exchange
    with pytest.raises(ValueError, match="not a response"):
        exchanges.send_response(exchange, get("a"), NOW)
    with pytest.raises(ValueError, match="out of range"):
        exchanges.send_response(exchange, Message(code=Code.CREATED, location_path=("x" * 70_000,)), NOW)
    exchanges.send_response(exchange, changed(), NOW)
    with pytest.raises(ValueError, match="awaits no response"):
        exchanges.send_response(exchange, changed(), NOW)
    assert len(exchanges.datagrams_to_send()) == 1


# --- faults of the peer ----------------------------------------------------------------------------


def test_ping_is_answered_with_reset() -> None:
    exchanges = layer()
    exchanges.receive_datagram(b"\x40\x00\x12\x34", NOW)
    assert exchanges.datagrams_to_send() == [b"\x70\x00\x12\x34"]


@pytest.mark.parametrize(
    "data", [b"", b"\x40", b"\x40\x01\x00", b"\x00\x01\x00\x07", b"\x80\x01\x00\x07", b"\xc0\x01\x00\x07"]
)
def test_runts_and_other_versions_are_silently_ignored(data: bytes) -> None:
    exchanges = layer()
    exchanges.receive_datagram(data, NOW)
    assert exchanges.datagrams_to_send() == []
    assert events(exchanges) == []


@pytest.mark.parametrize("rest", [b"\xff", b"\xb5abc", b"\xf0"])
def test_a_malformed_confirmable_message_is_reset_and_a_non_confirmable_one_ignored(rest: bytes) -> None:
    exchanges = layer()
    exchanges.receive_datagram(b"\x50\x01\x00\x07" + rest, NOW)
    assert exchanges.datagrams_to_send() == []
    exchanges.receive_datagram(b"\x40\x01\x00\x07" + rest, NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)  # the rejected message left no trace
    assert len(events(exchanges)) == 1


def test_an_unknown_critical_option_is_a_bad_option_for_a_request() -> None:
    exchanges = layer()
    exchanges.receive_datagram(b"\x42\x01\x00\x07tk\xe0\x06\xf4", NOW)
    answer = sent(exchanges)
    assert (answer.mtype, answer.mid, answer.token, answer.code) == (Type.ACK, 7, b"tk", Code.BAD_OPTION)
    assert answer.payload == b"Critical option 2049 not understood"
    exchanges.receive_datagram(b"\x52\x01\x00\x08tk\xe0\x06\xf4", NOW)  # non-confirmable: rejected (§5.4.1)
    assert exchanges.datagrams_to_send() == []
    assert events(exchanges) == []


@pytest.mark.parametrize("length", [9, 13, 40])
def test_an_extended_token_is_echoed_in_acknowledgement_and_separate_response(length: int) -> None:
    """RFC 8974 §2.1."""
    exchanges, token = layer(), bytes(range(length))
    for mid, answer_after in ((7, 0.1), (8, 1.0)):
        exchanges.receive_datagram(from_peer(get("a"), Type.CON, mid, token), NOW)
        event = request_event(exchanges)
        exchanges.handle_timer(NOW + answer_after)
        exchanges.send_response(event.exchange, changed(b"x"), NOW + answer_after)
        answer = decode(exchanges.datagrams_to_send()[-1])
        assert (answer.token, answer.payload) == (token, b"x")


def test_a_token_too_long_to_be_kept_is_a_bad_request_and_one_too_long_to_be_echoed_is_reset() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7, bytes(128)), NOW)
    (data,) = exchanges.datagrams_to_send()
    assert data == encode(Message(code=Code.BAD_REQUEST, payload=b"Token too long"), Type.ACK, 7, bytes(128))
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 8, bytes(129)), NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 8)]
    assert events(exchanges) == []


def test_an_unknown_critical_option_rejects_a_response() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    exchanges.receive_datagram(b"\x48\x45\x00\x07" + request.token + b"\xe0\x06\xf4", NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    assert events(exchanges) == []


# --- cancel ----------------------------------------------------------------------------------------


def test_cancel_in_flight_stops_retransmission_starts_the_next_and_resets_a_late_response() -> None:
    exchanges = layer()
    first, request = asking(exchanges)
    exchanges.send_request(get("2"), NOW)
    exchanges.cancel(first, NOW + 1)
    assert sent(exchanges).opt.uri_path == ("2",)
    assert exchanges.get_timer() == NOW + 3
    exchanges.receive_datagram(from_peer(changed(), Type.ACK, 100, request.token), NOW + 2)
    exchanges.receive_datagram(from_peer(changed(), Type.CON, 7, request.token), NOW + 2)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    assert events(exchanges) == []


def test_cancel_takes_a_queued_request_out_of_the_queue() -> None:
    exchanges = layer()
    _, request = asking(exchanges)
    second = exchanges.send_request(get("2"), NOW)
    exchanges.cancel(second, NOW)
    exchanges.cancel(second, NOW)
    exchanges.receive_datagram(from_peer(changed(), Type.ACK, 100, request.token), NOW)
    assert exchanges.datagrams_to_send() == []
    assert exchanges.get_timer() is None


def test_cancel_of_an_acknowledged_request_leaves_another_with_its_message_id_alone() -> None:
    exchanges = layer(first_message_id=5)
    first, _ = asking(exchanges)
    exchanges.receive_datagram(empty_message(Type.ACK, 5), NOW)
    for mid in range(65_535):
        exchanges.receive_datagram(from_peer(get(), Type.NON, mid), NOW + mid)
        exchanges.send_response(request_event(exchanges).exchange, changed(), NOW + mid)
    exchanges.datagrams_to_send()
    _, again = asking(exchanges)
    assert again.mid == 5
    exchanges.cancel(first, NOW)
    assert exchanges.get_timer() == NOW + 2  # still in flight


def test_cancel_resets_a_request_of_the_peer_that_is_not_acknowledged() -> None:
    exchanges = layer()
    request = from_peer(get("a"), Type.CON, 7)
    exchanges.receive_datagram(request, NOW)
    exchanges.cancel(request_event(exchanges).exchange, NOW)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    exchanges.receive_datagram(request, NOW + 2)
    assert exchanges.datagrams_to_send() == [empty_message(Type.RST, 7)]
    assert exchanges.get_timer() is None


def test_cancel_of_a_non_confirmable_request_sends_nothing() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.NON, 7), NOW)
    exchanges.cancel(request_event(exchanges).exchange, NOW)
    assert exchanges.datagrams_to_send() == []


def test_cancel_of_a_separate_response_stops_its_retransmission() -> None:
    exchanges = layer()
    exchanges.receive_datagram(from_peer(get("a"), Type.CON, 7), NOW)
    event = request_event(exchanges)
    exchanges.handle_timer(NOW + 0.5)
    exchanges.send_response(event.exchange, changed(), NOW + 1)
    exchanges.cancel(event.exchange, NOW + 2)
    assert exchanges.get_timer() is None
    exchanges.receive_datagram(empty_message(Type.ACK, 100), NOW + 3)
    assert events(exchanges) == []
