"""Calls that last, each ended when what its caller was recognised by no longer holds.

A call is authenticated as it begins, and a watch runs for weeks: without this, a revoked key would see all
that changes until its connection reached its greatest age.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ftc_core.application.authentication import Principal, check_standing
from ftc_core.application.context import ApplicationContext
from ftc_core.errors import FtcError

__all__ = ["RunningCalls"]


class _Call:
    """One call, which ends when `limit` is moved to now; `ended_by` says why."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self.ended_by: FtcError | None = None

    def end(self, reason: FtcError) -> None:
        self.ended_by = reason
        self._limit.reschedule(asyncio.get_running_loop().time())


class RunningCalls:
    """The calls of one process, by caller; `check` is to be called again and again. For one event loop."""

    def __init__(self, context: ApplicationContext) -> None:
        self._context = context
        self._calls: dict[Principal, set[_Call]] = {}

    @asynccontextmanager
    async def hold(self, caller: Principal) -> AsyncIterator[None]:
        """Run the body while the caller's credential holds; then it is cancelled where it waits.

        Raises FtcError as `check_standing` once that is so.
        """
        try:
            async with asyncio.timeout(None) as limit:
                call = _Call(limit)
                self._calls.setdefault(caller, set()).add(call)
                try:
                    yield
                finally:
                    self._forget(caller, call)
        except TimeoutError:
            if call.ended_by is None:  # the body's own
                raise
            raise call.ended_by from None

    async def check(self) -> None:
        """End the calls of each caller who may no longer call. Raises FtcError as the store does."""
        if not self._calls:
            return
        now = self._context.now()
        revoked: list[tuple[Principal, FtcError]] = []
        with self._context.store.view() as view:
            for caller in self._calls:
                try:
                    check_standing(view, caller, now)
                except FtcError as error:
                    revoked.append((caller, error))
        for caller, reason in revoked:
            for call in self._calls.pop(caller):
                call.end(reason)

    def _forget(self, caller: Principal, call: _Call) -> None:
        calls = self._calls.get(caller)
        if calls is None:  # ended
            return
        calls.discard(call)
        if not calls:
            del self._calls[caller]
