"""Timers of peers against a dictionary: what is due and when, in order; and what is void does not pile up."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ftc_core.endpoint.peer_timers import PeerTimers

PEERS = 20
KEYS = st.integers(1, PEERS)
TIMES = st.floats(1.0, 100.0)
DAY_S = 86_400.0


class Peers(RuleBasedStateMachine):
    """Some come, ask for deadlines, and go."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: PeerTimers[int] = PeerTimers()
        self.model: dict[int, float] = {}

    @rule(key=KEYS, at=TIMES)
    def ask(self, key: int, at: float) -> None:
        earlier = key not in self.model or at < self.model[key]
        assert self.timers.ask(key, at) == earlier
        if earlier:
            self.model[key] = at

    @rule(key=KEYS, times=st.integers(1, 200))
    def wait_for_a_day_and_be_asked_for_an_answer_within_it(self, key: int, times: int) -> None:
        """What a registered device does with each of its Updates, whose answer comes after a commit."""
        if key not in self.model:
            for update in range(times):
                self.timers.ask(key, DAY_S + update)
                self.timers.ask(key, 0.0)
                assert self.timers.pop_due(0.0) == key
            self.ask(key, DAY_S)

    @rule(key=KEYS)
    def forget(self, key: int) -> None:
        self.timers.forget(key)
        self.model.pop(key, None)

    @rule(now=TIMES)
    def pop_all_that_are_due(self, now: float) -> None:
        popped = []
        while (key := self.timers.pop_due(now)) is not None:
            popped.append(self.model.pop(key))
        assert popped == sorted(popped)
        assert all(at <= now for at in popped)
        assert all(at > now for at in self.model.values())

    @precondition(lambda self: self.model)
    @invariant()
    def earliest_is_no_later_than_any(self) -> None:
        assert self.timers.earliest is not None
        assert self.timers.earliest <= min(self.model.values())

    @invariant()
    def void_entries_are_bounded(self) -> None:
        assert len(self.timers) <= 2 * PEERS + 64


TestPeers = Peers.TestCase
