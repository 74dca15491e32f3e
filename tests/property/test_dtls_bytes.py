"""Whatever bytes arrive: nothing but what is documented comes out, and what is honest still gets through."""

from __future__ import annotations

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from ftc_core.dtls.association import ApplicationData, Closed, HandshakeCompleted
from ftc_core.dtls.cookie import Reply
from ftc_core.dtls.record import (
    BadRecord,
    client_hello_message,
    is_client_hello,
    pack_datagrams,
    split_records,
)
from tests.certificates import Manufacturer
from tests.dtls_pair import ADDRESS, Pair, client_for, device_verifier, gate

AUTHORITY = Manufacturer()
CONTEXT = client_for(AUTHORITY.device("device"), ["ECDHE-ECDSA-AES128-CCM8"])
VERIFY = device_verifier(AUTHORITY)
HONEST = [datagram for direction, datagram in Pair(CONTEXT, VERIFY).run().sent if direction == "to server"]
GATE = gate()

bodies = st.binary(max_size=200)
records = st.builds(
    lambda kind, version, epoch, number, body: (
        bytes((kind,)) + version + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
        + len(body).to_bytes(2, "big") + body
    ),
    st.sampled_from([20, 21, 22, 23, 24, 25]) | st.integers(0, 255),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.sampled_from([0, 1, 2, 65_535]),
    st.integers(0, 20) | st.integers(0, 2**48 - 1),
    bodies,
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """An honest datagram of another handshake, cut, changed or continued."""
    datagram = bytearray(draw(st.sampled_from(HONEST)))
    for _ in range(draw(st.integers(0, 4))):
        datagram[draw(st.integers(0, len(datagram) - 1))] = draw(st.integers(0, 255))
    return bytes(datagram[: draw(st.integers(0, len(datagram)))]) + draw(st.binary(max_size=30))


datagrams = st.binary(max_size=2_000) | st.lists(records, max_size=5).map(b"".join) | mutations()


@given(st.lists(records))
def test_splitting_undoes_joining(parts: list[bytes]) -> None:
    assert split_records(b"".join(parts)) == parts


@given(st.binary(max_size=500) | mutations())
def test_only_bad_record_leaves_the_record_layer(blob: bytes) -> None:
    with contextlib.suppress(BadRecord):
        assert b"".join(split_records(blob)) == blob
    try:
        assert client_hello_message(blob) in blob
    except BadRecord:
        pass
    else:
        assert is_client_hello(blob)


@given(st.lists(records), st.integers(1, 1_500))
def test_packing_keeps_the_order_loses_nothing_and_obeys_the_mtu(parts: list[bytes], mtu: int) -> None:
    packed = pack_datagrams(parts, mtu)
    assert b"".join(packed) == b"".join(parts)
    for datagram in packed:
        assert len(datagram) <= mtu or len(split_records(datagram)) == 1
    for one, following in itertools.pairwise(packed):
        assert len(one) + len(split_records(following)[0]) > mtu


@given(st.lists(datagrams, max_size=10))
def test_no_bytes_at_the_gate_stand_in_the_way_of_an_honest_client_hello(noise: list[bytes]) -> None:
    for datagram in noise:
        GATE.receive(datagram, b"noise", 0.0)
        assert isinstance(GATE.receive(HONEST[0], ADDRESS, 0.0), Reply)


@given(st.lists(datagrams, max_size=10))
def test_no_bytes_of_others_end_an_established_association_or_become_data(noise: list[bytes]) -> None:
    pair = Pair(CONTEXT, VERIFY).run()
    for datagram in noise:
        pair.accepted.receive_datagram(datagram, pair.now)
        pair.client.receive_datagram(datagram, pair.now)
    pair.client.send(b"honest")
    pair.accepted.send(b"answer")
    pair.run()
    assert pair.server_received() == [b"honest"]
    assert pair.client_received() == [b"answer"]


@given(st.lists(st.tuples(st.integers(0, 5), datagrams), max_size=6))
def test_no_bytes_during_a_handshake_authenticate_anybody_else(noise: list[tuple[int, bytes]]) -> None:
    """Plaintext can be forged, so it may end a handshake; it may not change its outcome."""
    arrived = 0

    def disturb(direction: str, _number: int, datagram: bytes) -> list[bytes]:
        nonlocal arrived
        arrived += 1
        return [forged for moment, forged in noise if moment == arrived] + [datagram]

    pair = Pair(CONTEXT, VERIFY, network=disturb).run()
    for event in pair.server_events:
        assert not isinstance(event, ApplicationData)
        assert isinstance(event, Closed) or event.path.common_name == "device"
    assert sum(isinstance(event, HandshakeCompleted) for event in pair.server_events) <= 1
