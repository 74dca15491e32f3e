"""RFC 7252 appendix A, figures 16 to 22, played through the exchange layer from either end.

Provenance: the messages are typed in from the figures (June 2014), with the header bytes that §3 gives for
the types, codes, message IDs and tokens printed there; figures 16 and 17 print the bytes too. To regenerate,
read the figures. The client's tokens of the figures are not ours to choose, so as client the layer is checked
with its own token in their place.
"""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.coap.codec import decode
from ftc_core.coap.events import ExchangeFailed, RequestReceived, ResponseReceived
from ftc_core.coap.exchange import ExchangeLayer

PATH = b"\xbb" + b"temperature"  # Uri-Path: option 11, 11 bytes
BODY = b"\xff" + b"22.3 C"
OURS = b"ours\x00\x00\x00\x01"


def layer(first_message_id: int = 0) -> ExchangeLayer:
    return ExchangeLayer(first_message_id=first_message_id, token_prefix=b"ours", random=lambda: 0.0)


def with_token(message: bytes, token: bytes) -> bytes:
    """A message of the figures, with another token."""
    length = message[0] & 0x0F
    return bytes([message[0] & 0xF0 | len(token)]) + message[1:4] + token + message[4 + length :]


def ask(client: ExchangeLayer, now: float = 0.0) -> None:
    client.send_request(Message(code=Code.GET, uri_path=("temperature",)), now)


def asked(server: ExchangeLayer) -> RequestReceived:
    event = server.next_event()
    assert isinstance(event, RequestReceived)
    assert event.message.opt.uri_path == ("temperature",)
    assert server.next_event() is None
    return event


def content() -> Message:
    return Message(code=Code.CONTENT, payload=b"22.3 C")


def answered(client: ExchangeLayer) -> bool:
    event = client.next_event()
    return isinstance(event, ResponseReceived) and event.message.payload == b"22.3 C"


@pytest.mark.parametrize(
    ("figure", "request_", "response"),
    [
        (16, b"\x40\x01\x7d\x34" + PATH, b"\x60\x45\x7d\x34" + BODY),
        (17, b"\x41\x01\x7d\x35\x20" + PATH, b"\x61\x45\x7d\x35\x20" + BODY),
    ],
)
def test_figures_16_and_17_piggybacked_response(figure: int, request_: bytes, response: bytes) -> None:
    server = layer()
    server.receive_datagram(request_, 0.0)
    server.send_response(asked(server).exchange, content(), 0.0)
    assert server.datagrams_to_send() == [response], figure

    client = layer(int.from_bytes(request_[2:4], "big"))
    ask(client)
    assert client.datagrams_to_send() == [with_token(request_, OURS)]
    client.receive_datagram(with_token(response, OURS), 0.1)
    assert answered(client)


def test_figure_18_a_lost_request_is_sent_again() -> None:
    request = b"\x41\x01\x7d\x36\x31" + PATH
    client = layer(0x7D36)
    ask(client)
    client.handle_timer(2.0)
    assert client.datagrams_to_send() == [with_token(request, OURS)] * 2
    client.receive_datagram(with_token(b"\x61\x45\x7d\x36\x31" + BODY, OURS), 2.1)
    assert answered(client)
    assert client.get_timer() is None


def test_figure_19_a_lost_response_is_sent_again_for_the_duplicate_request() -> None:
    request, response = b"\x41\x01\x7d\x37\x42" + PATH, b"\x61\x45\x7d\x37\x42" + BODY
    server = layer()
    server.receive_datagram(request, 0.0)
    server.send_response(asked(server).exchange, content(), 0.0)
    server.receive_datagram(request, 2.0)
    assert server.datagrams_to_send() == [response, response]
    assert server.next_event() is None


def test_figure_20_separate_response() -> None:
    request, acknowledgement = b"\x41\x01\x7d\x38\x53" + PATH, b"\x60\x00\x7d\x38"
    response, its_acknowledgement = b"\x41\x45\xad\x7b\x53" + BODY, b"\x60\x00\xad\x7b"
    server = layer(0xAD7B)
    server.receive_datagram(request, 0.0)
    event = asked(server)
    server.handle_timer(0.5)
    assert server.datagrams_to_send() == [acknowledgement]
    server.send_response(event.exchange, content(), 1.0)
    assert server.datagrams_to_send() == [response]
    server.receive_datagram(its_acknowledgement, 1.1)
    assert server.get_timer() is None

    client = layer(0x7D38)
    ask(client)
    assert client.datagrams_to_send() == [with_token(request, OURS)]
    client.receive_datagram(acknowledgement, 0.5)
    client.receive_datagram(with_token(response, OURS), 1.0)
    assert client.datagrams_to_send() == [its_acknowledgement]
    assert answered(client)


def test_figure_21_a_client_that_lost_its_state_resets_the_response() -> None:
    response, reset = b"\x41\x45\xad\x7c\x64" + BODY, b"\x70\x00\xad\x7c"
    rebooted = layer()
    rebooted.receive_datagram(response, 0.0)
    assert rebooted.datagrams_to_send() == [reset]
    assert rebooted.next_event() is None

    server = layer(0xAD7C)
    server.receive_datagram(b"\x41\x01\x7d\x39\x64" + PATH, 0.0)
    event = asked(server)
    server.handle_timer(0.5)
    server.send_response(event.exchange, content(), 1.0)
    assert server.datagrams_to_send() == [b"\x60\x00\x7d\x39", response]
    server.receive_datagram(reset, 1.1)
    assert server.get_timer() is None


def test_figure_22_non_confirmable_request_and_response() -> None:
    request, response = b"\x51\x01\x7d\x40\x75" + PATH, b"\x51\x45\xad\x7d\x75" + BODY
    server = layer(0xAD7D)
    server.receive_datagram(request, 0.0)
    server.send_response(asked(server).exchange, content(), 0.0)
    assert server.datagrams_to_send() == [response]

    client = layer(0x7D40)  # asks confirmably, and takes the non-confirmable response all the same (§5.2.3)
    ask(client)
    client.receive_datagram(with_token(response, OURS), 0.1)
    assert answered(client)
    assert not isinstance(client.next_event(), ExchangeFailed)


def test_figure_16s_request_reads_as_printed() -> None:
    message = decode(b"\x40\x01\x7d\x34" + PATH)
    assert (message.code, message.mid, message.token) == (Code.GET, 0x7D34, b"")
    assert message.opt.uri_path == ("temperature",)
