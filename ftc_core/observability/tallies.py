"""Observations of a histogram, gathered in plain numbers and brought to it together.

One at a time costs some microseconds each in prometheus_client's files, which is much beside a call of the
API; to gather one costs a fraction of one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Histogram

__all__ = ["TalliedHistogram", "Tally"]


class Tally:
    """How many observations fell into each bucket, and their sum; owned by one thread.

    `bounds` are the buckets' upper bounds, rising, the last one infinite.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Count one; a bound belongs to the bucket below it, as in Prometheus."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.total += amount


class TalliedHistogram(Histogram):
    """A histogram that takes tallies."""

    def tally(self) -> Tally:
        """An empty one, of its buckets."""
        return Tally(self._upper_bounds)

    def add(self, tally: Tally) -> None:
        """As if each observation of `tally` had been made here."""
        self._sum.inc(tally.total)
        for bucket, count in zip(self._buckets, tally.counts, strict=True):
            if count:
                bucket.inc(count)
