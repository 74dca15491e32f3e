"""Flights that fit the path (RFC 6347 §4.1.1), a path that drops what does not, and messages in fragments."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from ftc_core.dtls.record import split_records
from ftc_core.dtls.trust import PathVerifier
from ftc_core.limits import DTLS_MTU_FALLBACK_BYTES, DTLS_MTU_MAX_BYTES, DTLS_MTU_MIN_BYTES
from tests.certificates import Manufacturer
from tests.dtls_pair import Network, Pair, client_for, device_verifier, server_verifier, wait_until_done

IPV6_MINIMUM = 1_280 - 48
IPV4_LEAST = 576 - 28


def small() -> tuple[SSL.Context, PathVerifier]:
    """A device with one P-256 certificate."""
    root = Manufacturer("Root")
    return client_for(root.device("dev-1")), device_verifier(root)


def large() -> tuple[SSL.Context, PathVerifier]:
    """A device with RSA certificates and two intermediates: 4 KB."""
    key = rsa.generate_private_key(65537, 2048)
    root = Manufacturer("Root", key=key)
    middle = Manufacturer("Middle", issuer=root, key=key)
    device = Manufacturer("Lower", issuer=middle, key=key).device("dev-1", key=key)
    return client_for(device), device_verifier(root)


def narrow(limit: int) -> Network:
    """A path that drops datagrams of more than `limit` bytes, and tells nobody."""
    return lambda _direction, _number, datagram: (datagram,) if len(datagram) <= limit else ()


def carries_its_largest_message(pair: Pair) -> None:
    for sender in (pair.client, pair.accepted):
        sender.send(bytes(sender.max_plaintext_bytes))
    pair.run()
    assert pair.server_received() == [bytes(pair.client.max_plaintext_bytes)]
    assert pair.client_received() == [bytes(pair.accepted.max_plaintext_bytes)]


@pytest.mark.parametrize("mtu", [DTLS_MTU_MIN_BYTES, IPV4_LEAST, 1_200, IPV6_MINIMUM, DTLS_MTU_MAX_BYTES])
@pytest.mark.parametrize("device", [small, large])
def test_no_datagram_of_either_side_is_larger_than_its_mtu(mtu: int, device: object) -> None:
    context, verify = device()  # type: ignore[operator]
    pair = Pair(context, verify, network=narrow(mtu), mtu=mtu).run()
    assert pair.completed
    carries_its_largest_message(pair)
    sizes = [len(datagram) for _, datagram in pair.sent]
    assert max(sizes) <= mtu
    # The largest message that fits does fill it, but for the padding of a cipher.
    assert max(sizes) > mtu - 16


def test_a_path_that_drops_large_datagrams_is_found_by_two_losses() -> None:
    """The third time, a flight goes in parts that every IPv4 host takes; so does all that follows.

    What was smaller from the beginning stays so.
    """
    pairs = []
    for context, verify in (small(), large()):
        pair = Pair(context, verify, network=narrow(IPV4_LEAST))
        pair.client = type(pair.client).connect(context, server_verifier(), pair.now, mtu=IPV4_LEAST)
        pairs.append(pair)
    context, verify = small()
    smaller = Pair(
        context,
        verify,
        mtu=DTLS_MTU_MIN_BYTES,
        network=lambda to, number, datagram: () if to == "to client" and 1 <= number <= 6 else (datagram,),
    )
    wait_until_done([*pairs, smaller])
    assert max(len(datagram) for _, datagram in smaller.sent) <= DTLS_MTU_MIN_BYTES
    for pair in pairs:
        lost = [datagram for to, datagram in pair.sent if to == "to client" and len(datagram) > IPV4_LEAST]
        assert len(lost) == 2, "the flight's large datagram, twice"
        assert pair.accepted.max_plaintext_bytes < DTLS_MTU_FALLBACK_BYTES
        carries_its_largest_message(pair)


# --- the client's cuts, which are not ours to choose -------------------------------------------------------


def cut_handshake(record: bytes, size: int) -> list[bytes]:
    """A plaintext handshake record as fragments of `size` bytes of message (RFC 6347 §4.2.3)."""
    if record[0] != 22 or record[3:5] != b"\x00\x00":
        return [record]
    header, body = record[13:25], record[25:]
    parts = []
    for start in range(0, len(body) or 1, size):
        part = body[start : start + size]
        fragment = header[:6] + start.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        parts.append(record[:11] + len(fragment).to_bytes(2, "big") + fragment)
    return parts


class Cutter:
    """Cuts what the device sends from `first` on, each record under a number of its own.

    `coalesce` puts all of a datagram's fragments into one datagram again; `backwards` turns their order.
    """

    def __init__(self, size: int, *, first: int = 2, coalesce: bool = False, backwards: bool = False) -> None:
        self._size, self._first = size, first
        self._coalesce, self._backwards = coalesce, backwards
        self._number = 100

    def __call__(self, direction: str, number: int, datagram: bytes) -> Iterable[bytes]:
        if direction == "to client" or number < self._first:
            return (datagram,)
        parts = [part for record in split_records(datagram) for part in self._cut(record)]
        if self._backwards:
            parts.reverse()
        return (b"".join(parts),) if self._coalesce else parts

    def _cut(self, record: bytes) -> Iterable[bytes]:
        if record[3:5] != b"\x00\x00":
            yield record
            return
        for part in cut_handshake(record, self._size):
            self._number += 1
            yield part[:5] + self._number.to_bytes(6, "big") + part[11:]


@pytest.mark.parametrize("size", [16, 17, 50, 100, 255, 400, 1_000])
def test_a_flight_of_the_device_may_be_cut_at_any_size(size: int, manufacturer: Manufacturer) -> None:
    """Down to 16 bytes: 40 datagrams of the 60 that a handshake may take."""
    context = client_for(manufacturer.device("dev-1"), ["ECDHE-ECDSA-AES128-CCM8"])
    pair = Pair(context, device_verifier(manufacturer), network=Cutter(size)).run()
    assert pair.completed
    assert pair.server_handshake().path.common_name == "dev-1"


@pytest.mark.parametrize("size", [1, 2, 16, 100, 1_000])
def test_fragments_of_a_flight_may_share_a_datagram(size: int, manufacturer: Manufacturer) -> None:
    """Also one byte at a time, with 25 bytes of headers each."""
    context = client_for(manufacturer.device("dev-1"))
    pair = Pair(context, device_verifier(manufacturer), network=Cutter(size, coalesce=True)).run()
    assert pair.completed


def test_fragments_may_arrive_backwards(manufacturer: Manufacturer) -> None:
    """OpenSSL keeps what comes early; ChangeCipherSpec and Finished, which then came first, are repeated."""
    context, verify = client_for(manufacturer.device("dev-1")), device_verifier(manufacturer)
    wait_until_done([Pair(context, verify, network=Cutter(size, backwards=True)) for size in (50, 100, 400)])


@pytest.mark.parametrize("size", [80, 100, 150])
def test_a_client_hello_with_its_cookie_may_come_in_fragments(size: int, manufacturer: Manufacturer) -> None:
    """If the cookie is in the first: it is all that the gate reads (`cookie`)."""
    context = client_for(manufacturer.device("dev-1"))
    pair = Pair(context, device_verifier(manufacturer), network=Cutter(size, first=1)).run()
    assert pair.completed


@pytest.mark.parametrize("size", [20, 40, 50])
def test_a_client_hello_whose_cookie_is_not_in_its_first_fragment_gets_no_further(
    size: int, manufacturer: Manufacturer
) -> None:
    """It would take state for an unproven address to put it together. No stack is known to cut so small."""
    context = client_for(manufacturer.device("dev-1"))
    pair = Pair(context, device_verifier(manufacturer), network=Cutter(size, first=1)).run()
    assert pair.server is None
    assert not pair.client.established
