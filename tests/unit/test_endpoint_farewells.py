"""The last words to peers that have gone: to whom, how often, and how long they are said again."""

from __future__ import annotations

from ftc_core.coap.parameters import RFC7252
from ftc_core.endpoint.doorway import PeerKey
from ftc_core.endpoint.farewells import Farewells
from ftc_core.endpoint.udp import Origin

WORDS = [b"the acknowledgement", b"close_notify"]
DATA = b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x05hello"
HANDSHAKE = b"\x16" + DATA[1:]
PLAINTEXT = DATA[:3] + b"\x00\x00" + DATA[5:]


def key(port: int) -> PeerKey:
    return 0, Origin(("192.0.2.1", port), ())


def kept(max_kept: int = 10) -> Farewells:
    farewells = Farewells(max_kept)
    farewells.keep(key(1), WORDS, 100.0)
    return farewells


def test_they_are_said_again_to_who_speaks_on() -> None:
    assert kept().again(key(1), DATA, 102.0) == WORDS


def test_nobody_else_is_answered() -> None:
    assert kept().again(key(2), DATA, 102.0) == ()


def test_nothing_but_application_data_is_answered() -> None:
    for other in (HANDSHAKE, PLAINTEXT, DATA[:13], b"\x17", b"", b"\x17\x03\x03" + DATA[3:]):
        assert kept().again(key(1), other, 102.0) == (), other


def test_each_is_said_as_often_as_a_confirmable_message_is_repeated() -> None:
    farewells = kept()
    answers = [farewells.again(key(1), DATA, 102.0) for _ in range(6)]
    assert answers == [WORDS] * RFC7252.max_retransmit + [()] * 2
    assert len(farewells) == 0


def test_they_are_not_said_once_the_peer_must_have_given_up() -> None:
    farewells = kept()
    assert farewells.again(key(1), DATA, 100.0 + RFC7252.max_transmit_wait) == WORDS
    assert farewells.again(key(1), DATA, 100.1 + RFC7252.max_transmit_wait) == ()
    assert len(farewells) == 0


def test_a_later_end_at_the_same_address_takes_the_place_of_the_earlier() -> None:
    farewells = kept()
    farewells.keep(key(1), [b"other words"], 110.0)
    assert farewells.again(key(1), DATA, 111.0) == [b"other words"]
    assert len(farewells) == 1


def test_the_oldest_go_when_there_are_too_many() -> None:
    farewells = kept(max_kept=2)
    farewells.keep(key(2), WORDS, 101.0)
    farewells.keep(key(1), WORDS, 102.0)  # now the newer one
    farewells.keep(key(3), WORDS, 103.0)
    assert [farewells.again(key(port), DATA, 104.0) for port in (1, 2, 3)] == [WORDS, (), WORDS]
    assert len(farewells) == 2
