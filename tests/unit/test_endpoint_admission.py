"""Whom the server lets in: turns of fleets and networks, bounds, patience, and what it learns of networks."""

from __future__ import annotations

from collections import Counter, deque

import pytest

from ftc_core.endpoint.admission import Admission, Place, Shed, network_of
from ftc_core.limits import HELLO_MAX_BYTES, HELLO_STALE_S

CA_ONE, CA_TWO = b"1" * 32, b"2" * 32
PATIENCE_S = 8.0


class Door:
    """An admission, its counts, and peers that are nothing but a number."""

    def __init__(
        self, *, max_associations: int = 1_000, max_approaching: int = 100, max_networks: int = 3
    ) -> None:
        self.shed: Counter[str] = Counter()
        self.admission: Admission[int] = Admission(
            self.shed,
            max_associations=max_associations,
            max_approaching=max_approaching,
            patience_s=PATIENCE_S,
            max_networks=max_networks,
        )
        self.now = 100.0
        self.hellos = 0

    def hello(self, network: str) -> bool:
        """One more peer of `network` waits."""
        self.hellos += 1
        return self.admission.enqueue(self.hellos, network, b"hello", self.now, self.now)

    def let_in(self) -> tuple[str, Place] | None:
        """The network of the next one, and its place; None if nobody may come in."""
        hello = self.admission.next_hello(self.now)
        if hello is None:
            return None
        place = self.admission.admit(hello)
        return None if place is None else (hello.network, place)

    def onboarded(self, network: str, issuing_ca: bytes) -> None:
        """A device of that CA comes from `network`, completes its handshake and goes."""
        assert self.hello(network)
        let_in = self.let_in()
        assert let_in is not None
        self.admission.handshake_completed(let_in[1], issuing_ca)
        self.admission.leave(let_in[1])

    def order(self) -> list[str]:
        """The networks of all that wait, in the order in which they are let in."""
        networks = []
        while (let_in := self.let_in()) is not None:
            networks.append(let_in[0])
        return networks

    def may_challenge(self, network: str) -> bool:
        return self.admission.may_challenge(network, self.now, self.now)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:0:12ff::1", "2001:db8:0:1200::2", True),
        ("2001:db8:0:1200::1", "2001:db8:0:1300::1", False),
        ("::ffff:192.0.2.1", "192.0.2.7", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_a_network_is_24_bits_of_ipv4_and_56_of_ipv6(one: str, other: str, *, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_within_a_network_the_first_to_come_is_the_first_to_be_let_in(door: Door) -> None:
    for _ in range(3):
        door.hello("a")

    assert [hello.key for hello in iter(lambda: door.admission.next_hello(door.now), None)] == [1, 2, 3]


def test_networks_of_one_fleet_take_turns(door: Door) -> None:
    for network in "aaaaab":
        door.hello(network)

    assert door.order()[:2] == ["a", "b"]


def test_a_fleet_in_many_networks_has_as_many_turns_as_a_fleet_in_one(door: Door) -> None:
    door.onboarded("one", CA_ONE)
    door.onboarded("wide-1", CA_TWO)
    door.onboarded("wide-2", CA_TWO)
    for network in ["wide-1", "wide-2"] * 5 + ["one"] * 5:
        door.hello(network)

    assert [network == "one" for network in door.order()[:10]] == [False, True] * 5


def test_the_last_handshake_of_a_network_says_whose_it_is(door: Door) -> None:
    door.onboarded("a", CA_ONE)
    door.onboarded("b", CA_ONE)
    door.onboarded("b", CA_TWO)
    for network in "aaabb":
        door.hello(network)

    assert door.order() == ["a", "b", "a", "b", "a"]


def test_handshakes_that_never_end_cannot_hold_all_places() -> None:
    """From 500 networks. Some were refused, some left theirs unfinished, some are new: three fleets that take
    whatever they may, the first before the second comes. When their time is up, they come again.
    """
    door = Door(max_approaching=500, max_networks=1_000)
    door.onboarded("honest", CA_ONE)
    for number in range(400):
        door.hello(f"bad-{number}")
        let_in = door.let_in()
        assert let_in is not None
        door.admission.handshake_failed(let_in[1], refused=number < 200)
        door.admission.leave(let_in[1])
    held: deque[Place] = deque()

    def take_what_they_may() -> None:
        for number in range(500):
            while door.hello(f"bad-{number}"):
                let_in = door.let_in()
                assert let_in is not None
                held.append(let_in[1])

    take_what_they_may()
    assert door.admission.approaching == len(held)
    assert 500 - len(held) >= 500 / 125, "docs/threat-model.md"
    for _ in range(1_000):  # one after the other, in a place that is left
        assert door.may_challenge("honest")
        door.onboarded("honest", CA_ONE)

    for _ in range(len(held)):  # their time is up
        place = held.popleft()
        door.admission.handshake_failed(place, refused=False)
        door.admission.leave(place)
        while door.hello("honest"):
            pass
        take_what_they_may()
    assert door.admission.waiting >= 500 / 5, "as many as of any of them"


@pytest.mark.parametrize("refused", [True, False])
def test_networks_that_are_refused_or_never_finish_are_no_newcomers(refused: bool, door: Door) -> None:
    for network in ("bad-1", "bad-2"):
        door.hello(network)
        let_in = door.let_in()
        assert let_in is not None
        door.admission.handshake_failed(let_in[1], refused=refused)
        door.admission.leave(let_in[1])
    for network in ["bad-1", "bad-2"] * 4 + ["new"] * 4:
        door.hello(network)

    assert [network == "new" for network in door.order()[:8]] == [False, True] * 4


def test_one_lost_device_does_not_change_whose_a_network_is(door: Door) -> None:
    door.onboarded("a", CA_ONE)
    door.hello("a")
    let_in = door.let_in()
    assert let_in is not None
    door.admission.handshake_failed(let_in[1], refused=False)
    for network in "aabb":
        door.hello(network)

    assert door.order() == ["a", "b", "a", "b"], "b alone is a newcomer"


def test_networks_beyond_the_bound_are_forgotten_oldest_first(door: Door) -> None:
    for network in ("first", "second", "third", "fourth"):
        door.onboarded(network, CA_ONE)
    for network in ["second", "third", "fourth"] * 2 + ["first"] * 3:
        door.hello(network)

    assert door.order()[:6:2] == ["second", "third", "fourth"], "the fleet's turns"


def test_who_sends_again_keeps_the_place_and_only_the_newest_is_served(door: Door) -> None:
    for key in (1, 2):
        door.admission.enqueue(key, "a", b"old", door.now, door.now)
    door.admission.follow(1, b"fragment of the old one")
    door.now += PATIENCE_S * 0.8
    door.admission.enqueue(1, "a", b"new", door.now, door.now)
    door.admission.follow(1, b"fragment of the new one")
    door.now += PATIENCE_S * 0.8

    hello = door.admission.next_hello(door.now)

    assert hello is not None
    assert (hello.key, hello.datagram, hello.followers) == (1, b"new", [b"fragment of the new one"])
    assert door.shed == {Shed.STALE: 1}, "the other one waited for too long"


def test_fragments_are_kept_for_those_who_wait_and_bounded(door: Door) -> None:
    door.admission.follow(9, b"of nobody")
    door.admission.enqueue(1, "a", b"hello", door.now, door.now)
    for number in range(100):
        door.admission.follow(1, bytes((number,)))

    hello = door.admission.next_hello(door.now)

    assert hello is not None
    assert hello.followers == [b"\0", b"\1", b"\2", b"\3"]


def test_what_is_kept_of_one_who_waits_is_bounded_in_bytes(door: Door) -> None:
    half = bytes(HELLO_MAX_BYTES // 2)
    door.admission.enqueue(1, "a", half, door.now, door.now)
    door.admission.follow(1, half + b"\0")
    door.admission.follow(1, half)
    door.admission.follow(1, b"\0")

    hello = door.admission.next_hello(door.now)

    assert hello is not None
    assert hello.followers == [half]


def test_device_that_falls_silent_is_forgotten_with_its_place(door: Door) -> None:
    door.hello("a")
    door.now += PATIENCE_S * 1.01

    assert door.let_in() is None
    assert door.shed == {Shed.STALE: 1}
    assert door.admission.approaching == 0


def test_unproven_hello_that_was_read_too_late_is_not_answered(door: Door) -> None:
    assert door.admission.may_challenge("a", door.now - HELLO_STALE_S, door.now)
    assert not door.admission.may_challenge("a", door.now - HELLO_STALE_S - 0.01, door.now)
    assert door.shed == {Shed.STALE: 1}


def test_one_network_cannot_take_the_last_places(door: Door) -> None:
    assert sum(door.hello("greedy") for _ in range(200)) == 77
    assert sum(door.hello("modest") for _ in range(3)) == 3
    assert door.shed == {Shed.SHARE: 123}
    assert door.admission.approaching == 80


def test_one_fleet_cannot_take_the_last_places_from_many_networks() -> None:
    door = Door()
    for network in ("wide-1", "wide-2", "wide-3"):
        door.onboarded(network, CA_ONE)

    assert sum(door.hello(f"wide-{number % 3 + 1}") for number in range(300)) == 79
    assert door.hello("new")


def test_a_place_on_the_way_is_free_again_after_the_handshake(door: Door) -> None:
    assert sum(door.hello("a") for _ in range(100)) == 77
    places = [let_in[1] for let_in in iter(door.let_in, None)]
    assert not door.hello("a"), "they are in their handshakes"

    door.admission.handshake_completed(places[0], CA_ONE)
    door.admission.handshake_failed(places[1], refused=False)
    door.admission.leave(places[2])

    assert door.admission.approaching == 74
    assert door.hello("a")


def test_full_server_asks_nobody_for_proof_but_who_is_in_already() -> None:
    door = Door(max_associations=1)
    door.hello("a")
    let_in = door.let_in()
    assert let_in is not None

    assert not door.may_challenge("b")
    assert door.admission.may_challenge("a", door.now, door.now, replacing=True)
    door.hello("b")
    assert door.let_in() is None
    assert door.shed == {Shed.ASSOCIATIONS: 2}

    door.hello("a")
    again = door.admission.next_hello(door.now)
    assert again is not None
    replacing = door.admission.admit(again, replaced=let_in[1])
    assert replacing is not None
    assert not door.may_challenge("b"), "one for one"
    door.admission.leave(replacing)
    door.admission.leave(replacing)
    assert door.may_challenge("b")


def test_nobody_is_asked_for_proof_behind_a_network_that_waits_for_long(door: Door) -> None:
    door.hello("a")
    door.now += PATIENCE_S * 0.6

    assert not door.may_challenge("a")
    assert door.may_challenge("b"), "it would have its turn soon"
    assert door.shed == {Shed.BUSY: 1}


def test_nobody_is_asked_for_proof_of_a_fleet_whose_networks_wait_for_long(door: Door) -> None:
    for network in "abc":
        door.onboarded(network, CA_ONE)
    door.hello("a")
    door.hello("b")
    door.now += PATIENCE_S * 0.6
    assert door.let_in() is not None

    assert not door.may_challenge("c"), "of the same fleet"
    assert door.may_challenge("d")

    door.order()
    assert door.may_challenge("c"), "nobody waits any more"


def test_one_busy_network_does_not_keep_its_fleet_from_being_asked_for_proof(door: Door) -> None:
    for _ in range(3):
        door.hello("greedy")
    door.now += PATIENCE_S * 0.3
    door.hello("greedy")
    assert door.let_in() is not None
    door.now += PATIENCE_S * 0.3
    assert door.let_in() is not None

    assert not door.may_challenge("greedy")
    assert door.may_challenge("modest")


def test_place_is_given_back_if_the_hello_turns_out_to_be_none(door: Door) -> None:
    door.hello("a")
    hello = door.admission.next_hello(door.now)
    assert hello is not None

    door.admission.turn_away(hello)

    assert (door.admission.approaching, door.admission.waiting) == (0, 0)
