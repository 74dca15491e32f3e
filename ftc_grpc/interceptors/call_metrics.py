"""The metrics of RPCs."""

from __future__ import annotations

import functools
from collections import Counter

from ftc_core.errors import CATALOGUE, Reason
from ftc_core.observability.metrics import RPC_SECONDS, RPCS
from ftc_core.observability.publishing import CounterFeed
from ftc_core.observability.tallies import TalliedHistogram, Tally
from ftc_grpc.interceptors.call_log import CallRecord

__all__ = ["CallMetrics"]


class CallMetrics:
    """Counts RPCs (a `CallObserver`), for the metrics, to which `publish` brings them. For one thread.

    Only methods that exist are told, so their number is bounded.
    """

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, ...]] = Counter()
        self._seconds: dict[str, Tally] = {}
        self._feed = CounterFeed(RPCS, lambda: self._ended)

    def __call__(self, record: CallRecord) -> None:
        """Count one."""
        self._ended[_labels(record.method, record.outcome)] += 1
        tally = self._seconds.get(record.method)
        if tally is None:
            tally = self._seconds[record.method] = _histogram(record.method).tally()
        tally.observe(record.seconds)

    def publish(self) -> None:
        """Bring the metrics up to date."""
        self._feed.publish()
        gathered, self._seconds = self._seconds, {}
        for method, tally in gathered.items():
            _histogram(method).add(tally)


# Kept, since to look a metric up by its labels costs as much as to raise it.
@functools.cache
def _histogram(method: str) -> TalliedHistogram:
    return RPC_SECONDS.labels(method.lstrip("/"))


@functools.cache
def _labels(method: str, outcome: str) -> tuple[str, str]:
    return method.lstrip("/"), _code(outcome)


def _code(outcome: str) -> str:
    if outcome in ("OK", "CANCELLED"):
        return outcome
    return CATALOGUE[Reason(outcome)].grpc
