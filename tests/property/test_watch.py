"""Watching under any interleaving of writes, reconnections and compactions.

A model keeps every event that ever was. Each watcher reads through the real store, tail and stream; it may
fall behind, break off and come back at any revision. What it gets is what the model says, each event once and
in order, or the refusal that the model foretells.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ftc_core.application.changes import Changes, Feed, Interest, Topic
from ftc_core.application.context import ApplicationContext
from ftc_core.application.event_tail import EventTail
from ftc_core.application.watch import WatchOptions, watch
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CompactEvents, CreateEnrollments, Outcome, Submission
from ftc_core.storage.lmdb import open_lmdb
from tests.conformance.scene import NOW, Scene

ROOM = 6
SCAN = 4
T = TypeVar("T")


class NoCommit:
    """Watching writes nothing."""

    async def execute(self, submission: Submission) -> Outcome:
        raise AssertionError(submission)


class Watcher:
    """A client, and the revision up to which it has everything."""

    def __init__(self, stream: AsyncGenerator[Changes, None], through: int) -> None:
        self.stream = stream
        self.through = through


class WatchMachine(RuleBasedStateMachine):
    """Two accounts; watchers of the enrollments of the first, or of both."""

    of_all_accounts = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.store = open_lmdb(Path(self.directory.name), create=True, map_bytes=1 << 24)
        self.scene = Scene(self.store)
        self.accounts = [self.scene.trusting_account() for _ in range(2)]
        self.interest: Interest = (
            Topic.ENROLLMENTS if self.of_all_accounts else Feed(self.accounts[0].id, Topic.ENROLLMENTS)
        )
        self.context = ApplicationContext(self.store, NoCommit(), bytes(32), now=lambda: NOW)
        self.tail = EventTail(self.store, room=ROOM, scan=SCAN)
        self.watchers: list[Watcher] = []
        self.events: list[int] = []
        self.compacted = 0
        self.number = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def open(self, start_revision: int) -> tuple[Watcher, Changes]:
        """A new stream and its first response."""
        stream = watch(self.context, self.tail, self.interest, WatchOptions(start_revision, 1.0))
        first = self.run(anext(stream))  # type: ignore[arg-type] # it is a coroutine
        watcher = Watcher(stream, first.through)
        self.watchers.append(watcher)
        return watcher, first

    @initialize()
    def begin(self) -> None:
        self.write(0, 2)

    @rule(account=st.sampled_from([0, 0, 1]), count=st.integers(1, 5))
    def write(self, account: int, count: int) -> None:
        owner = self.accounts[account]
        new = [self.scene.new_enrollment(owner.id, self.number + n) for n in range(count)]
        self.number += count
        before = self.scene.revision()
        self.scene.run(CreateEnrollments(tuple(new), NOW))
        if account == 0 or self.of_all_accounts:
            self.events += range(before + 1, before + 1 + count)

    @rule()
    def claim(self) -> None:
        """An event of an enrollment, and one of a device, which is not wanted."""
        self.write(0, 1)
        before = self.scene.revision()
        self.scene.claim(self.number - 1)
        self.events.append(before + 1)  # ENROLLMENT_CLAIMED, then DEVICE_CLAIMED
        assert self.scene.revision() == before + 2

    @rule(keep=st.integers(0, 12), limit=st.integers(1, 6))
    def compact(self, keep: int, limit: int) -> None:
        self.scene.run(CompactEvents(NOW - timedelta(days=1), keep, limit))
        with self.store.view() as view:
            self.compacted = view.compacted_revision()

    @rule()
    def poll(self) -> None:
        self.run(self.tail.poll())

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        newest = self.scene.revision()
        start = data.draw(st.integers(0, newest + 2))
        try:
            _, first = self.open(start)
        except FtcError as error:
            if error.reason is Reason.REVISION_COMPACTED:
                assert 0 < start <= self.compacted
                assert error.metadata == {"oldest_revision": str(self.compacted + 1)}
            else:
                assert error.reason is Reason.REVISION_AHEAD
                assert start == newest + 2
            return
        assert start == 0 or self.compacted < start <= newest + 1
        assert first == Changes([], newest if start == 0 else start - 1)

    @precondition(lambda self: self.watchers)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Break off, and come back where it was."""
        watcher = data.draw(st.sampled_from(self.watchers))
        self.watchers.remove(watcher)
        self.run(watcher.stream.aclose())
        try:
            _, first = self.open(watcher.through + 1)
        except FtcError as error:
            assert error.reason is Reason.REVISION_COMPACTED
            assert watcher.through < self.compacted
            return
        assert first == Changes([], watcher.through)

    @precondition(lambda self: self.watchers)
    @rule(data=st.data(), patience=st.integers(1, 4))
    def read(self, data: st.DataObject, patience: int) -> None:
        """Read for a while; a client that finds nothing hangs up."""
        watcher = data.draw(st.sampled_from(self.watchers))
        for _ in range(patience):
            if not self.read_once(watcher):
                self.watchers.remove(watcher)
                return

    def read_once(self, watcher: Watcher) -> bool:
        """Check the next response → whether the stream goes on."""
        due = [revision for revision in self.events if revision > watcher.through]
        try:
            batch = self.run(self.response_at_hand(watcher.stream))
        except FtcError as error:
            if error.reason is Reason.CONSUMER_TOO_SLOW:
                assert len(due) > ROOM
                assert error.metadata == {"last_revision": str(watcher.through)}
            else:
                assert error.reason is Reason.REVISION_COMPACTED
                assert watcher.through < self.compacted
            return False
        if batch is None:
            assert all(revision > self.tail.position for revision in due), "what was handed on is sent"
            return False
        got = [change.event.revision for change in batch.changes]
        assert got, "silence is no reason for a mark so soon"
        assert got == due[: len(got)], "each once, in order, none left out"
        assert batch.through == got[-1]
        for change in batch.changes:
            assert change.enrollment is not None
            assert change.enrollment.revision >= change.event.revision
        watcher.through = batch.through
        return True

    @staticmethod
    async def response_at_hand(stream: AsyncGenerator[Changes, None]) -> Changes | None:
        """The next response if it takes no waiting; else None, and the stream is cancelled."""
        step = asyncio.ensure_future(anext(stream))
        for _ in range(100):
            if step.done():
                return step.result()
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.wait([step])
        return None

    @invariant()
    def a_stream_that_ended_is_forgotten(self) -> None:
        assert self.tail.streams <= len(self.watchers)

    def teardown(self) -> None:
        for watcher in self.watchers:
            self.run(watcher.stream.aclose())
        assert self.tail.streams == 0
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.store.close()
        self.directory.cleanup()


class WatchAllMachine(WatchMachine):
    """The same of all accounts."""

    of_all_accounts = True


TestWatch = WatchMachine.TestCase
TestWatch.settings = settings(max_examples=40, stateful_step_count=40)
TestWatchAll = WatchAllMachine.TestCase
TestWatchAll.settings = settings(max_examples=20, stateful_step_count=40)
