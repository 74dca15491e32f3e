"""Attacks on other DTLS stacks, replayed on ours. What each did to its victim stands in its docstring."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from ftc_core.dtls.association import Closed
from ftc_core.dtls.cookie import Proven, Rejected, Reply
from ftc_core.dtls.record import DATAGRAM_PROCESSED_MAX_BYTES, split_records
from ftc_core.limits import HANDSHAKE_MAX_DATAGRAMS
from tests.certificates import Manufacturer
from tests.dtls_pair import ADDRESS, Pair, client_for, device_verifier, gate

HANDSHAKE, ALERT, DATA, CHANGE_CIPHER_SPEC = 22, 21, 23, 20
MIB = 1024 * 1024


def record(kind: int, epoch: int, number: int, body: bytes, *, version: bytes = b"\xfe\xfd") -> bytes:
    header = bytes((kind,)) + version + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
    return header + len(body).to_bytes(2, "big") + body


def established(manufacturer: Manufacturer, suite: str = "ECDHE-ECDSA-AES128-CCM8") -> Pair:
    pair = Pair(client_for(manufacturer.device("dev-1"), [suite]), device_verifier(manufacturer)).run()
    assert pair.completed
    return pair


def half_open(manufacturer: Manufacturer) -> Pair:
    """The server's flight was lost: it waits for the client's certificate."""
    pair = Pair(
        client_for(manufacturer.device("dev-1")),
        device_verifier(manufacturer),
        network=lambda direction, number, datagram: (
            () if (direction, number) == ("to client", 1) else (datagram,)
        ),
    ).run()
    assert pair.server is not None
    return pair


def still_works(pair: Pair) -> None:
    pair.client.send(b"after the attack")
    pair.accepted.send(b"and back")
    pair.run()
    assert pair.server_received()[-1] == b"after the attack"
    assert pair.client_received()[-1] == b"and back"


def memory() -> int:
    """Bytes of this process that are resident now (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_memory() -> int:
    """Bytes of this process that were resident at its highest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA256",
    ],
)
@pytest.mark.parametrize("length", [0, 1, 8, 15, 16, 24, 32, 48, 80])
def test_a_record_with_hardly_any_ciphertext_is_dropped(
    suite: str, length: int, manufacturer: Manufacturer
) -> None:
    """OpenSSL before 4.0.2 took an empty CCM ciphertext without a valid tag (8 bytes of nonce, 8 of tag)."""
    pair = established(manufacturer, suite)
    for kind in (DATA, ALERT, HANDSHAKE, CHANGE_CIPHER_SPEC):
        pair.to_server(record(kind, 1, 1_000 + kind, bytes(length)))
    assert pair.server_received() == []
    still_works(pair)


def test_a_flood_of_future_epochs_is_not_buffered(manufacturer: Manufacturer) -> None:
    """CVE-2026-54874: OpenSSL before 4.0.2 kept records of the next epoch without bound."""
    pair = established(manufacturer)
    before = memory()
    for number in range(20_000):
        pair.accepted.receive_datagram(record(DATA, 2 + number % 2, number, bytes(1_100)), pair.now)
    assert memory() - before < 8 * MIB  # 22 MB were sent
    still_works(pair)


def test_a_flood_of_future_epochs_ends_a_half_open_handshake(manufacturer: Manufacturer) -> None:
    pair = half_open(manufacturer)
    for number in range(100):
        pair.accepted.receive_datagram(record(HANDSHAKE, 1, number, bytes(1_100)), pair.now)
    assert isinstance(pair.accepted.next_event(), Closed)


def test_huge_fragment_lengths_reserve_no_memory(manufacturer: Manufacturer) -> None:
    """CVE-2026-59646: a datagram of 205 bytes made Bouncy Castle reserve 256 MiB."""
    message = b"\x0b" + b"\xff\xff\xff" + b"\x00\x02" + b"\x00\x00\x00" + b"\x00\x00\x01" + b"\x00"
    datagram = b"".join(record(HANDSHAKE, 0, 100 + number, message) for number in range(8))
    before = peak_memory()
    for _ in range(20):
        pair = half_open(manufacturer)
        pair.accepted.receive_datagram(datagram, pair.now)
    hello = b"\x01" + message[1:4] + bytes(5) + message[9:]
    assert isinstance(gate().receive(record(HANDSHAKE, 0, 0, hello), ADDRESS, 0.0), Rejected)
    assert peak_memory() - before < 64 * MIB  # one would be 256 MiB


def test_a_flood_of_client_hellos_leaves_nothing_behind(manufacturer: Manufacturer) -> None:
    """coturn GHSA-5x2p-4vqj-f6m4: state for each source address before it was proven."""
    (hello,) = Pair(client_for(manufacturer.device("x")), device_verifier()).client.datagrams_to_send()
    at = gate()
    at.receive(hello, ADDRESS, 0.0)
    before = memory()
    for number in range(20_000):
        at.receive(hello, number.to_bytes(4, "big"), 0.0)
    assert memory() - before < MIB


def test_a_replayed_record_is_delivered_once(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    pair.client.send(b"once")
    (datagram,) = pair.client.datagrams_to_send()
    for _ in range(3):
        pair.to_server(datagram)
    assert pair.server_received() == [b"once"]


def test_a_replayed_handshake_does_not_disturb(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    for direction, datagram in list(pair.sent):
        if direction == "to server":
            pair.to_server(datagram)
    still_works(pair)


@pytest.mark.parametrize("version", [b"\xfe\xff", b"\x03\x03", b"\xfe\xfc", b"\x00\x00", b"\x01\x00"])
def test_records_of_another_version_are_dropped(version: bytes, manufacturer: Manufacturer) -> None:
    """tinydtls #97: the cookie was skipped for a version that was not expected."""
    pair = established(manufacturer)
    pair.client.send(b"downgraded")
    (datagram,) = pair.client.datagrams_to_send()
    pair.to_server(datagram[:1] + version + datagram[3:])
    assert pair.server_received() == []
    still_works(pair)


@pytest.mark.parametrize("epoch", [0, 2, 65_535])
def test_data_of_another_epoch_is_dropped(epoch: int, manufacturer: Manufacturer) -> None:
    """tinydtls #13: plaintext data was taken after the handshake."""
    pair = established(manufacturer)
    pair.to_server(record(DATA, epoch, 77, b"plaintext injected"))
    assert pair.server_received() == []
    still_works(pair)


def test_data_in_plaintext_before_the_handshake_is_dropped(manufacturer: Manufacturer) -> None:
    pair = half_open(manufacturer)
    pair.accepted.receive_datagram(record(DATA, 0, 77, b"plaintext injected"), pair.now)
    event = pair.accepted.next_event()
    assert event is None or isinstance(event, Closed)


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("description", [0, 40, 90])
def test_a_plaintext_alert_does_not_end_an_established_association(
    level: int, description: int, manufacturer: Manufacturer
) -> None:
    pair = established(manufacturer)
    pair.to_server(record(ALERT, 0, 99, bytes((level, description))))
    still_works(pair)


def test_a_jumped_record_number_in_plaintext_does_not_close_the_replay_window(
    manufacturer: Manufacturer,
) -> None:
    """CVE-2016-2181: a forged record with a high number moved the window; honest records fell out of it."""
    pair = established(manufacturer)
    for epoch in (0, 1, 2):
        pair.to_server(record(DATA, epoch, 2**48 - 2, bytes(40)))
    still_works(pair)


@pytest.mark.parametrize(
    "omitted", ["certificate", "key exchange", "certificate verify", "change cipher spec"]
)
def test_a_client_that_omits_a_message_is_not_authenticated(omitted: str, manufacturer: Manufacturer) -> None:
    """dtls-fuzzer (USENIX Security 2020): JSSE took clients that never proved possession of their key."""

    def omit(direction: str, number: int, datagram: bytes) -> Iterator[bytes]:
        for part in split_records(datagram):
            if direction == "to client" or name_of(part) != omitted:
                yield part

    pair = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer), network=omit).run()
    assert pair.server_events == []
    assert not pair.accepted.established


def name_of(part: bytes) -> str:
    """Which message of the client's second flight a plaintext record is (RFC 5246 §7.4)."""
    if part[0] == CHANGE_CIPHER_SPEC:
        return "change cipher spec"
    names = {11: "certificate", 16: "key exchange", 15: "certificate verify"}
    return names.get(part[13], "") if part[0] == HANDSHAKE and part[3:5] == b"\x00\x00" else ""


def test_somebody_elses_certificate_verify_is_refused(manufacturer: Manufacturer) -> None:
    """A stolen certificate without its key: the signature is another device's."""

    def corrupt(direction: str, number: int, datagram: bytes) -> Iterator[bytes]:
        for part in split_records(datagram):
            if direction == "to server" and name_of(part) == "certificate verify":
                part = part[:-1] + bytes((part[-1] ^ 1,))
            yield part

    pair = Pair(
        client_for(manufacturer.device("dev-1")), device_verifier(manufacturer), network=corrupt
    ).run()
    assert pair.server_closed().alert in (50, 51)  # decode_error, decrypt_error


@pytest.mark.parametrize("size", [1, 12, 13, 14, 100, 16_397, 16_398, 65_507])
def test_no_garbage_swallows_the_next_datagram(size: int, manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    chance = random.Random(size)
    for start in (
        b"",
        b"\x17\xfe\xfd\x00\x01",
        b"\x16\xfe\xfd\x00\x00",
        b"\x17\xfe\xfd" + bytes(8) + b"\xff\xff",
    ):
        pair.to_server((start + chance.randbytes(size))[:size])
        still_works(pair)


def test_a_datagram_larger_than_any_record_is_dropped_whole(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    pair.client.send(b"with a tail")
    (datagram,) = pair.client.datagrams_to_send()
    pair.to_server(datagram + bytes(DATAGRAM_PROCESSED_MAX_BYTES))
    assert pair.server_received() == []
    still_works(pair)


def test_a_truncated_datagram_does_not_swallow_the_next(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    for length in range(1, 32):
        pair.client.send(b"cut")
        (datagram,) = pair.client.datagrams_to_send()
        pair.to_server(datagram[:length])
        still_works(pair)
    assert b"cut" not in pair.server_received()


def test_a_failed_handshake_leaves_the_next_one_untouched(manufacturer: Manufacturer) -> None:
    """Californium CVE-2022-39368: failed handshakes exhausted what the next ones needed."""
    stranger = client_for(Manufacturer("Stranger").device("x"))
    for _ in range(20):
        assert Pair(stranger, device_verifier(manufacturer)).run().server_closed().alert == 48
    assert established(manufacturer).completed


def test_renegotiation_is_refused(manufacturer: Manufacturer) -> None:
    """A client that asks for it inside the session (RFC 5246 §7.4.1.2) gets nowhere, and loses nothing."""
    device = manufacturer.device("dev-1")
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0")
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.use_certificate(device.certificate)
    context.use_privatekey(device.private_key)
    client = SSL.Connection(context, None)
    client.set_ciphertext_mtu(1_200)
    client.set_connect_state()
    pair = Pair(client_for(device), device_verifier(manufacturer))

    def turn(work: Callable[[], object]) -> None:
        with contextlib.suppress(SSL.WantReadError):
            work()
        with contextlib.suppress(SSL.WantReadError):
            for part in split_records(client.bio_read(65_536)):
                pair.to_server(part)
        answers = pair._from_server()
        for part in split_records(b"".join(answers)):
            client.bio_write(part)
            with contextlib.suppress(SSL.WantReadError):
                client.recv(1_000)

    for _ in range(3):
        turn(client.do_handshake)
    assert pair.accepted.established
    client.renegotiate()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        turn(client.do_handshake)
    assert pair.accepted.established
    assert len(pair.server_events) == 1


def hello_of(manufacturer: Manufacturer) -> bytes:
    (hello,) = Pair(client_for(manufacturer.device("x")), device_verifier()).client.datagrams_to_send()
    return hello


def test_a_repeated_client_hello_gets_the_same_answer_each_time_and_stops_nobody(
    manufacturer: Manufacturer,
) -> None:
    """Erlang CVE-2026-55950: a second ClientHello from one address and port killed the listener of all."""
    at, hello = gate(), hello_of(manufacturer)
    answers = [at.receive(hello, ADDRESS, 0.0) for _ in range(100)]
    assert all(answer == answers[0] for answer in answers)
    assert isinstance(answers[0], Reply)
    pair = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer))
    pair.gate = at
    assert pair.run().completed


def test_a_repeated_proven_client_hello_is_answered_within_the_bounds_of_a_handshake(
    manufacturer: Manufacturer,
) -> None:
    """Each makes us send our flight again; so their number is bounded, and with it the amplification."""
    pair = half_open(manufacturer)
    proven = [datagram for to, datagram in pair.sent if to == "to server"][1]
    sent = 0
    for number in range(HANDSHAKE_MAX_DATAGRAMS + 20):
        pair.to_server(proven[:5] + (100 + number).to_bytes(6, "big") + proven[11:])
        sent += sum(map(len, pair.accepted.datagrams_to_send()))
    assert isinstance(pair.server_closed(), Closed)
    assert sent <= HANDSHAKE_MAX_DATAGRAMS * 1_000


@pytest.mark.parametrize("version", [b"\x03\x03", b"\xfe\xff", b"\xfe\xfc", b"\x00\x00", b"\xff\xff"])
def test_no_version_gets_past_the_cookie(version: bytes, manufacturer: Manufacturer) -> None:
    """tinydtls #74: an odd version in the ClientHello skipped the cookie."""
    hello = bytearray(hello_of(manufacturer))
    for place in (slice(1, 3), slice(25, 27)):
        changed = bytearray(hello)
        changed[place] = version
        assert not isinstance(gate().receive(bytes(changed), ADDRESS, 0.0), Proven)


@pytest.mark.parametrize("length", [0, 1, 3, 0xFFFF])
def test_odd_lengths_of_the_suites_neither_loop_nor_pass(length: int, manufacturer: Manufacturer) -> None:
    """tinydtls #97: a list of suites of odd length was read for ever."""
    hello = bytearray(hello_of(manufacturer))
    at = 25 + 2 + 32
    at += 1 + hello[at]  # session ID
    at += 1 + hello[at]  # cookie
    hello[at : at + 2] = length.to_bytes(2, "big")
    assert not isinstance(gate().receive(bytes(hello), ADDRESS, 0.0), Proven)


def test_messages_out_of_order_do_not_wedge_a_handshake(manufacturer: Manufacturer) -> None:
    """tinydtls #244: a message before its turn left the peer unreachable. OpenSSL keeps it for its turn."""
    held: list[bytes] = []

    def rotate(direction: str, number: int, datagram: bytes) -> Iterator[bytes]:
        if direction == "to client" or number < 2:
            yield datagram
            return
        parts = split_records(datagram)
        yield from parts[1:3]
        held.extend(parts[:1])
        yield from held
        yield from parts[3:]

    context = client_for(manufacturer.device("dev-1"))
    pair = Pair(context, device_verifier(manufacturer), network=rotate).run()
    assert pair.completed


def test_a_handshake_without_a_certificate_verify_is_none_however_often(manufacturer: Manufacturer) -> None:
    """JSSE let such a client in; in Californium (CVE-2020-27222) a failure stuck to the address."""

    def omit(direction: str, _number: int, datagram: bytes) -> Iterator[bytes]:
        for part in split_records(datagram):
            if direction == "to client" or name_of(part) != "certificate verify":
                yield part

    device = client_for(manufacturer.device("dev-1"))
    gate_of_all = gate()
    for _ in range(20):
        pair = Pair(device, device_verifier(manufacturer), network=omit)
        pair.gate = gate_of_all
        assert not pair.run().accepted.established
    honest = Pair(device, device_verifier(manufacturer))
    honest.gate = gate_of_all
    assert honest.run().completed
