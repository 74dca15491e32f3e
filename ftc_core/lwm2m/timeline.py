"""The steps of one conversation with a device, for its timeline."""

from __future__ import annotations

import msgspec

__all__ = ["Step", "Timeline"]


class Step(msgspec.Struct, frozen=True):
    """One request and its answer.

    Times are monotonic seconds; `ended_at` is None while it is under way. `code` is the answer's, dotted
    ("2.04"), or "" if none came.
    """

    name: str
    started_at: float
    ended_at: float | None = None
    code: str = ""


class Timeline:
    """Steps in the order in which they began; at most one is under way."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def begin(self, name: str, now: float) -> None:
        """A step begins."""
        self._steps.append(Step(name, now))

    def end(self, now: float, code: str = "") -> None:
        """The step under way ends, if there is one."""
        if self._steps and self._steps[-1].ended_at is None:
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], ended_at=now, code=code)

    def steps(self) -> tuple[Step, ...]:
        """All of them so far."""
        return tuple(self._steps)
