"""The tail of the event log: one reader per process, and what it reads handed to every stream that waits.

Events are written by other processes, so the reader looks at the store's revision again and again; that costs
microseconds, whatever the number of streams. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ftc_core.application.changes import Change, Interest, read_changes
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import WATCH_BUFFER_MAX, WATCH_SCAN, WATCH_STREAMS_MAX
from ftc_core.storage.port import Store

__all__ = ["EventTail", "Subscription"]


class Subscription:
    """What one stream has yet to send: the changes above the revision `after`, at most `room`."""

    def __init__(self, after: int, room: int) -> None:
        self._after = after
        self._room = room
        self._waiting: deque[Change] = deque()
        self._ended_by: FtcError | None = None
        self._reader: asyncio.Future[None] | None = None

    def push(self, change: Change) -> None:
        """Add a change; one too many ends the subscription, and what waited is let go."""
        if self._ended_by is not None or change.event.revision <= self._after:
            return
        if len(self._waiting) >= self._room:
            self.end(FtcError(Reason.CONSUMER_TOO_SLOW))
            return
        self._waiting.append(change)
        self._wake()

    def end(self, reason: FtcError) -> None:
        """No more changes: `take` raises `reason` from now on."""
        self._ended_by = self._ended_by or reason
        self._waiting.clear()
        self._wake()

    async def take(self, limit: int, timeout_s: float) -> list[Change]:
        """Up to `limit` changes, as soon as there are any; none after `timeout_s` seconds.

        One more, if it has the revision of the last: who resumes after that would never see it.
        Raises FtcError CONSUMER_TOO_SLOW, REVISION_COMPACTED or SHUTTING_DOWN. For one task at a time.
        """
        if not self._waiting and self._ended_by is None:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._reader
            except TimeoutError:
                pass  # a change may have come in the very turn in which the time was over
            finally:
                self._reader = None
        if self._ended_by is not None:
            raise self._ended_by
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        while taken and waiting and waiting[0].event.revision == taken[-1].event.revision:
            taken.append(waiting.popleft())
        return taken

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class EventTail:
    """Follows the log from the store's present revision on; `poll` is to be called again and again.

    `room` is how many changes may wait for one stream, `scan` how many events are read in one go.
    """

    def __init__(self, store: Store, *, room: int = WATCH_BUFFER_MAX, scan: int = WATCH_SCAN) -> None:
        self._store = store
        self._room = room
        self._scan = scan
        self._subscriptions: dict[Interest, set[Subscription]] = {}
        self._streams = 0
        self._closed = False
        with store.view() as view:
            self._position = view.revision()

    @property
    def position(self) -> int:
        """The revision up to which every event has been handed to its subscriptions."""
        return self._position

    @property
    def streams(self) -> int:
        """How many subscriptions there are."""
        return self._streams

    async def poll(self) -> None:
        """Hand on what is new. Raises FtcError as the store does; the next call goes on from there."""
        more = True
        while more:
            more = self._advance()
            await asyncio.sleep(0)  # streams and other calls get their turn

    @contextmanager
    def subscribe(self, interest: Interest, *, after: int) -> Iterator[Subscription]:
        """The changes above `after`, which is at least `position`.

        Raises FtcError SHUTTING_DOWN, or OVERLOADED if there are too many streams.
        """
        self.check_open()
        if self._streams >= WATCH_STREAMS_MAX:
            raise FtcError(Reason.OVERLOADED, f"{WATCH_STREAMS_MAX} streams are open")
        subscription = Subscription(after, self._room)
        self._subscriptions.setdefault(interest, set()).add(subscription)
        self._streams += 1
        try:
            yield subscription
        finally:
            self._streams -= 1
            subscriptions = self._subscriptions[interest]
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._subscriptions[interest]

    def check_open(self) -> None:
        """Raises FtcError SHUTTING_DOWN once closed."""
        if self._closed:
            raise FtcError(Reason.SHUTTING_DOWN)

    def close(self) -> None:
        """End every subscription with SHUTTING_DOWN and take no more."""
        self._closed = True
        self._end_all(FtcError(Reason.SHUTTING_DOWN))

    def _advance(self) -> bool:
        """One scan → whether there is more."""
        with self._store.view() as view:
            newest = view.revision()
            if newest == self._position:
                return False
            if not self._subscriptions:  # nobody listens
                self._position = newest
                return False
            try:
                found = read_changes(view, self._subscriptions, after=self._position, limit=self._scan)
            except FtcError as error:
                if error.reason is not Reason.REVISION_COMPACTED:
                    raise
                self._end_all(error)  # compacted before it was read: the streams would miss it
                self._position = newest
                return False
        for change in found.changes:
            for interest in (change.feed, change.feed.topic):
                for subscription in self._subscriptions.get(interest, ()):
                    subscription.push(change)
        self._position = found.through
        return found.through < newest

    def _end_all(self, reason: FtcError) -> None:
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.end(reason)
