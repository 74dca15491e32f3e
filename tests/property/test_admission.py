"""Whatever comes to the server's door: bounds hold, nobody is lost in the queues, everybody has a turn."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftc_core.endpoint.admission import Admission, Place
from ftc_core.endpoint.fair_share import GREED, FairShare

NETWORKS = st.sampled_from([f"network-{number}" for number in range(6)])
ISSUERS = st.sampled_from([bytes((number,)) * 32 for number in range(3)])
MAX_ASSOCIATIONS, MAX_APPROACHING, PATIENCE_S = 12, 8, 4.0


class Storm(RuleBasedStateMachine):
    """Peers come, wait, shake hands, succeed, fail, leave and come again, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.shed: Counter[str] = Counter()
        self.door: Admission[int] = Admission(
            self.shed,
            max_associations=MAX_ASSOCIATIONS,
            max_approaching=MAX_APPROACHING,
            patience_s=PATIENCE_S,
            max_networks=3,
        )
        self.now = 0.0
        self.numbers = count(1)
        self.waiting: dict[int, float] = {}
        self.peers: dict[int, tuple[str, Place]] = {}
        self.proven = self.let_in = self.knocks_shed = 0

    @rule(seconds=st.floats(0.0, PATIENCE_S))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(network=NETWORKS)
    def comes(self, network: str) -> None:
        key = next(self.numbers)
        self.proven += 1
        if self.door.enqueue(key, network, b"hello", self.now, self.now):
            self.waiting[key] = self.now

    @rule(data=st.data())
    def sends_again(self, data: st.DataObject) -> None:
        if self.waiting:
            key = data.draw(st.sampled_from(sorted(self.waiting)))
            before = self.door.waiting
            if self.now - self.waiting[key] <= PATIENCE_S:
                assert self.door.enqueue(key, "elsewhere", b"again", self.now, self.now)
                assert self.door.waiting == before, "it has one place"
                self.waiting[key] = self.now

    @rule(network=NETWORKS, late_s=st.floats(0.0, 2.0))
    def knocks(self, network: str, late_s: float) -> None:
        places = self.door.approaching
        shed = self.shed.total()
        asked = self.door.may_challenge(network, self.now - late_s, self.now)
        self.knocks_shed += self.shed.total() - shed
        assert asked is (self.shed.total() == shed), "whoever is not asked is counted"
        assert self.door.approaching == places, "nothing is kept of who has proven nothing"

    @rule()
    def next_is_let_in(self) -> None:
        hello = self.door.next_hello(self.now)
        self.waiting = {k: heard for k, heard in self.waiting.items() if self.now - heard <= PATIENCE_S}
        if hello is None:
            assert not self.waiting, "somebody waits, but it is nobody's turn"
            return
        del self.waiting[hello.key]
        if (place := self.door.admit(hello)) is not None:
            self.let_in += 1
            self.peers[hello.key] = (hello.network, place)

    @rule(data=st.data(), issuer=ISSUERS, ending=st.sampled_from(["completed", "refused", "lost", "gone"]))
    def ends(self, data: st.DataObject, issuer: bytes, ending: str) -> None:
        if not self.peers:
            return
        key = data.draw(st.sampled_from(sorted(self.peers)))
        _, place = self.peers[key]
        match ending:
            case "completed":
                self.door.handshake_completed(place, issuer)
            case "refused" | "lost":
                self.door.handshake_failed(place, refused=ending == "refused")
            case _:
                self.door.leave(place)
                del self.peers[key]

    @invariant()
    def bounds_hold_and_places_are_those_of_who_is_there(self) -> None:
        shaking_hands = sum(place.shaking_hands for _, place in self.peers.values())
        assert len(self.peers) <= MAX_ASSOCIATIONS
        assert self.door.approaching == self.door.waiting + shaking_hands <= MAX_APPROACHING
        shed = self.shed.total() - self.knocks_shed
        assert self.proven == self.door.waiting + self.let_in + shed, "let in, waiting, or counted as shed"


TestStorm = Storm.TestCase


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from("xyz")), max_size=200))
def test_places_are_never_more_than_there_are_and_all_come_back(
    steps: list[tuple[bool, str, str]],
) -> None:
    share, held = FairShare(20), Counter[tuple[str, str]]()
    for take, wide, narrow in steps:
        if take and share.has_room(wide, wide + narrow):
            share.take(wide, wide + narrow)
            held[wide, narrow] += 1
        elif not take and held[wide, narrow]:
            share.give_back(wide, wide + narrow)
            held[wide, narrow] -= 1
        assert len(share) == held.total() <= 20
    for (wide, narrow), number in held.items():
        for _ in range(number):
            share.give_back(wide, wide + narrow)
    assert len(share) == 0
    assert share.has_room("anybody")


@given(limit=st.integers(1, 500), holders=st.integers(1, 20))
def test_greedy_holders_end_with_equal_shares_and_leave_room_for_who_comes_next(
    limit: int, holders: int
) -> None:
    share = FairShare(limit)
    greedy = [f"greedy-{number}" for number in range(holders)]
    while True in [_take(share, holder) for holder in greedy]:
        pass

    shares = [share.held(holder) for holder in greedy]
    assert max(shares) - min(shares) <= 1
    assert GREED * (limit - len(share) + 1) >= min(shares)
    assert share.has_room("newcomer") is (len(share) < limit)


@given(
    noisy=st.integers(1, 60),
    networks=st.integers(1, 60),
    modest=st.integers(1, 60),
    service=st.integers(1, 30),
)
def test_a_modest_fleet_waits_no_longer_than_its_own_length_however_noisy_another_is(
    noisy: int, networks: int, modest: int, service: int
) -> None:
    """Known fleets: of each two that are let in, one is modest until none of these waits."""
    door: Admission[int] = Admission(Counter(), max_approaching=100_000)
    numbers = count(1)
    fleets = [("modest", b"m" * 32)] + [(f"noisy-{number}", b"n" * 32) for number in range(networks)]
    for network, issuer in fleets:
        door.enqueue(next(numbers), network, b"", 0.0, 0.0)
        hello = door.next_hello(0.0)
        assert hello is not None
        place = door.admit(hello)
        assert place is not None
        door.handshake_completed(place, issuer)
    for number in range(noisy * 10):
        door.enqueue(next(numbers), f"noisy-{number % networks}", b"", 0.0, 0.0)
    for _ in range(modest):
        door.enqueue(next(numbers), "modest", b"", 0.0, 0.0)

    let_in = [hello.network for hello in iter(lambda: door.next_hello(0.0), None)][: 2 * service]

    assert len(let_in) == min(2 * service, noisy * 10 + modest)
    assert let_in.count("modest") >= min(modest, len(let_in) // 2)


def _take(share: FairShare, holder: str) -> bool:
    if share.has_room(holder):
        share.take(holder)
        return True
    return False
