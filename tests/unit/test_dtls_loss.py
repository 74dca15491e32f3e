"""Handshakes over a network that loses, repeats and reorders (RFC 6347 §4.2.4).

OpenSSL retransmits by the real clock, the first time after one second. So all cases of a test run side by
side and wait for it together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from ftc_core.dtls.trust import PathVerifier
from tests.certificates import Manufacturer
from tests.dtls_pair import Direction, Network, Pair, client_for, device_verifier, wait_until_done


def large_device() -> tuple[SSL.Context, PathVerifier]:
    """A device whose certificates take several datagrams: each of them can be lost."""
    key = rsa.generate_private_key(65537, 2048)
    root = Manufacturer("Root", key=key)
    middle = Manufacturer("Middle", issuer=root, key=key)
    device = Manufacturer("Lower", issuer=middle, key=key).device("dev-1", key=key)
    return client_for(device), device_verifier(root)


def once(change: Callable[[bytes], Iterable[bytes]], at: tuple[Direction, int]) -> Network:
    """A network that does something to one datagram and delivers the others."""
    return lambda direction, number, datagram: change(datagram) if (direction, number) == at else (datagram,)


def test_the_loss_of_any_one_datagram_is_made_good(manufacturer: Manufacturer) -> None:
    small = (client_for(manufacturer.device("dev-1")), device_verifier(manufacturer))
    pairs = []
    for context, verify in (small, large_device()):
        whole = Pair(context, verify).run()
        assert whole.completed
        for direction in ("to server", "to client"):
            count = sum(1 for sent, _ in whole.sent if sent == direction)
            assert count >= 3
            pairs += [
                Pair(context, verify, network=once(lambda _: (), (direction, number)))
                for number in range(count)
            ]
    assert len(pairs) >= 14
    wait_until_done(pairs)
    for pair in pairs:
        pair.client.send(b"data")
        assert pair.run().server_received() == [b"data"]


def test_datagrams_that_arrive_twice_do_no_harm(manufacturer: Manufacturer) -> None:
    for context, verify in (
        (client_for(manufacturer.device("dev-1")), device_verifier(manufacturer)),
        large_device(),
    ):
        pair = Pair(context, verify, network=lambda _direction, _number, datagram: (datagram, datagram)).run()
        assert pair.completed
        pair.client.send(b"data")
        assert pair.run().server_received() == [b"data"]


def test_a_flight_that_arrives_in_reverse_completes(manufacturer: Manufacturer) -> None:
    context, verify = large_device()
    held: list[bytes] = []

    def reverse(direction: Direction, number: int, datagram: bytes) -> Iterable[bytes]:
        """Holds the client's last flight until all of it is there."""
        if direction == "to client" or number < 2:
            return (datagram,)
        held.append(datagram)
        if len(held) < flight:
            return ()
        return tuple(reversed(held))

    whole = Pair(context, verify).run()
    flight = sum(1 for direction, _ in whole.sent if direction == "to server") - 2
    assert flight >= 3
    pair = Pair(context, verify, network=reverse)
    wait_until_done([pair])
    assert pair.server_handshake().path.common_name == "dev-1"


def test_a_lost_last_flight_is_repeated_by_the_established_server(manufacturer: Manufacturer) -> None:
    """RFC 6347 §4.2.4: whoever sent the last flight answers its repeated predecessor with it again."""
    pair = Pair(
        client_for(manufacturer.device("dev-1")),
        device_verifier(manufacturer),
        network=once(lambda _: (), ("to client", 2)),
    ).run()
    assert pair.accepted.established
    assert not pair.client.established
    wait_until_done([pair])
    assert len(pair.server_events) == 1
