"""Datagrams that no honest device sends, beside a device that is onboarded undisturbed.

The instance has one bootstrap worker, so that the hostile peer and its neighbour share it; that worker must
be the same process at the end.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from ftc_core.lwm2m.messages import dotted
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant
from tests.raw_peer import POST, RawPeer, uri
from tests.things import Thing, enrolled_thing

MIB = 1024 * 1024
CHANCE = random.Random(6347)
ALERT, HANDSHAKE, DATA = 21, 22, 23


def record(kind: int, body: bytes, *, version: bytes = b"\xfe\xfd", epoch: int = 0, number: int = 9) -> bytes:
    """A DTLS record (RFC 6347 §4.1)."""
    header = bytes((kind,)) + version + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return header + len(body).to_bytes(2, "big") + body


GARBAGE = {
    "empty": b"",
    "one byte": b"\x16",
    "a record header cut short": record(HANDSHAKE, b"")[:12],
    "a record cut short": record(HANDSHAKE, bytes(40))[:30],
    "a record longer than it may be": record(DATA, bytes(20_000)),
    "the largest datagram that there is": b"\x16\xfe\xfd" + bytes(65_504),
    "random bytes": CHANCE.randbytes(500),
    "random bytes in a handshake record": record(HANDSHAKE, CHANCE.randbytes(300)),
    "random bytes in a ClientHello": record(HANDSHAKE, b"\x01" + bytes(11) + CHANCE.randbytes(200)),
    "a ClientHello without content": record(HANDSHAKE, b"\x01" + bytes(11)),
    "a ClientHello of 16 MB": record(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(5) + b"\xff\xff\xff"),
    "DTLS 1.0 data": record(DATA, bytes(32), version=b"\xfe\xff", epoch=1),
    "DTLS 1.3 unified header": bytes((0b0010_1111,)) + CHANCE.randbytes(60),
    "TLS 1.2 ClientHello": b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + bytes(41),
    "plaintext application data": record(DATA, b"\x40\x02\x00\x01\xb2bs"),
    "plaintext CoAP": b"\x40\x02\x00\x01\xb2bs",
    "a fatal alert in plaintext": record(ALERT, b"\x02\x28"),
    "encrypted data of nobody": record(DATA, CHANCE.randbytes(40), epoch=1),
    "a handshake message that starts nothing": record(HANDSHAKE, b"\x0b" + bytes(30)),
}


@pytest.fixture
def thing(owner: Tenant, manufacturer: Manufacturer) -> Thing:
    return enrolled_thing(owner, manufacturer)


@pytest.fixture
def peer(instance: Instance, thing: Thing) -> Iterator[RawPeer]:
    """A device that has not begun its handshake."""
    credential = thing.credential
    address = instance.address("bootstrap")
    with RawPeer(address, credential.certificate, credential.private_key, instance.server_ca) as raw:
        yield raw


@pytest.fixture
def undisturbed(
    instance: Instance, owner: Tenant, manufacturer: Manufacturer
) -> Callable[[Callable[[], None]], None]:
    """Runs an attack while another device is onboarded in the midst of it, by the same process."""

    def run(attack: Callable[[], None]) -> None:
        neighbour = enrolled_thing(owner, manufacturer)
        workers = instance.processes()

        async def both() -> None:
            # Its slow answers stretch the onboarding over the attack, and over its end.
            onboarding = asyncio.create_task(neighbour.claimed(answer_delay_s=0.02))
            await asyncio.to_thread(attack)
            outcome = await asyncio.wait_for(onboarding, 10)
            device = owner.device(neighbour.endpoint_name)
            assert device is not None
            assert device.id == outcome.device_id

        asyncio.run(both())
        assert instance.processes() == workers

    return run


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_from_nobody_gets_no_answer(
    name: str, instance: Instance, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(instance.address("bootstrap"))
            for _ in range(20):
                sock.send(GARBAGE[name][:65_507])
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(65_535)

    undisturbed(attack)


@pytest.mark.parametrize("name", GARBAGE)
def test_session_survives_garbage_from_its_own_address(
    name: str, peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        peer.connect()
        for _ in range(20):
            peer.sock.send(GARBAGE[name][:65_507])
        assert peer.still_works()

    undisturbed(attack)


def test_records_are_not_swallowed_by_what_was_cut_off_before_them(
    peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        peer.connect()
        for length in (1, 12, 13, 14, 25):
            peer.sock.send(peer.record(b"\x40\x01\x00\x01")[:length])
            assert peer.still_works()

    undisturbed(attack)


def test_replayed_record_is_no_second_request(
    peer: RawPeer, thing: Thing, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        peer.connect()
        # Non-confirmable, so that no deduplicated acknowledgement could answer a replay.
        request = peer.record(b"\x51\x01\x00\x07\x2a\xb2bs")
        peer.sock.send(request)
        assert peer.receive() is not None
        for _ in range(5):
            peer.sock.send(request)
        assert peer.is_silent()
        assert peer.still_works()

    undisturbed(attack)


def test_forged_record_does_not_end_a_session(
    peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        peer.connect()
        genuine = peer.record(b"\x40\x01\x00\x01")
        for position in (len(genuine) - 1, 13, 20):
            forged = bytearray(genuine)
            forged[position] ^= 1
            peer.sock.send(forged)
        assert peer.still_works()

    undisturbed(attack)


def test_flood_of_client_hellos_without_cookie_leaves_no_state(
    instance: Instance, peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    before = instance.resident_bytes("bootstrap-0")
    hello = peer.first_flight(peer.association)

    def attack() -> None:
        for _ in range(50):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(instance.address("bootstrap"))
                for _ in range(40):
                    sock.send(hello)
                sock.settimeout(5)
                answer = sock.recv(2_000)
                assert answer[13] == 3, "HelloVerifyRequest"
                assert len(answer) < len(hello), "no amplification"

    undisturbed(attack)

    # 2,000 handshakes begun would be 130 MiB, at 67 KiB each.
    assert instance.resident_bytes("bootstrap-0") - before < 8 * MIB


def test_cookie_of_one_address_is_worth_nothing_at_another(instance: Instance, peer: RawPeer) -> None:
    peer.sock.send(peer.first_flight(peer.association))
    verify_request = peer.receive()
    assert verify_request is not None
    peer.association.receive_datagram(verify_request, time.monotonic())
    with_cookie = peer.first_flight(peer.association)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(instance.address("bootstrap"))
        sock.settimeout(5)
        sock.send(with_cookie)
        assert sock.recv(2_000)[13] == 3, "another HelloVerifyRequest"
    peer.sock.send(with_cookie)
    assert (peer.receive() or bytes(14))[13] == 2, "ServerHello"


def test_old_session_goes_on_until_a_second_client_hello_is_proven_and_is_then_replaced(
    peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        peer.connect()
        old, new = peer.association, peer.new_association()
        peer.sock.send(peer.first_flight(new))
        verify_request = peer.receive()
        assert verify_request is not None
        assert peer.still_works(), "the old one, beside a ClientHello that anybody could have sent"

        new.receive_datagram(verify_request, time.monotonic())
        peer.association = new
        peer.connect()
        assert peer.still_works()
        peer.association = old
        assert not peer.still_works(), "the old one was replaced"
        peer.association = new
        assert peer.still_works()

    undisturbed(attack)


def test_device_that_restarts_in_mid_bootstrap_is_bootstrapped_on_its_new_session(
    peer: RawPeer, thing: Thing, owner: Tenant
) -> None:
    request = uri("/bs", b"ep=" + thing.endpoint_name.encode())
    peer.connect()
    assert dotted(peer.ask(POST, request)) == "2.04"

    peer.association = peer.new_association()
    peer.connect()
    assert dotted(peer.ask(POST, request)) == "2.04"

    assert owner.device_count() == 1


def test_each_datagram_of_a_handshake_may_arrive_twice(
    peer: RawPeer, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    def attack() -> None:
        association = peer.association
        hello = peer.first_flight(association)
        peer.sock.send(hello)
        peer.sock.send(hello)
        first, second = peer.receive(), peer.receive()
        assert first is not None
        assert first == second, "the same cookie, twice"
        association.receive_datagram(first, time.monotonic())
        with_cookie = peer.first_flight(association)
        peer.sock.send(with_cookie)
        peer.sock.send(with_cookie)
        peer.connect()
        assert peer.still_works()

    undisturbed(attack)


def test_half_open_handshakes_do_not_keep_others_out(
    instance: Instance, thing: Thing, undisturbed: Callable[[Callable[[], None]], None]
) -> None:
    credential, address = thing.credential, instance.address("bootstrap")

    def attack() -> None:
        peers = [
            RawPeer(address, credential.certificate, credential.private_key, instance.server_ca)
            for _ in range(30)
        ]
        for peer in peers:
            peer.sock.send(peer.first_flight(peer.association))
            verify_request = peer.receive()
            assert verify_request is not None
            peer.association.receive_datagram(verify_request, time.monotonic())
            peer.sock.send(peer.first_flight(peer.association))
            assert peer.receive() is not None, "the server's flight, which is not answered"
            peer.sock.close()

    undisturbed(attack)
