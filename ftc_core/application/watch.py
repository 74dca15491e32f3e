"""Watching an account, or all: every event once, in order, from any revision that is still kept.

A stream first reads the log by itself until it has caught up with the tail, and then lives on what the tail
hands it. Between the last look and the subscription there is no await, so nothing comes in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta

import msgspec

from ftc_core.application.changes import Changes, Feed, Interest, check_kept, read_changes
from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.event_tail import EventTail
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import (
    EVENTS_COMPACTED_AT_ONCE,
    EVENTS_KEPT_MAX,
    EVENTS_KEPT_S,
    WATCH_BATCH,
    WATCH_PROGRESS_DEFAULT_S,
    WATCH_PROGRESS_MAX_S,
    WATCH_PROGRESS_MIN_S,
    WATCH_SCAN,
)
from ftc_core.storage.commands import CompactEvents, Submission, Swept
from ftc_core.storage.port import View

__all__ = ["WatchOptions", "compact_events", "current_revision", "watch"]


class WatchOptions(msgspec.Struct, frozen=True):
    """Where to begin (the first revision wanted; 0: the next), and how long to be silent, in seconds."""

    start_revision: int = 0
    progress_interval_s: float = WATCH_PROGRESS_DEFAULT_S

    def __post_init__(self) -> None:
        """Raises FtcError FIELD_INVALID."""
        if self.start_revision < 0:
            raise FtcError(Reason.FIELD_INVALID, "start_revision is negative", field="start_revision")
        if not WATCH_PROGRESS_MIN_S <= self.progress_interval_s <= WATCH_PROGRESS_MAX_S:
            raise FtcError(
                Reason.FIELD_INVALID,
                f"progress_interval is not from {WATCH_PROGRESS_MIN_S:g} s to {WATCH_PROGRESS_MAX_S:g} s",
                field="progress_interval",
            )


async def watch(
    context: ApplicationContext, tail: EventTail, interest: Interest, options: WatchOptions
) -> AsyncGenerator[Changes, None]:
    """The changes of `interest` from `options.start_revision` on, until the caller closes the generator.

    `through` of what it yields is where to resume: every change up to it has been yielded. The first is empty
    and tells where the watch begins; so is each progress mark, which comes after a silence.

    Raises FtcError RESOURCE_NOT_FOUND if the account does not exist, or once it is deleted;
    REVISION_COMPACTED (metadata `oldest_revision`), REVISION_AHEAD; CONSUMER_TOO_SLOW (metadata
    `last_revision`: of what was yielded last); SHUTTING_DOWN; OVERLOADED.
    """
    through = _begin(context, interest, options.start_revision)
    yield Changes([], through)
    while through < tail.position:
        tail.check_open()
        with context.store.view() as view:
            found = read_changes(view, {interest}, after=through, limit=WATCH_SCAN)
        for batch in _batches(found):
            yield batch
        through = found.through
        await asyncio.sleep(0)  # a long history must not hold up other calls
    with tail.subscribe(interest, after=through) as subscription:
        while True:
            try:
                changes = await subscription.take(WATCH_BATCH, options.progress_interval_s)
            except FtcError as error:
                if error.reason is Reason.CONSUMER_TOO_SLOW:
                    raise FtcError(error.reason, metadata={"last_revision": str(through)}) from error
                raise
            if changes:
                through = changes[-1].event.revision
            else:
                through = max(through, tail.position)  # all up to there was handed on, and none is for us
                with context.store.view() as view:
                    _require_account(view, interest)
            yield Changes(changes, through)


def current_revision(context: ApplicationContext) -> int:
    """The revision of the newest change: what is read after this call holds all changes up to it."""
    with context.store.view() as view:
        return view.revision()


async def compact_events(
    context: ApplicationContext, *, keep: int = EVENTS_KEPT_MAX, keep_s: float = EVENTS_KEPT_S
) -> int:
    """Remove events older than `keep_s` seconds and those beyond the newest `keep`; gives how many."""
    removed = 0
    while True:
        before = context.now() - timedelta(seconds=keep_s)
        outcome = await context.commit.execute(
            Submission(CompactEvents(before, keep, EVENTS_COMPACTED_AT_ONCE))
        )
        assert isinstance(outcome, Swept)  # noqa: S101 - what the port answers to this command
        removed += outcome.count
        if not outcome.more:
            return removed


def _begin(context: ApplicationContext, interest: Interest, start_revision: int) -> int:
    """The revision after which the watch begins."""
    with context.store.view() as view:
        _require_account(view, interest)
        newest = view.revision()
        if start_revision == 0:
            return newest
        if start_revision > newest + 1:
            raise FtcError(
                Reason.REVISION_AHEAD,
                f"the store is at revision {newest}",
                field="start_revision",
                metadata={"newest_revision": str(newest)},
            )
        check_kept(view, start_revision - 1)
        return start_revision - 1


def _require_account(view: View, interest: Interest) -> None:
    if isinstance(interest, Feed):
        require_account(view, interest.account_id)


def _batches(found: Changes) -> Iterator[Changes]:
    changes, start = found.changes, 0
    while start < len(changes):
        end = min(start + WATCH_BATCH, len(changes))
        last = changes[end - 1].event.revision
        while end < len(changes) and changes[end].event.revision == last:
            end += 1
        yield Changes(changes[start:end], last)
        start = end
