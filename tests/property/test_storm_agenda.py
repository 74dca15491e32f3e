"""Whatever falls due: what is soonest done comes first, everything comes, nothing waits for ever."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftc_storm.agenda import EVERY, Agenda, Rank

RANKS = st.sampled_from(Rank)
SECONDS = st.floats(0.0, 10.0)


class Simulator(RuleBasedStateMachine):
    """Work comes and is done, in any order, against a plain list of what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda: Agenda[int] = Agenda()
        self.now = 0.0
        self.numbers = count()
        self.work: dict[int, tuple[Rank, float]] = {}
        self.turns = 0

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(rank=RANKS, seconds=st.floats(-10.0, 10.0))
    def work_comes(self, rank: Rank, seconds: float) -> None:
        number, due = next(self.numbers), self.now + seconds
        self.work[number] = rank, due
        self.agenda.add(due, rank, number)

    @rule(turns=st.integers(1, 2 * EVERY))
    def some_is_done(self, turns: int) -> None:
        for _ in range(turns):
            due = {number: entry for number, entry in self.work.items() if entry[1] <= self.now}
            number = self.agenda.pop(self.now)
            if number is None:
                assert not due
                return
            self.turns += 1
            by_rank = min(due, key=lambda other: (*due[other], other))
            by_time = min(due, key=lambda other: (due[other][1], other))
            assert number == (by_rank if self.turns % EVERY else by_time)
            del self.work[number]

    @invariant()
    def all_of_it_is_there(self) -> None:
        assert len(self.agenda) == len(self.work)
        assert self.agenda.next_due == min((due for _, due in self.work.values()), default=None)


TestSimulator = Simulator.TestCase


@given(
    before=st.lists(RANKS, max_size=5),
    rank=RANKS,
    crowd=st.lists(RANKS, min_size=1, max_size=4),
)
def test_nothing_waits_for_ever_however_much_comes_after_it(
    before: list[Rank], rank: Rank, crowd: list[Rank]
) -> None:
    """At each turn more comes than is done."""
    agenda: Agenda[str] = Agenda()
    for other in before:
        agenda.add(0.0, other, "before")
    agenda.add(1.0, rank, "this")
    for turn in range((len(before) + 1) * EVERY):
        for other in crowd:
            agenda.add(2.0 + turn, other, "after")
        if agenda.pop(2.0 + turn) == "this":
            return
    raise AssertionError("it still waits")
