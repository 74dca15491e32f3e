"""The judge itself: histories that could have been, and each way of one that could not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.linearizability import is_linearizable, shortest_impossible

Rules = Callable[[str, "Call"], Iterator[str]]


class Call(msgspec.Struct, frozen=True):
    """On a register that keeps what was first written to it: `wrote` None reads; `told` is its value then."""

    invoked: int
    returned: int | None
    wrote: str | None = None
    told: str = ""

    def without_answer(self) -> Call:
        return msgspec.structs.replace(self, returned=None, told="")


def follow(value: str, call: Call) -> Iterator[str]:
    after = value or call.wrote or ""
    if call.returned is None or call.told == after:
        yield after


def follow_last(value: str, call: Call) -> Iterator[str]:
    """Of a register that keeps what was last written to it."""
    after = call.wrote or value
    if call.returned is None or call.told == after:
        yield after


def judged(*calls: Call) -> bool:
    return is_linearizable("", calls, follow)


def test_one_call_after_the_other_is_what_the_object_says() -> None:
    assert judged(Call(1, 2, "a", "a"), Call(3, 4, "b", "a"), Call(5, 6, None, "a"))
    assert not judged(Call(1, 2, "a", "a"), Call(3, 4, "b", "b"))


def test_concurrent_calls_may_take_effect_in_either_order() -> None:
    assert judged(Call(1, 4, "a", "b"), Call(2, 3, "b", "b"))
    assert judged(Call(1, 4, "a", "a"), Call(2, 3, "b", "a"))


def test_a_write_that_changes_nothing_at_one_place_may_belong_to_another() -> None:
    calls = [Call(1, 2, "a", "a"), Call(3, 6, "a", "a"), Call(4, 5, "b", "b"), Call(7, 8, None, "a")]
    assert is_linearizable("", calls, follow_last)


def test_two_winners_are_rejected() -> None:
    assert not judged(Call(1, 4, "a", "a"), Call(2, 3, "b", "b"))


def test_a_read_from_before_an_acknowledged_write_is_rejected() -> None:
    assert not judged(Call(1, 2, "a", "a"), Call(3, 4, None, ""))
    assert judged(Call(1, 4, "a", "a"), Call(2, 3, None, ""))


def test_once_one_has_seen_it_nobody_sees_what_was_before() -> None:
    write = Call(1, 9, "a", "a")
    assert judged(write, Call(2, 3, None, ""), Call(4, 5, None, "a"))
    assert not judged(write, Call(2, 3, None, "a"), Call(4, 5, None, ""))


def test_an_unknown_outcome_may_have_happened_at_once_later_or_never() -> None:
    unknown = Call(1, None, "a")
    assert judged(unknown, Call(2, 3, None, "a"))
    assert judged(unknown, Call(2, 3, None, ""), Call(4, 5, None, "a"))
    assert judged(unknown, Call(2, 3, "b", "b"))
    assert not judged(unknown, Call(2, 3, None, "a"), Call(4, 5, None, ""))
    assert not judged(Call(2, 3, None, "a"), Call(4, None, "a")), "not before it was asked for"


def test_the_shortest_impossible_beginning_ends_with_the_answer_that_cannot_be() -> None:
    wrong = Call(5, 6, None, "b")
    calls = [
        Call(1, 2, "a", "a"),
        Call(3, 9, "b", "a"),
        wrong,
        Call(7, 8, None, "a"),
        Call(10, 11, None, "a"),
    ]
    found = shortest_impossible("", calls, follow)
    assert found == [calls[0], calls[1].without_answer(), wrong]
    assert shortest_impossible("", [call for call in calls if call is not wrong], follow) is None


def by_trying_all(calls: Sequence[Call], rules: Rules) -> bool:
    """The definition itself: some order, true to real time, of the known and some of the unknown calls."""
    known = [call for call in calls if call.returned is not None]
    unknown = [call for call in calls if call.returned is None]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *chosen]):
                if _true_to_time(order) and _answers_fit(order, rules):
                    return True
    return False


def _true_to_time(order: Sequence[Call]) -> bool:
    return not any(
        later.returned is not None and later.returned < earlier.invoked
        for earlier, later in itertools.combinations(order, 2)
    )


def _answers_fit(order: Sequence[Call], rules: Rules) -> bool:
    value = ""
    for call in order:
        states = list(rules(value, call))
        if not states:
            return False
        [value] = states
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    count = draw(st.integers(1, 5))
    ticks = draw(st.permutations(range(2 * count)))
    calls = []
    for place in range(count):
        invoked, returned = sorted(ticks[2 * place : 2 * place + 2])
        wrote = draw(st.sampled_from([None, "a", "b"]))
        told = draw(st.sampled_from(["", "a", "b"] if wrote is None else ["a", "b"]))
        known = draw(st.integers(0, 4)) > 0
        calls.append(Call(invoked, returned if known else None, wrote, told if known else ""))
    return calls


@given(histories(), st.sampled_from([follow, follow_last]))
def test_the_search_says_what_trying_every_order_says(calls: list[Call], rules: Rules) -> None:
    assert is_linearizable("", calls, rules) is by_trying_all(calls, rules)


@pytest.mark.parametrize("seed", range(20))
def test_what_a_real_register_answered_is_never_rejected(seed: int) -> None:
    """Calls that take effect at a moment of their own, as many at once as there are."""
    random, value, calls = Random(seed), "", []
    moments = []
    for _ in range(60):
        begin = random.uniform(0, 100)
        moments.append((begin + random.uniform(0, 6), begin, random.choice([None, "a", "b", "c"])))
    ticks = {}
    for effect, begin, _ in moments:
        ticks[begin] = ticks[effect + 1e-3] = 0
    order = {moment: tick for tick, moment in enumerate(sorted(ticks))}
    for effect, begin, wrote in sorted(moments):
        value = value or wrote or ""
        unknown = random.random() < 0.1
        returned = None if unknown else order[effect + 1e-3]
        calls.append(Call(order[begin], returned, wrote, "" if unknown else value))
    assert judged(*calls)
