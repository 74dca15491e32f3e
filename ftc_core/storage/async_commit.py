"""Group commit for the code of an event loop: the outcomes of one commit wake the loop once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ftc_core.errors import FtcError
from ftc_core.storage.group_commit import Callback, GroupCommit, Settled, deliver_here
from ftc_core.storage.port import Outcome, Submission

__all__ = ["AsyncCommit"]


class AsyncCommit:
    """A group commit as seen from one event loop. Every call is for the thread of `loop`."""

    def __init__(self, commit: GroupCommit, loop: asyncio.AbstractEventLoop) -> None:
        self._commit = commit
        self._loop = loop

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
        self._loop.call_soon_threadsafe(deliver_here, settled)
