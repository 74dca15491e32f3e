"""RFC 7959 §3, figures 2 to 10, played through the block-wise layer from either end.

Provenance: the transcripts are typed in from the figures (August 2016), with their notation: type, message
ID, method or code, then the Block1 ("1:") and Block2 ("2:") options as number/more/size. All but figures 4
and 8 were compared with the copies of the figures in Californium's tests. The figures print no tokens or
bodies, so those are ours, as is the one path; the bodies have a length that fits the blocks shown. The steps
that the figures abbreviate with "..." are filled in. To regenerate, read the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.codec import decode, encode
from ftc_core.coap.events import RequestReceived, ResponseHandedOut, ResponseReceived
from ftc_core.coap.exchange import ExchangeLayer

CODES = {"2.04": Code.CHANGED, "2.05": Code.CONTENT, "2.31": Code.CONTINUE}
METHODS = {"GET": Code.GET, "PUT": Code.PUT, "POST": Code.POST}


class Figure(NamedTuple):
    number: int
    title: str
    client_block: int
    server_block: int
    request_length: int
    response_length: int
    transcript: str
    """Lines of client and server by turns."""


FIGURES = [
    Figure(
        2,
        "simple block-wise GET",
        1024,
        128,
        0,
        300,
        """
        CON 1234 GET
        ACK 1234 2.05 2:0/1/128
        CON 1235 GET 2:1/0/128
        ACK 1235 2.05 2:1/1/128
        CON 1236 GET 2:2/0/128
        ACK 1236 2.05 2:2/0/128
        """,
    ),
    Figure(
        3,
        "block-wise GET with early negotiation",
        1024,
        1024,
        0,
        370,
        """
        CON 1234 GET 2:0/0/64
        ACK 1234 2.05 2:0/1/64
        CON 1235 GET 2:1/0/64
        ACK 1235 2.05 2:1/1/64
        CON 1236 GET 2:2/0/64
        ACK 1236 2.05 2:2/1/64
        CON 1237 GET 2:3/0/64
        ACK 1237 2.05 2:3/1/64
        CON 1238 GET 2:4/0/64
        ACK 1238 2.05 2:4/1/64
        CON 1239 GET 2:5/0/64
        ACK 1239 2.05 2:5/0/64
        """,
    ),
    Figure(
        4,
        "block-wise GET with late negotiation",
        64,
        128,
        0,
        370,
        """
        CON 1234 GET
        ACK 1234 2.05 2:0/1/128
        CON 1235 GET 2:2/0/64
        ACK 1235 2.05 2:2/1/64
        CON 1236 GET 2:3/0/64
        ACK 1236 2.05 2:3/1/64
        CON 1237 GET 2:4/0/64
        ACK 1237 2.05 2:4/1/64
        CON 1238 GET 2:5/0/64
        ACK 1238 2.05 2:5/0/64
        """,
    ),
    Figure(
        7,
        "simple atomic block-wise PUT",
        128,
        1024,
        300,
        0,
        """
        CON 1234 PUT 1:0/1/128
        ACK 1234 2.31 1:0/1/128
        CON 1235 PUT 1:1/1/128
        ACK 1235 2.31 1:1/1/128
        CON 1236 PUT 1:2/0/128
        ACK 1236 2.04 1:2/0/128
        """,
    ),
    Figure(
        9,
        "simple atomic block-wise PUT with negotiation",
        128,
        32,
        220,
        0,
        """
        CON 1234 PUT 1:0/1/128
        ACK 1234 2.31 1:0/1/32
        CON 1235 PUT 1:4/1/32
        ACK 1235 2.31 1:4/1/32
        CON 1236 PUT 1:5/1/32
        ACK 1236 2.31 1:5/1/32
        CON 1237 PUT 1:6/0/32
        ACK 1237 2.04 1:6/0/32
        """,
    ),
    Figure(
        10,
        "atomic block-wise POST with block-wise response",
        128,
        128,
        300,
        500,
        """
        CON 1234 POST 1:0/1/128
        ACK 1234 2.31 1:0/1/128
        CON 1235 POST 1:1/1/128
        ACK 1235 2.31 1:1/1/128
        CON 1236 POST 1:2/0/128
        ACK 1236 2.04 1:2/0/128 2:0/1/128
        CON 1237 POST 2:1/0/128
        ACK 1237 2.04 2:1/1/128
        CON 1238 POST 2:2/0/128
        ACK 1238 2.04 2:2/1/128
        CON 1239 POST 2:3/0/128
        ACK 1239 2.04 2:3/0/128
        """,
    ),
]

# A server that keeps no state answers each block for itself; ours never does, but a client must get by.
STATELESS = Figure(
    8,
    "simple stateless block-wise PUT",
    128,
    1024,
    300,
    0,
    """
    CON 1234 PUT 1:0/1/128
    ACK 1234 2.04 1:0/0/128
    CON 1235 PUT 1:1/1/128
    ACK 1235 2.04 1:1/0/128
    CON 1236 PUT 1:2/0/128
    ACK 1236 2.04 1:2/0/128
    """,
)


def layer(block_size: int, first_message_id: int) -> BlockwiseLayer:
    exchanges = ExchangeLayer(first_message_id=first_message_id, token_prefix=b"ours", random=lambda: 0.0)
    return BlockwiseLayer(exchanges, block_size=block_size)


def body(length: int) -> bytes:
    return bytes(n % 251 for n in range(length))


def block(text: str) -> tuple[int, bool, int]:
    number, more, size = map(int, text.split("/"))
    return number, bool(more), size.bit_length() - 5


def parse(line: str, figure: Figure, token: bytes) -> tuple[Message, bytes]:
    """A line of a transcript as the message that it stands for, and its datagram."""
    kind, mid, code, *options = line.split()
    message = Message(code=METHODS.get(code) or CODES[code])
    is_request = code in METHODS
    whole = body(figure.request_length if is_request else figure.response_length)
    for option in options:
        if option.startswith("1:"):
            message.opt.block1 = block(option[2:])
        else:
            message.opt.block2 = block(option[2:])
    if is_request:
        message.opt.uri_path = ("status",)
        carries = message.opt.block1
    else:
        carries = message.opt.block2
    if carries is not None:
        message.payload = whole[carries.start : carries.start + carries.size]
    return message, encode(message, Type[kind], int(mid), token)


def notation(message: Message) -> str:
    """A message in the notation of the figures."""
    assert message.mtype is not None
    assert message.code is not None
    name = message.code.name if message.code.is_request() else message.code.dotted
    parts = [message.mtype.name, str(message.mid), name]
    for label, value in (("1:", message.opt.block1), ("2:", message.opt.block2)):
        if value is not None:
            parts.append(f"{label}{value.block_number}/{int(value.more)}/{value.size}")
    return " ".join(parts)


def lines(figure: Figure) -> tuple[list[str], list[str]]:
    every = [line.strip() for line in figure.transcript.strip().splitlines()]
    return every[::2], every[1::2]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"figure {figure.number}")
@pytest.mark.parametrize("duplicated", [False, True])  # figures 5 and 6: a lost CON or ACK repeats the CON
def test_as_server_the_answers_are_those_of_the_figure(figure: Figure, duplicated: bool) -> None:
    server = layer(figure.server_block, 9_999)
    requests, responses = lines(figure)
    final = CODES["2.05"] if requests[0].split()[2] == "GET" else CODES["2.04"]
    delivered = []
    handed_out = []
    for request, response in zip(requests, responses, strict=True):
        _, datagram = parse(request, figure, b"t")
        server.receive_datagram(datagram, 0.0)
        while (event := server.next_event()) is not None:
            if isinstance(event, RequestReceived):
                delivered.append(event.message.payload)
                answer = Message(code=final, payload=body(figure.response_length))
                if server.send_response(event.exchange, answer, 0.0):
                    handed_out.append(response)
            else:
                assert isinstance(event, ResponseHandedOut)
                handed_out.append(response)
        (reply,) = server.datagrams_to_send()
        assert notation(decode(reply)) == response
        assert decode(reply).payload == parse(response, figure, b"t")[0].payload
        if duplicated:
            server.receive_datagram(datagram, 2.0)
            assert server.datagrams_to_send() == [reply]
    assert delivered == [body(figure.request_length)]
    assert handed_out == responses[-1:]


@pytest.mark.parametrize("figure", [*FIGURES, STATELESS], ids=lambda figure: f"figure {figure.number}")
def test_as_client_the_requests_are_those_of_the_figure(figure: Figure) -> None:
    client = layer(figure.client_block, 1_234)
    requests, responses = lines(figure)
    first, _ = parse(requests[0], figure, b"")
    request = Message(code=first.code, payload=body(figure.request_length), uri_path=("status",))
    request.opt.block2 = first.opt.block2
    exchange = client.send_request(request, 0.0)
    for expected, response in zip(requests, responses, strict=True):
        assert client.next_event() is None
        (datagram,) = client.datagrams_to_send()
        sent = decode(datagram)
        assert notation(sent) == expected
        assert sent.payload == parse(expected, figure, b"")[0].payload
        client.receive_datagram(parse(response, figure, sent.token)[1], 0.0)
    event = client.next_event()
    assert isinstance(event, ResponseReceived)
    assert event.exchange == exchange
    assert event.message.payload == body(figure.response_length)
    assert client.datagrams_to_send() == []
