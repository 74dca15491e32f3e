"""The wall between a peer's bytes and the CoAP state machines."""

from __future__ import annotations

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.contentformat import ContentFormat
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.numbers.types import Type

from ftc_core.coap.codec import BadMessageError, decode, empty_message, encode
from ftc_core.errors import Reason
from ftc_core.limits import COAP_TOKEN_ECHO_MAX_BYTES, COAP_TOKEN_MAX_BYTES

GET = b"\x40\x01\x00\x01"


def test_what_the_encoder_wrote_is_read_back_whole() -> None:
    message = Message(
        code=Code.PUT,
        payload=b"\xff body \xff",
        uri_path=("0", "0"),
        uri_query=("ep=a", "é" * 100),
        content_format=11542,
        block1=(70_000, True, 6),
        size1=5_000,
    )
    data = encode(message, Type.CON, 0xFFFE, b"12345678")
    read = decode(data)
    assert (read.mtype, read.code, read.mid, read.token) == (Type.CON, Code.PUT, 0xFFFE, b"12345678")
    assert read.opt == message.opt
    assert read.payload == message.payload
    assert read.opt.block1 == (70_000, True, 6)


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        ("empty message with a token", b"\x41\x00\x00\x01\x01"),
        ("empty message", b"\x40\x00\x00\x01"),
        ("token shorter than its length", b"\x44\x01\x00\x01tok"),
        ("extended token shorter than its length", b"\x4d\x01\x00\x01\x00" + b"t" * 12),
        ("length of the extended token cut off", b"\x4e\x01\x00\x01\x00"),
        ("token length 15, which is reserved", b"\x4f\x01\x00\x01" + b"t" * 70),
        ("token too long to be echoed", b"\x4d\x01\x00\x01\x74" + b"t" * 129),
        ("reserved code class 1", b"\x40\x21\x00\x01"),
        ("reserved code class 6", b"\x40\xc1\x00\x01"),
        ("reserved code class 7", b"\x40\xe1\x00\x01"),
        ("payload marker without payload", GET + b"\xff"),
        ("payload marker without payload after an option", GET + b"\xb1a\xff"),
        ("option delta 15", GET + b"\xf0"),
        ("option delta 15 with enough behind it", GET + b"\xf0aab"),
        ("option length 15", GET + b"\xbf" + b"a" * 20),
        ("option beyond the end", GET + b"\xb5abc"),
        ("extended delta cut off", GET + b"\xd0"),
        ("extended 2-byte length cut off", GET + b"\xbe\x01"),
    ],
)
def test_a_message_format_error_has_no_answer_but_reset(rule: str, data: bytes) -> None:
    with pytest.raises(BadMessageError) as caught:
        decode(data)
    assert caught.value.answer is None, rule


@pytest.mark.parametrize("length", [0, 8, 9, 12, 13, 40, 41, 128, 268, 269, 270])
def test_a_token_of_any_length_survives_the_wire(length: int) -> None:
    """TKL as RFC 8974 §2.1 extends it: 13 and 14 stand for one and two bytes of length behind the header."""
    token = (bytes(range(256)) * 2)[:length]
    data = encode(Message(code=Code.GET, uri_path=("rd",)), Type.CON, 7, token)
    header = {13: b"\x4d\x01\x00\x07\x00", 268: b"\x4d\x01\x00\x07\xff", 269: b"\x4e\x01\x00\x07\x00\x00"}
    assert data.startswith(header.get(length, b""))
    assert data.endswith(token + b"\xb2rd")
    if length <= COAP_TOKEN_MAX_BYTES:
        assert decode(data).token == token
    elif length <= COAP_TOKEN_ECHO_MAX_BYTES:
        with pytest.raises(BadMessageError, match="Token too long") as caught:
            decode(data)
        assert caught.value.token == token
        assert caught.value.answer is not None
        assert caught.value.answer.spec.coap == "4.00"  # §2.2.2: no reset, which would mean "not at all"


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("If-Match, which is not understood", b"\x10"),
        ("If-None-Match, which is not understood", b"\x50"),
        ("OSCORE (RFC 8613)", b"\x91\x09"),
        ("Q-Block1 (RFC 9177)", b"\xd1\x06\x08"),
        ("Q-Block2 (RFC 9177)", b"\xd1\x12\x08"),
        ("unknown critical 2049", b"\xe0\x06\xf4"),
        ("Uri-Path of 256 bytes", b"\xbd\xf3" + b"a" * 256),
        ("Block1 of 4 bytes", b"\xd4\x0e\x01\x00\x00\x00"),
        ("Accept twice", b"\xd1\x04\x28\x01\x28"),
    ],
)
def test_a_critical_option_that_is_not_understood_is_a_bad_option(rule: str, options: bytes) -> None:
    with pytest.raises(BadMessageError) as caught:
        decode(GET + options)
    assert caught.value.answer is not None, rule
    assert caught.value.answer.reason is Reason.OPTION_NOT_UNDERSTOOD


@pytest.mark.parametrize(
    ("rule", "options"),
    [("Proxy-Uri", b"\xdc\x16coap://other"), ("Proxy-Scheme", b"\xd4\x1acoap")],
)
def test_a_request_to_a_proxy_is_told_that_this_is_none(rule: str, options: bytes) -> None:
    """RFC 7252 §5.10.2 demands 5.05 here, though both options are critical and not understood."""
    with pytest.raises(BadMessageError) as caught:
        decode(GET + options)
    assert caught.value.answer is not None, rule
    assert caught.value.answer.spec.coap == "5.05"


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("Echo (RFC 9175)", b"\xd8\xefECHOECHO"),
        ("No-Response (RFC 7967)", b"\xd1\xf5\x1a"),
        ("Hop-Limit (RFC 8768)", b"\xd1\x03\x10"),
        ("Request-Tag of 9 bytes (RFC 9175)", b"\xe9\x00\x17" + b"t" * 9),
        ("unknown elective 2050", b"\xe1\x06\xf5x"),
        ("Content-Format of 3 bytes", b"\xc3\x01\x00\x00"),
        ("Location-Path that is not UTF-8", b"\x82\xff\xfe"),
    ],
)
def test_an_elective_option_that_is_not_understood_is_left_out(rule: str, options: bytes) -> None:
    message = decode(GET + options + b"\xffbody")
    assert list(message.opt.option_list()) == [], rule
    assert message.payload == b"body"


def test_a_repeated_elective_option_counts_once() -> None:
    assert decode(GET + b"\xc1\x28\x01\x2a").opt.content_format == 40


def test_observe_and_request_tag_are_understood() -> None:
    options = decode(GET + b"\x61\x00" + b"\xe2\x00\x11ab" + b"\x02cd").opt
    assert options.observe == 0
    assert [tag.value for tag in options.get_option(OptionNumber.REQUEST_TAG)] == [b"ab", b"cd"]


def test_text_that_is_not_utf8_names_its_query_parameter() -> None:
    with pytest.raises(BadMessageError) as caught:
        decode(GET + b"\xd5\x02ep=\xff\xfe")
    assert caught.value.answer is not None
    assert caught.value.answer.message == "ep is not valid UTF-8"
    assert caught.value.answer.spec.coap == "4.00"
    with pytest.raises(BadMessageError, match="An option is not valid UTF-8"):
        decode(GET + b"\xb2\xff\xfe")


def test_a_format_error_outranks_a_bad_option() -> None:
    with pytest.raises(BadMessageError) as caught:
        decode(GET + b"\x10" + b"\xff")
    assert caught.value.answer is None


def test_a_peer_cannot_make_the_process_remember_numbers_for_ever() -> None:
    options = len(OptionNumber._value2member_map_)
    formats = len(ContentFormat._value2member_map_)
    for number in range(3_000, 4_000, 2):
        decode(GET + b"\xe0" + (number - 269).to_bytes(2, "big"))
        decode(GET + b"\xc4" + (number << 16).to_bytes(4, "big"))
    assert len(OptionNumber._value2member_map_) == options
    assert len(ContentFormat._value2member_map_) == formats


def test_empty_messages_are_four_bytes() -> None:
    assert empty_message(Type.ACK, 0x7D38) == b"\x60\x00\x7d\x38"
    assert empty_message(Type.RST, 0xAD7C) == b"\x70\x00\xad\x7c"
