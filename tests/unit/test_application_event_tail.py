"""What one stream has yet to send, where its silence ends and a change comes at the same time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from ftc_core.application.changes import Change, Feed, Topic
from ftc_core.application.event_tail import Subscription
from ftc_core.domain.event import Event, EventKind

ACCOUNT = "a" * 32
FEED = Feed(ACCOUNT, Topic.DEVICES)
SILENCE_S = 0.05


async def test_a_change_that_comes_as_the_silence_ends_is_taken() -> None:
    """Otherwise a progress mark would overtake it, and who resumes from the mark would never see it."""
    subscription = Subscription(10, 100)
    event = Event(
        revision=11, at=datetime(2026, 11, 23, tzinfo=UTC), kind=EventKind.DEVICE_CLAIMED, account_id=ACCOUNT
    )
    change = Change(FEED, event)
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time() + SILENCE_S, subscription.push, change)
    taken = asyncio.create_task(subscription.take(10, SILENCE_S))
    await asyncio.sleep(0)
    time.sleep(2 * SILENCE_S)  # noqa: ASYNC251 - a long turn: both are due in the next one

    assert await taken == [change]
