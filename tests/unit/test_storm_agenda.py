"""What a simulator that is behind does first."""

from __future__ import annotations

from ftc_storm.agenda import EVERY, Agenda, Rank


def done(agenda: Agenda[str], now: float) -> list[str]:
    return list(iter(lambda: agenda.pop(now), None))


def test_nothing_is_done_before_it_is_due() -> None:
    agenda: Agenda[str] = Agenda()
    assert agenda.next_due is None
    agenda.add(2.0, Rank.POWERING_ON, "later")
    assert agenda.next_due == 2.0
    assert agenda.pop(1.999) is None
    assert agenda.pop(2.0) == "later"
    assert agenda.next_due is None


def test_of_what_is_due_the_soonest_done_comes_first_and_then_the_first_due() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.add(1.0, Rank.POWERING_ON, "power on")
    agenda.add(1.5, Rank.SHAKING_HANDS, "second flight")
    agenda.add(1.2, Rank.SHAKING_HANDS, "first flight")
    agenda.add(1.9, Rank.REGISTERING, "register")
    agenda.add(1.8, Rank.BOOTSTRAPPING, "write")
    agenda.add(9.0, Rank.NETWORK, "not due")
    assert done(agenda, 2.0) == ["register", "write", "first flight", "second flight", "power on"]
    assert len(agenda) == 1


def test_of_the_same_time_what_was_noted_first_is_done_first() -> None:
    agenda: Agenda[str] = Agenda()
    for work in "abc":
        agenda.add(1.0, Rank.KNOCKING, work)
    assert done(agenda, 1.0) == ["a", "b", "c"]


def test_a_device_is_powered_on_although_there_is_always_something_sooner_done() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.add(0.0, Rank.POWERING_ON, "power on")
    turns = []
    for turn in range(EVERY):
        agenda.add(1.0 + turn, Rank.REGISTERING, "register")
        turns.append(agenda.pop(1.0 + turn))
    assert turns == ["register"] * (EVERY - 1) + ["power on"]
