"""Changes: events, each with the record that it is about as it stands when the change is read.

An event names records and holds none. The record that goes with it is the current one: at least as new as the
event, and absent if it is gone since. So whoever puts what is present and removes what is absent, change by
change, holds at the end what the store holds, wherever he began. A transfer is told to both of its accounts,
at one revision: to the one what it has gained, to the other what it has lost. Whoever follows all accounts is
told both.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec

from ftc_core.domain.denial import Denial
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event, EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import View

__all__ = ["Change", "Changes", "Feed", "Interest", "Topic", "check_kept", "read_changes"]


class Topic(StrEnum):
    """What a watch is about: the prefix of its kinds of events."""

    ENROLLMENTS = "ENROLLMENT"
    DEVICES = "DEVICE"


_TOPIC = {kind: Topic(kind.value.partition("_")[0]) for kind in EventKind}


class Feed(NamedTuple):
    """The events of one account on one topic."""

    account_id: str
    topic: Topic


Interest: TypeAlias = "Feed | Topic"
"""What a watch may be of: one feed, or a topic in every account."""


class Change(msgspec.Struct, frozen=True):
    """An event as it is told in `feed`, and its record there.

    The record of the other topic is None, and so is one that is gone, or that is another account's now.
    """

    feed: Feed
    event: Event
    enrollment: Enrollment | None = None
    device: Device | None = None
    denial: Denial | None = None

    @property
    def given_away(self) -> bool:
        """Whether it tells the one side of a transfer that something has left it."""
        return self.event.from_account_id == self.feed.account_id


class Changes(msgspec.Struct, frozen=True):
    """Some changes, in order; no other that was wanted has a revision up to `through`.

    Of a transfer, those who want both sides get two changes of one revision, which are never parted.
    """

    changes: list[Change]
    through: int


def check_kept(view: View, after: int) -> None:
    """Raises FtcError REVISION_COMPACTED unless every event above the revision `after` is still kept."""
    compacted = view.compacted_revision()
    if after < compacted:
        raise FtcError(
            Reason.REVISION_COMPACTED,
            f"events up to revision {compacted} are no longer kept",
            field="start_revision",
            metadata={"oldest_revision": str(compacted + 1)},
        )


def read_changes(view: View, wanted: Container[Interest], *, after: int, limit: int) -> Changes:
    """The changes that are `wanted` among the next `limit` events above the revision `after`.

    Raises FtcError REVISION_COMPACTED if some of those are gone.
    """
    check_kept(view, after)
    events = view.events(after_revision=after, limit=limit)
    through = events[-1].revision if len(events) == limit else max(after, view.revision())
    return Changes(
        [
            _change(view, feed, event)
            for event in events
            for feed in _feeds(event)
            if feed in wanted or feed.topic in wanted
        ],
        through,
    )


def _feeds(event: Event) -> Iterator[Feed]:
    """Where it is told; of a transfer, first what is lost."""
    topic = _TOPIC[event.kind]
    if event.from_account_id is not None:
        yield Feed(event.from_account_id, topic)
    yield Feed(event.account_id, topic)


def _change(view: View, feed: Feed, event: Event) -> Change:
    if feed.topic is Topic.ENROLLMENTS:
        enrollment = view.get_enrollment(feed.account_id, event.enrollment_id or "")
        denial = view.get_denial(feed.account_id, event.denial_id) if event.denial_id else None
        return Change(feed, event, enrollment=enrollment, denial=denial)
    return Change(feed, event, device=view.get_device(feed.account_id, event.device_id or ""))
