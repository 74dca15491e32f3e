"""Group commit for the code of an event loop: the outcomes of one commit wake the loop once.

A commit that took long brings many outcomes, and each may be the beginning of work: a credential, a message.
They are handed out in slices, between which the loop sees to everybody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic

from ftc_core.errors import FtcError
from ftc_core.limits import TURN_BUDGET_S
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.group_commit import Callback, GroupCommit, Settled, deliver_here

__all__ = ["AsyncCommit"]


class AsyncCommit:
    """A group commit as seen from one event loop. Every call is for the thread of `loop`."""

    def __init__(self, commit: GroupCommit, loop: asyncio.AbstractEventLoop) -> None:
        self._commit = commit
        self._loop = loop
        self._settled: deque[Settled] = deque()

    def submit(self, submission: Submission, callback: Callback) -> None:
        """Queue `submission`; `callback` gets the outcome, on the loop. Raises as `GroupCommit.submit`."""
        self._commit.submit(submission, callback, self._deliver)

    async def execute(self, submission: Submission) -> Outcome:
        """The outcome, once it is durable. Raises FtcError.

        A caller that is cancelled does not take its submission back: it may take effect.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def settle(answer: Outcome | FtcError) -> None:
            if future.done():  # cancelled
                return
            if isinstance(answer, FtcError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.submit(submission, settle)
        return await future

    def _deliver(self, settled: Sequence[Settled]) -> None:
        self._loop.call_soon_threadsafe(self._arrived, settled)

    def _arrived(self, settled: Sequence[Settled]) -> None:
        under_way = bool(self._settled)
        self._settled += settled
        if not under_way:
            self._hand_out()

    def _hand_out(self) -> None:
        until = monotonic() + TURN_BUDGET_S
        while self._settled:
            deliver_here((self._settled.popleft(),))
            if self._settled and monotonic() > until:
                self._loop.call_soon(self._hand_out)
                return
