"""What CoAP peers may send besides a plain request, byte by byte to a real server over a real association."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftc_core.coap.codec import decode
from ftc_core.dtls.association import ApplicationData
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant
from tests.raw_peer import GET, POST, RawPeer, coap_request, uri
from tests.things import Thing, enrolled_thing

URI_QUERY, ECHO, NO_RESPONSE, REQUEST_TAG = 15, 252, 258, 292


@pytest.fixture
def thing(owner: Tenant, manufacturer: Manufacturer) -> Thing:
    return enrolled_thing(owner, manufacturer)


@pytest.fixture
def peer(instance: Instance, thing: Thing) -> Iterator[RawPeer]:
    credential = thing.credential
    address = instance.address("bootstrap")
    with RawPeer(address, credential.certificate, credential.private_key, instance.server_ca) as raw:
        yield raw.connect()


def say(peer: RawPeer, *messages: bytes, until: bytes) -> list[bytes]:
    """What the server sends after these messages, up to one that begins with `until`."""
    for message in messages:
        peer.association.send(message)
    answers: list[bytes] = []

    def answered() -> bool:
        answers.extend(event.data for event in peer.events if isinstance(event, ApplicationData))
        peer.events.clear()
        return any(answer.startswith(until) for answer in answers)

    assert peer.pump(answered), answers
    return answers


def ack(code: str, mid: int, token_length: int = 2) -> bytes:
    """The header of a piggy-backed response."""
    code_class, detail = map(int, code.split("."))
    return bytes([0x60 | token_length, code_class << 5 | detail]) + mid.to_bytes(2, "big")


def bootstrap_request(thing: Thing, mid: int) -> bytes:
    return coap_request(POST, uri("/bs", b"ep=" + thing.endpoint_name.encode()), mid)


def elective(number: int, last: int, value: bytes) -> bytes:
    """An option of less than 13 bytes, by its distance from the option before it (RFC 7252 §3.1)."""
    delta = number - last
    if delta < 13:
        return bytes([delta << 4 | len(value)]) + value
    return bytes([13 << 4 | len(value), delta - 13]) + value


def test_ping_gets_a_reset(peer: RawPeer) -> None:
    """RFC 7252 §4.3."""
    reset = b"\x70\x00\x12\x34"
    assert say(peer, b"\x40\x00\x12\x34", until=reset) == [reset]
    assert peer.still_works()


@pytest.mark.parametrize("length", [9, 13, 40])
def test_extended_token_comes_back(length: int, peer: RawPeer) -> None:
    """RFC 8974 §2.1."""
    tkl, token = min(length, 13), bytes(range(length))
    extended = bytes([length - 13] if length > 12 else []) + token
    request = bytes([0x40 | tkl]) + b"\x01\x00\x07" + extended + b"\xb2bs"
    [answer] = say(peer, request, until=ack("4.05", 7, tkl) + extended)
    assert decode(answer).token == token


def test_elective_options_of_other_specifications_do_not_disturb(peer: RawPeer, thing: Thing) -> None:
    """Echo and Request-Tag (RFC 9175), No-Response (RFC 7967): ignored silently (RFC 7252 §5.4.1)."""
    request = bootstrap_request(thing, 7)
    request += elective(ECHO, URI_QUERY, b"freshness")
    request += elective(NO_RESPONSE, ECHO, b"\x1a") + elective(REQUEST_TAG, NO_RESPONSE, b"x")
    say(peer, request, until=ack("2.04", 7))


def test_observe_is_answered_like_a_plain_request(peer: RawPeer) -> None:
    """RFC 7641 §4.1: a server that will not notify leaves the option out of its response."""
    [answer] = say(peer, b"\x40\x01\x00\x07\x60\x52bs", until=ack("4.05", 7, 0))
    assert decode(answer).opt.observe is None


def test_two_requests_at_once_are_both_answered(peer: RawPeer) -> None:
    requests = coap_request(GET, uri("/bs"), 7), coap_request(POST, uri("/bs"), 8)
    first, second = say(peer, *requests, until=ack("4.00", 8))
    assert first.startswith(ack("4.05", 7))
    assert second.endswith(b"ep is missing")


def test_two_bootstrap_requests_at_once_are_one_claim(peer: RawPeer, thing: Thing, owner: Tenant) -> None:
    """The newer is granted. The older is reset, unless its claim was already committed when that came."""
    answers = say(peer, bootstrap_request(thing, 7), bootstrap_request(thing, 8), until=ack("2.04", 8))
    assert answers[0].startswith((b"\x70\x00\x00\x07", ack("2.04", 7)))
    assert owner.device_count() == 1


def test_message_ids_wrap_around(peer: RawPeer) -> None:
    for mid in (65_534, 65_535, 0, 1):
        assert peer.ask(GET, uri("/bs"), mid=mid).mid == mid
