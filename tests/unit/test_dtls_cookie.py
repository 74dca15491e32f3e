"""The gate: stateless until the address is proven (RFC 6347 §4.2.1)."""

from __future__ import annotations

import random

import pytest

from ftc_core.dtls.association import Association
from ftc_core.dtls.cookie import CookieGate, Proven, Rejected, Reply
from ftc_core.dtls.record import is_client_hello
from ftc_core.limits import COOKIE_EPOCH_S
from tests.certificates import Manufacturer
from tests.dtls_pair import (
    ADDRESS,
    SECRET,
    client_for,
    device_verifier,
    fragments,
    gate,
    server_verifier,
    standard_server_context,
)

NOW = 1_000_000.0


@pytest.fixture
def client(manufacturer: Manufacturer) -> Association:
    return Association.connect(client_for(manufacturer.device("device")), server_verifier(), NOW)


def first_hello(client: Association) -> bytes:
    (hello,) = client.datagrams_to_send()
    return hello


def second_hello(client: Association, at: CookieGate, address: bytes = ADDRESS, now: float = NOW) -> bytes:
    """The ClientHello with the cookie that `at` gives for `address`."""
    outcome = at.receive(first_hello(client), address, now)
    assert isinstance(outcome, Reply)
    for datagram in outcome.datagrams:
        client.receive_datagram(datagram, now)
    return first_hello(client)


def test_a_client_hello_gets_a_hello_verify_request_and_its_echo_proves_the_address(
    client: Association,
) -> None:
    at = gate()
    assert isinstance(at.receive(second_hello(client, at), ADDRESS, NOW), Proven)


def test_the_reply_is_shorter_than_the_request(client: Association) -> None:
    hello = first_hello(client)
    outcome = gate().receive(hello, ADDRESS, NOW)
    assert isinstance(outcome, Reply)
    assert sum(map(len, outcome.datagrams)) == 44 < len(hello)


def test_the_least_that_is_answered_is_longer_than_the_reply() -> None:
    body = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\x00"  # version, random, no session ID, no cookie

    def answer(part: bytes) -> Rejected | Reply | Proven:
        size = len(part).to_bytes(3, "big")
        message = b"\x01" + size + bytes(2) + bytes(3) + size + part
        return gate().receive(
            b"\x16\xfe\xff" + bytes(8) + len(message).to_bytes(2, "big") + message, ADDRESS, NOW
        )

    outcome = answer(body)
    assert isinstance(outcome, Reply)
    assert sum(map(len, outcome.datagrams)) == 44 < 13 + 12 + len(body) == 61
    assert isinstance(answer(body[:-1]), Rejected)


def test_the_cookie_of_another_address_proves_nothing(client: Association) -> None:
    at = gate()
    hello = second_hello(client, at)
    assert isinstance(at.receive(hello, b"192.0.2.1|40001", NOW), Reply)
    assert isinstance(at.receive(hello, ADDRESS, NOW), Proven)


def test_the_cookie_of_another_secret_proves_nothing(client: Association) -> None:
    hello = second_hello(client, CookieGate(standard_server_context(), b"x" * 32))
    assert isinstance(gate().receive(hello, ADDRESS, NOW), Reply)


def test_any_worker_with_the_secret_accepts_the_cookie_that_another_gave(client: Association) -> None:
    assert isinstance(gate().receive(second_hello(client, gate()), ADDRESS, NOW), Proven)


@pytest.mark.parametrize(("ticks", "outcome"), [(0, Proven), (1, Proven), (2, Reply), (-1, Reply)])
def test_a_cookie_is_good_in_its_own_tick_and_the_next(
    client: Association, ticks: int, outcome: type[Proven | Reply]
) -> None:
    at = gate()
    hello = second_hello(client, at)
    assert isinstance(at.receive(hello, ADDRESS, NOW + ticks * COOKIE_EPOCH_S), outcome)


def test_the_next_client_hello_after_a_proven_one_finds_a_fresh_listener(client: Association) -> None:
    at = gate()
    hello = second_hello(client, at)
    first, second = at.receive(hello, ADDRESS, NOW), at.receive(hello, ADDRESS, NOW)
    assert isinstance(first, Proven)
    assert isinstance(second, Proven)
    assert first.connection is not second.connection


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x16", bytes(100), b"\x17\xfe\xfd" + bytes(10), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1_500],
)
def test_what_is_no_client_hello_is_rejected(datagram: bytes) -> None:
    assert isinstance(gate().receive(datagram, ADDRESS, NOW), Rejected)


def test_the_first_fragment_of_a_client_hello_proves_the_address_if_it_holds_the_cookie(
    client: Association, manufacturer: Manufacturer
) -> None:
    at = gate()
    first, second = fragments(second_hello(client, at), 100)
    outcome = at.receive(first, ADDRESS, NOW)
    assert isinstance(outcome, Proven)
    server = Association.accept(outcome, device_verifier(manufacturer), NOW)
    assert not is_client_hello(second)
    assert server.datagrams_to_send() == []
    server.receive_datagram(second, NOW)
    assert sum(map(len, server.datagrams_to_send())) > 500  # ServerHello to ServerHelloDone


def test_a_first_fragment_without_the_cookie_proves_nothing(client: Association) -> None:
    at = gate()
    first, *_ = fragments(second_hello(client, at), 36)
    assert isinstance(at.receive(first, ADDRESS, NOW), Rejected)


def test_a_client_hello_in_a_huge_datagram_is_not_read(client: Association) -> None:
    at = gate()
    hello = first_hello(client)
    assert isinstance(at.receive(hello + bytes(40_000), ADDRESS, NOW), Rejected)
    assert isinstance(at.receive(hello, ADDRESS, NOW), Reply)


def test_no_malformed_client_hello_stands_in_the_way_of_the_next(client: Association) -> None:
    """Erlang's CVE-2026-55950: one bad datagram must not end the listener, nor swallow its successor."""
    at = gate()
    hello = first_hello(client)
    chance = random.Random(6347)
    for _ in range(500):
        mutated = bytearray(hello)
        for _ in range(chance.randrange(1, 4)):
            mutated[chance.randrange(25, len(mutated))] = chance.randrange(256)
        length = chance.randrange(len(hello) // 2, len(hello) + 1)
        for bad in (bytes(mutated), hello[:length], hello + hello, hello + chance.randbytes(1_000)):
            at.receive(bad, ADDRESS, NOW)
            assert isinstance(at.receive(hello, ADDRESS, NOW), Reply)


def test_a_proven_client_hello_with_a_broken_body_fails_alone(
    client: Association, manufacturer: Manufacturer
) -> None:
    at = gate()
    hello = second_hello(client, at)
    broken = bytearray(hello)
    broken[-1] ^= 0xFF
    outcome = at.receive(bytes(broken), ADDRESS, NOW)
    assert isinstance(outcome, Proven)
    assert not Association.accept(outcome, device_verifier(manufacturer), NOW).established
    assert isinstance(at.receive(hello, ADDRESS, NOW), Proven)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes, 32 needed"):
        CookieGate(standard_server_context(), SECRET[:31])


def test_a_look_recognises_what_the_gate_lets_through_and_nothing_else(client: Association) -> None:
    at = gate()
    unproven = first_hello(client)
    outcome = at.receive(unproven, ADDRESS, NOW)
    assert isinstance(outcome, Reply)
    for datagram in outcome.datagrams:
        client.receive_datagram(datagram, NOW)
    proven = first_hello(client)

    assert at.recognises(proven, ADDRESS, NOW)
    assert at.recognises(proven, ADDRESS, NOW + COOKIE_EPOCH_S), "in the next tick, too"
    assert not at.recognises(proven, ADDRESS, NOW + 2 * COOKIE_EPOCH_S)
    assert not at.recognises(proven, b"192.0.2.9|1", NOW)
    assert not at.recognises(unproven, ADDRESS, NOW)
    assert not at.recognises(b"\x16\xfe\xff" + bytes(60), ADDRESS, NOW)
    assert isinstance(at.receive(proven, ADDRESS, NOW), Proven), "it changed nothing"
