"""The CoAP layer of a new association: what chance decides, and what the association's size does."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.codec import decode, encode
from ftc_core.coap.events import RequestReceived
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.limits import COAP_TOKEN_MAX_BYTES, DTLS_MTU_BYTES

NOW = 1_000.0


def first_request(layer: BlockwiseLayer, payload: bytes = b"") -> bytes:
    layer.send_request(Message(code=Code.PUT, uri_path=("0", "0"), payload=payload), NOW)
    [data] = layer.datagrams_to_send()
    return data


def test_message_ids_and_tokens_begin_anywhere() -> None:
    """RFC 7252 §4.4 and §5.3.1. That 20 of each agree by chance is less likely than 1 in 2**300."""
    requests = [decode(first_request(new_coap_layer(DTLS_MTU_BYTES))) for _ in range(20)]
    assert len({request.mid for request in requests}) > 1
    assert len({request.token for request in requests}) == 20


@pytest.mark.parametrize("max_message_bytes", [230, 480, 700, 1_087, 1_088, 1_135, 1_171])
def test_blocks_of_ours_fit_the_association_beside_the_longest_token(max_message_bytes: int) -> None:
    """Requests with a token of ours, responses with one of the peer's (RFC 8974)."""
    layer = new_coap_layer(max_message_bytes)
    write = first_request(layer, bytes(2_000))
    assert max_message_bytes / 3 < len(write) <= max_message_bytes
    question = Message(code=Code.GET, uri_path=("bspack",))
    layer.receive_datagram(encode(question, Type.CON, 7, bytes(COAP_TOKEN_MAX_BYTES)), NOW)
    event = layer.next_event()
    assert isinstance(event, RequestReceived)
    answer = Message(code=Code.CONTENT, payload=bytes(2_000), content_format=11544)
    layer.send_response(event.exchange, answer, NOW)
    [block] = layer.datagrams_to_send()
    assert max_message_bytes / 3 < len(block) <= max_message_bytes
