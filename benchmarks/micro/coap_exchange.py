"""Cost of the CoAP layers per message, beside aiocoap's codec alone on the same messages.

Two exchanges, as a bootstrap server sees them, each of one message in and one out:
"answer" (a request comes, its response goes in the acknowledgement) and "ask" (a write goes out, its
response comes). `python -m benchmarks.micro.coap_exchange` prints the result as JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.codec import encode
from ftc_core.coap.events import RequestReceived, ResponseReceived
from ftc_core.coap.exchange import ExchangeLayer

_ROUNDS = 5
_EXCHANGES = 5_000
_TLV = 11542
_BODY = bytes(300)


def run() -> dict[str, float]:
    """Microseconds per message, best of five rounds of 5,000 exchanges.

    Building the request or response to send is part of the codec's share, as any user must do it.
    """
    codec = _per_message(_codec_answer, _codec_ask)
    exchange = _per_message(*_through(_exchange_layer))
    blockwise = _per_message(*_through(lambda: BlockwiseLayer(_exchange_layer())))
    return {
        "codec_us": round(codec, 2),
        "exchange_us": round(exchange, 2),
        "blockwise_us": round(blockwise, 2),
        "exchange_to_codec": round(exchange / codec, 2),
        "blockwise_to_codec": round(blockwise / codec, 2),
    }


def _per_message(*exchanges: Callable[[int], None]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for number in range(_EXCHANGES):
            for exchange in exchanges:
                exchange(number)
        best = min(best, time.perf_counter() - started)
    return best / (_EXCHANGES * len(exchanges) * 2) * 1e6


def _exchange_layer() -> ExchangeLayer:
    return ExchangeLayer(first_message_id=0, token_prefix=b"\x00\x00\x00\x00", random=lambda: 0.5)


def _write() -> Message:
    return Message(code=Code.PUT, payload=_BODY, uri_path=("0", "0"), content_format=_TLV)


_REQUEST = encode(
    Message(code=Code.POST, uri_path=("bs",), uri_query=("ep=device-000001",)), Type.CON, 0, b"\x01" * 8
)
_RESPONSE = encode(Message(code=Code.CHANGED), Type.ACK, 0, b"\x01" * 8)


def _with_mid(data: bytes, number: int) -> bytes:
    return data[:2] + (number & 0xFFFF).to_bytes(2, "big") + data[4:]


def _codec_answer(number: int) -> None:
    request = Message.decode(_with_mid(_REQUEST, number))
    encode(Message(code=Code.CHANGED), Type.ACK, request.mid, request.token)


def _codec_ask(number: int) -> None:
    encode(_write(), Type.CON, number & 0xFFFF, b"\x01" * 8)
    Message.decode(_with_mid(_RESPONSE, number))


def _through(
    make: Callable[[], ExchangeLayer | BlockwiseLayer],
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    layer = make()

    def answer(number: int) -> None:
        now = float(number)
        layer.receive_datagram(_with_mid(_REQUEST, number), now)
        event = layer.next_event()
        assert isinstance(event, RequestReceived)
        layer.send_response(event.exchange, Message(code=Code.CHANGED), now)
        assert len(layer.datagrams_to_send()) == 1
        layer.get_timer()

    def ask(number: int) -> None:
        now = float(number)
        layer.send_request(_write(), now)
        (request,) = layer.datagrams_to_send()
        layer.get_timer()
        layer.receive_datagram(_RESPONSE[:2] + request[2:12], now)  # its message ID and token
        assert isinstance(layer.next_event(), ResponseReceived)
        layer.get_timer()

    return answer, ask


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
