"""Brings counts to their metrics at intervals, and their sums to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog
from prometheus_client import Counter

__all__ = ["PUBLISH_INTERVAL_S", "SUMMARY_INTERVAL_S", "CounterFeed", "Summary", "repeat"]

_log = structlog.get_logger(__name__)

PUBLISH_INTERVAL_S = 1.0
"""Seconds by which a scrape may lag behind what happened."""
SUMMARY_INTERVAL_S = 10.0
"""Seconds that one summary line in the log covers."""

Labels = tuple[str, ...]
Key = TypeVar("Key")


class CounterFeed:
    """Feeds `counter` with the growth of the totals that `read` gives by label values."""

    def __init__(self, counter: Counter, read: Callable[[], Mapping[Labels, int]]) -> None:
        self._counter = counter
        self._read = read
        self._published: Mapping[Labels, int] = {}

    def publish(self) -> None:
        """Bring the metric up to date."""
        totals = dict(self._read())
        for labels, growth in _growth(self._published, totals).items():
            child = self._counter.labels(*labels) if labels else self._counter
            child.inc(growth)
        self._published = totals


class Summary:
    """One line at info for everything that happened since the last one, since successes are at debug."""

    def __init__(self, event: str, read: Callable[[], Mapping[str, int]]) -> None:
        self._event = event
        self._read = read
        self._told: Mapping[str, int] = {}

    def tell(self) -> None:
        """Log what has grown, by how much; nothing if nothing has."""
        totals = dict(self._read())
        if growth := _growth(self._told, totals):
            _log.info(self._event, **growth)
        self._told = totals


async def repeat(action: Callable[[], None], interval_s: float) -> None:
    """Do `action` every `interval_s` seconds until cancelled, and whatever it raises."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            action()
        except Exception as error:  # a full disk, say: numbers are not worth a worker
            _log.error("metrics not published", exc_info=error)


def _growth(before: Mapping[Key, int], after: Mapping[Key, int]) -> dict[Key, int]:
    return {key: total - before.get(key, 0) for key, total in after.items() if total != before.get(key, 0)}
