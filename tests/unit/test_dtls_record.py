"""The record layer as far as we read it ourselves: RFC 6347 §4.1 and §4.2.2."""

from __future__ import annotations

import pytest

from ftc_core.dtls.alert import Alert, alert_name, with_description
from ftc_core.dtls.record import (
    BadRecord,
    client_hello_message,
    cut_flight,
    is_client_hello,
    is_one_record,
    pack_datagrams,
    split_records,
)
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, client_for, device_verifier

EMPTY = bytes.fromhex("17fefd00010000000000000000")


def record(
    body: bytes, *, kind: int = 23, version: bytes = b"\xfe\xfd", epoch: int = 0, number: int = 0
) -> bytes:
    return (
        bytes((kind,)) + version + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
        + len(body).to_bytes(2, "big") + body
    )  # fmt: skip


def client_hello(body: bytes = b"\x00" * 40, **header: int | bytes) -> bytes:
    size = len(body).to_bytes(3, "big")
    return record(b"\x01" + size + b"\x00\x00" + b"\x00\x00\x00" + size + body, kind=22, **header)  # type: ignore[arg-type]


def test_a_blob_is_cut_at_the_record_headers() -> None:
    parts = [record(b"one"), record(b""), record(b"three" * 100)]
    assert split_records(b"".join(parts)) == parts
    assert split_records(b"") == []


@pytest.mark.parametrize("cut", [1, 12, 13, 15])
def test_a_blob_that_ends_within_a_record_is_refused(cut: int) -> None:
    with pytest.raises(BadRecord):
        split_records(record(b"one") + record(b"two")[:cut])


def test_only_a_whole_record_alone_is_one_record() -> None:
    assert is_one_record(record(b"one"))
    assert is_one_record(EMPTY)
    for other in (
        b"",
        record(b"one")[:-1],
        record(b"one") + b"x",
        record(b"one") + record(b"two"),
        EMPTY[:12],
    ):
        assert not is_one_record(other)


def test_a_flight_is_one_datagram_if_it_fits() -> None:
    one, two = record(b"x" * 87), record(b"y" * 87)
    assert cut_flight(b"", 200) == []
    assert cut_flight(one + two, 200) == [one + two]
    assert cut_flight(one + two, 199) == [one, two]


def test_records_are_packed_in_order_up_to_the_mtu_and_never_split() -> None:
    small, large = record(b"x" * 87), record(b"y" * 487)  # 100 and 500 bytes
    assert pack_datagrams([small, small, small], 200) == [small + small, small]
    assert pack_datagrams([small, large, small], 200) == [small, large, small]
    assert pack_datagrams([], 200) == []


def test_a_client_hello_is_recognised_whatever_its_dtls_version() -> None:
    assert is_client_hello(client_hello(version=b"\xfe\xff"))
    assert is_client_hello(client_hello(version=b"\xfe\xfd"))


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        client_hello()[:24],
        client_hello(epoch=1),
        client_hello(version=b"\x03\x03"),
        record(b"\x01" * 40, kind=23),
        record(b"\x02" * 40, kind=22),
        record(b"\x01" + bytes(5) + b"\x00\x00\x09" + bytes(31), kind=22),
    ],
    ids=["empty", "short", "epoch 1", "TLS", "application data", "ServerHello", "later fragment"],
)
def test_other_datagrams_are_not_client_hellos(datagram: bytes) -> None:
    assert not is_client_hello(datagram)
    with pytest.raises(BadRecord):
        client_hello_message(datagram)


def test_a_client_hello_that_is_cut_short_has_no_message() -> None:
    assert is_client_hello(client_hello()[:-1])
    with pytest.raises(BadRecord):
        client_hello_message(client_hello()[:-1])


def test_a_retransmitted_client_hello_has_the_same_message_under_another_record_number() -> None:
    assert client_hello_message(client_hello(number=1)) == client_hello_message(client_hello(number=7))
    assert client_hello_message(client_hello()) != client_hello_message(client_hello(b"\x01" * 40))


def test_what_follows_the_client_hello_in_its_datagram_is_not_part_of_its_message() -> None:
    assert client_hello_message(client_hello() + EMPTY) == client_hello_message(client_hello())


def test_openssls_own_client_hello_is_recognised(manufacturer: Manufacturer) -> None:
    pair = Pair(client_for(manufacturer.device("a")), device_verifier(manufacturer)).run()
    first, second = [datagram for direction, datagram in pair.sent if direction == "to server"][:2]
    assert is_client_hello(first)
    assert is_client_hello(second)
    assert client_hello_message(first) != client_hello_message(second)


def test_only_the_description_of_a_plaintext_fatal_alert_is_replaced() -> None:
    sent = record(b"\x02\x50", kind=21, number=6)
    assert with_description(sent, Alert.UNKNOWN_CA) == sent[:-1] + b"\x30"


@pytest.mark.parametrize(
    "other",
    [
        record(b"\x01\x00", kind=21),
        record(b"\x02\x50", kind=21, epoch=1),
        record(b"\x02\x50", kind=22),
        EMPTY,
    ],
    ids=["warning", "encrypted", "handshake", "data"],
)
def test_other_records_are_left_alone(other: bytes) -> None:
    assert with_description(other, Alert.UNKNOWN_CA) == other


def test_alerts_are_named_as_in_the_rfc() -> None:
    assert alert_name(48) == "unknown_ca"
    assert alert_name(255) == "alert 255"
