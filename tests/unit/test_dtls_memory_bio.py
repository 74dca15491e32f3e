"""The short way to OpenSSL's memory BIOs: the same bytes and the same failures as pyOpenSSL's own methods."""

from __future__ import annotations

import threading

import pytest
from OpenSSL import SSL

from ftc_core.dtls.context import new_connection
from ftc_core.dtls.memory_bio import read_flight, read_plaintext, write_datagram, write_plaintext
from ftc_core.dtls.record import split_records
from ftc_core.limits import DTLS_MTU_BYTES
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, client_for, device_verifier


def pair() -> tuple[SSL.Connection, SSL.Connection]:
    """The connections of a client and a server whose handshake is complete."""
    manufacturer = Manufacturer("BIO CA")
    joined = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer)).run()
    assert joined.completed
    return joined.client._connection, joined.accepted._connection


def test_what_one_side_writes_the_other_reads() -> None:
    client, server = pair()
    write_plaintext(client, b"question")
    write_datagram(server, read_flight(client))
    assert read_plaintext(server) == b"question"


def test_both_ways_may_be_mixed_on_one_connection() -> None:
    client, server = pair()
    client.send(b"first")
    write_plaintext(client, b"second")
    for record in split_records(client.bio_read(16_384)):
        server.bio_write(record)
    assert (read_plaintext(server), server.recv(100)) == (b"first", b"second")


def test_a_flight_larger_than_the_buffer_comes_whole() -> None:
    client, server = pair()
    sent = [bytes([number]) * 1_000 for number in range(40)]
    for plaintext in sent:
        write_plaintext(client, plaintext)
    received = []
    for record in split_records(read_flight(client)):
        write_datagram(server, record)
        received.append(read_plaintext(server))
    assert received == sent


def test_a_connection_that_has_written_nothing_gives_an_empty_flight() -> None:
    client, _ = pair()
    assert read_flight(client) == b""


def test_nothing_to_read_is_told_as_pyopenssl_tells_it() -> None:
    client, _ = pair()
    with pytest.raises(SSL.WantReadError):
        read_plaintext(client)


def test_a_close_notify_is_told_as_pyopenssl_tells_it() -> None:
    client, server = pair()
    server.shutdown()
    write_datagram(client, read_flight(server))
    with pytest.raises(SSL.ZeroReturnError):
        read_plaintext(client)


def test_a_record_that_cannot_be_written_is_an_error() -> None:
    client, _ = pair()
    client.shutdown()
    with pytest.raises(SSL.Error):
        write_plaintext(client, b"after the end")


def test_a_connection_without_a_handshake_has_nothing_to_read() -> None:
    client, _ = pair()
    fresh = new_connection(client.get_context(), client.get_app_data(), DTLS_MTU_BYTES)
    fresh.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        read_plaintext(fresh)
    assert read_flight(fresh)[0] == 22  # its ClientHello


def test_threads_do_not_read_what_is_anothers() -> None:
    wrong: list[bytes] = []

    def talk(letter: bytes) -> None:
        client, server = pair()
        for _ in range(300):
            write_plaintext(client, letter * 900)
            write_datagram(server, read_flight(client))
            if (got := read_plaintext(server)) != letter * 900:
                wrong.append(got)

    threads = [threading.Thread(target=talk, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
