"""The metrics of RPCs."""

from __future__ import annotations

import functools

from prometheus_client import Counter, Histogram

from ftc_core.errors import CATALOGUE, Reason
from ftc_core.observability.metrics import RPC_SECONDS, RPCS
from ftc_grpc.interceptors.call_log import CallRecord

__all__ = ["observe_call"]


def observe_call(record: CallRecord) -> None:
    """Count the RPC (a `CallObserver`). Only methods that exist are told, so their number is bounded."""
    _count(record.method, record.outcome).inc()
    _seconds(record.method).observe(record.seconds)


# Kept, since to look a metric up by its labels costs as much as to raise it.
@functools.cache
def _count(method: str, outcome: str) -> Counter:
    return RPCS.labels(method.lstrip("/"), _code(outcome))


@functools.cache
def _seconds(method: str) -> Histogram:
    return RPC_SECONDS.labels(method.lstrip("/"))


def _code(outcome: str) -> str:
    if outcome in ("OK", "CANCELLED"):
        return outcome
    return CATALOGUE[Reason(outcome)].grpc
