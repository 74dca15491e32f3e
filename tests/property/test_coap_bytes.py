"""Whatever a peer sends, the CoAP layers stand: nothing is raised, nothing is amplified."""

from __future__ import annotations

from aiocoap.message import Direction, Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftc_core import limits
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.codec import HEADER_BYTES, BadMessageError, decode, encode
from ftc_core.coap.events import RequestReceived
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.limits import COAP_TOKEN_ECHO_MAX_BYTES

NOW = 1_000.0
TOKEN = b"ours\x00\x00\x00\x01"

# Bytes that look like messages of this very conversation: version 1, few message IDs, a token of ours.
headers = st.builds(
    lambda kind, code, mid: bytes([0x48 | kind << 4, code, 0, mid]) + TOKEN,
    st.integers(0, 3),
    st.sampled_from([0, 1, 2, 3, 68, 69, 95, 128, 136, 141]),
    st.integers(98, 102),
)
block_options = st.builds(
    lambda option, number, more, exponent: option + bytes([number << 4 | more << 3 | exponent]),
    st.sampled_from([b"\xd1\x0a", b"\xd1\x0e"]),  # Block2, Block1
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 7),
)
payloads = st.sampled_from([b"", b"\xff", b"\xff" + bytes(16), b"\xff" + bytes(64)]) | st.binary(max_size=20)
likely = st.builds(lambda *parts: b"".join(parts), headers, st.just(b"") | block_options, payloads)
datagrams = st.binary(max_size=64) | likely


@settings(max_examples=300, deadline=None)
@given(st.lists(datagrams, max_size=12), st.booleans())
@example([b"\x48\x45\x00\x64" + TOKEN + b"\xd1\x0a\x0f\xff\x00"], True)
def test_no_bytes_raise_and_each_datagram_causes_at_most_two(data: list[bytes], answering: bool) -> None:
    exchanges = ExchangeLayer(first_message_id=100, token_prefix=b"ours", random=lambda: 0.0)
    layer = BlockwiseLayer(exchanges, block_size=64)
    layer.send_request(Message(code=Code.PUT, uri_path=("0",), payload=bytes(200)), NOW)
    layer.send_request(Message(code=Code.GET, uri_path=("1",)), NOW)
    layer.datagrams_to_send()
    for number, datagram in enumerate(data):
        layer.receive_datagram(datagram, NOW + number)
        answers = 0
        while (event := layer.next_event()) is not None:
            if answering and isinstance(event, RequestReceived):
                layer.send_response(
                    event.exchange, Message(code=Code.CONTENT, payload=bytes(200)), NOW + number
                )
                answers += 1
        # One reply, and one message of ours that had waited for an acknowledgement.
        assert len(layer.datagrams_to_send()) <= 2 + answers
    while (due := layer.get_timer()) is not None:
        layer.handle_timer(due)
    assert len(exchanges._received) <= limits.COAP_DEDUPLICATION_MAX


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=4, max_size=80))
def test_the_decoder_raises_nothing_but_bad_message(data: bytes) -> None:
    try:
        message = decode(bytes([0x40 | data[0] & 0x3F]) + data[1:])
    except BadMessageError:
        return
    assert message.code is not None
    assert message.code.is_request() or message.code.is_response()


texts = st.lists(st.text(max_size=60), max_size=4)


def altered(message: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """A message with some bytes replaced, inserted or cut off; positions count from the header's end."""
    data = bytearray(message)
    for kind, position, new in edits:
        at = HEADER_BYTES + position % max(1, len(data) - HEADER_BYTES)
        if kind == "insert":
            data[at:at] = new
        elif kind == "replace":
            data[at : at + len(new)] = new
        else:
            del data[at:]
    return bytes(data)


valid_messages = st.builds(
    lambda kind, code, token, query, block, tags, payload: encode(
        Message(
            code=code,
            payload=payload,
            uri_path=("bs",),
            uri_query=query,
            block1=block,
            request_tag=tags,
            content_format=11542,
        ),
        kind,
        7,
        token,
    ),
    st.sampled_from([Type.CON, Type.NON]),
    st.sampled_from([Code.POST, Code.PUT, Code.CHANGED]),
    st.binary(max_size=COAP_TOKEN_ECHO_MAX_BYTES + 200),
    st.lists(st.text(max_size=300), max_size=3),
    st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 6)),
    st.lists(st.binary(max_size=8), max_size=2),
    st.binary(max_size=64),
)
edits = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "cut"]),
        st.integers(0, 2_000),
        st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff", b"\xf0", b"\x0f", b"\xdd", b"\xee"]),
    ),
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(st.builds(altered, valid_messages, edits))
def test_a_valid_message_with_bytes_altered_is_decoded_or_bad(data: bytes) -> None:
    """And if it is decoded, then without loss: encoded again and decoded, it is the same message."""
    try:
        message = decode(data)
    except BadMessageError as bad:
        assert bad.answer is None or len(bad.token) <= COAP_TOKEN_ECHO_MAX_BYTES
        return
    message.direction = Direction.OUTGOING
    again = decode(encode(message, Type.CON, 7, message.token))
    assert again.opt == message.opt
    assert (again.code, again.token, again.payload) == (message.code, message.token, message.payload)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.builds(altered, valid_messages, edits), max_size=6))
def test_altered_messages_in_a_row_neither_raise_nor_fill_a_datagram(data: list[bytes]) -> None:
    """Each gets one reply at most, and none that would not fit into the smallest datagram."""
    layer = BlockwiseLayer(ExchangeLayer(first_message_id=100, token_prefix=b"ours", random=lambda: 0.0))
    for number, datagram in enumerate(data):
        mid = number.to_bytes(2, "big")
        layer.receive_datagram(datagram[:2] + mid + datagram[4:], NOW)
        while (event := layer.next_event()) is not None:
            assert isinstance(event, RequestReceived)
            layer.send_response(event.exchange, Message(code=Code.CHANGED), NOW)
        replies = layer.datagrams_to_send()
        assert len(replies) <= 1
        assert all(len(reply) <= 200 and reply[1] != 1 for reply in replies)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(list(Type)),
    code=st.sampled_from([Code.GET, Code.POST, Code.PUT, Code.CHANGED, Code.CONTENT, Code.FORBIDDEN]),
    mid=st.integers(0, 65_535),
    token=st.binary(max_size=8),
    payload=st.binary(max_size=200),
    path=texts,
    query=texts,
    content_format=st.none() | st.sampled_from([0, 40, 60, 112, 11542]),
    block=st.none() | st.tuples(st.integers(0, 2**20 - 1), st.booleans(), st.integers(0, 7)),
    etags=st.lists(st.binary(min_size=1, max_size=8), max_size=2),
    size=st.none() | st.integers(0, 2**32 - 1),
)
def test_valid_messages_are_read_as_aiocoap_reads_them(
    kind: Type, code: Code, mid: int, token: bytes, payload: bytes, **options: object
) -> None:
    names = {"path": "uri_path", "query": "uri_query", "block": "block2", "size": "size1"}
    message = Message(code=code, payload=payload, **{names.get(name, name): v for name, v in options.items()})
    data = encode(message, kind, mid, token)
    ours, theirs = decode(data), Message.decode(data)
    for one in (ours, theirs):
        assert (one.mtype, one.code, one.mid, one.token, one.payload) == (kind, code, mid, token, payload)
        assert one.direction == theirs.direction
    assert ours.opt == theirs.opt
