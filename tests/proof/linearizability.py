"""Whether a history of concurrent calls on one object could have happened one after the other.

Linearizability is Herlihy and Wing's (ACM TOPLAS 12(3), 1990): each call takes effect at one moment between
its invocation and its return. The search is Wing and Gong's (JPDC 17, 1993) with Lowe's memory of what was
tried ("Testing for linearizability", 2017). It is local: a history of many objects is linearizable if that of
each object is, so each is judged alone, and stays small.

A call whose caller never learned the outcome may have taken effect at any moment after its invocation, or
never.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, Protocol, Self, TypeVar

import msgspec

__all__ = ["STATES_MAX", "Call", "SearchExhaustedError", "is_linearizable", "shortest_impossible"]

STATES_MAX = 500_000
"""Pairs of calls done and state that one search may look at; a history that needs more is not judged."""


class Call(Protocol):
    """One call, from tick to tick of one counter; `returned` is None if the outcome is unknown."""

    @property
    def invoked(self) -> int: ...

    @property
    def returned(self) -> int | None: ...

    def without_answer(self) -> Self:
        """The same call, its outcome unknown."""
        ...


State = TypeVar("State", bound=Hashable)
CallT = TypeVar("CallT", bound=Call)
Follow = Callable[[State, CallT], Iterable[State]]
"""The states that may follow when a call takes effect in one; none if its answer is impossible there."""


class SearchExhaustedError(Exception):
    """The search looked at STATES_MAX states and found no order, nor that there is none."""


class _Node(msgspec.Struct, Generic[State], frozen=True):
    """Which calls have taken effect, as bits, and what the object is like then."""

    done: int
    state: State


def is_linearizable(initial: State, calls: Iterable[CallT], follow: Follow[State, CallT]) -> bool:
    """Whether there is an order of `calls` that `follow` allows from `initial`, true to real time.

    Raises SearchExhaustedError.
    """
    ordered = sorted(calls, key=lambda call: call.invoked)
    known = sum(1 << place for place, call in enumerate(ordered) if call.returned is not None)
    nodes = [_Node(0, initial)]
    seen = {(0, initial)}
    while nodes:
        node = nodes.pop()
        if node.done & known == known:
            return True
        for following in _steps(node, ordered, follow):
            if (following.done, following.state) not in seen:
                seen.add((following.done, following.state))
                nodes.append(following)
        if len(seen) > STATES_MAX:
            raise SearchExhaustedError(f"{len(ordered)} calls")
    return False


def _steps(node: _Node[State], ordered: Sequence[CallT], follow: Follow[State, CallT]) -> list[_Node[State]]:
    """One more call takes effect: any that was invoked before all that wait had returned."""
    steps = []
    for place in _minimal(node.done, ordered):
        done = node.done | 1 << place
        steps += [_Node(done, state) for state in follow(node.state, ordered[place])]
    return steps


def _minimal(done: int, ordered: Sequence[CallT]) -> list[int]:
    minimal: list[int] = []
    first_return: int | None = None
    for place, call in enumerate(ordered):
        if done >> place & 1:
            continue
        if first_return is not None and call.invoked > first_return:
            break
        minimal.append(place)
        if call.returned is not None:
            first_return = call.returned if first_return is None else min(first_return, call.returned)
    return minimal


def shortest_impossible(
    initial: State, calls: Iterable[CallT], follow: Follow[State, CallT]
) -> list[CallT] | None:
    """The shortest beginning of a history that is not linearizable, in order of invocation; None if it is.

    Whatever begins an impossible history is impossible, or was possible until one more answer came: the last
    to return in what this gives is the one that cannot be. Raises SearchExhaustedError.
    """
    ordered = sorted(calls, key=lambda call: call.invoked)
    returns = sorted(call.returned for call in ordered if call.returned is not None)
    if is_linearizable(initial, ordered, follow):
        return None
    possible, impossible = -1, len(returns) - 1  # places in `returns`
    while impossible - possible > 1:
        middle = (possible + impossible) // 2
        if is_linearizable(initial, _until(ordered, returns[middle]), follow):
            possible = middle
        else:
            impossible = middle
    return _until(ordered, returns[impossible])


def _until(ordered: Sequence[CallT], tick: int) -> list[CallT]:
    """What had been seen of the history by `tick`."""
    return [
        call if call.returned is not None and call.returned <= tick else call.without_answer()
        for call in ordered
        if call.invoked < tick
    ]
