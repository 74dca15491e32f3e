"""The metrics of RPCs."""

from __future__ import annotations

from ftc_core.errors import CATALOGUE, Reason
from ftc_core.observability.metrics import RPC_SECONDS, RPCS
from ftc_grpc.interceptors.call_log import CallRecord

__all__ = ["observe_call"]


def observe_call(record: CallRecord) -> None:
    """Count the RPC (a `CallObserver`). Only methods that exist are told, so their number is bounded."""
    method = record.method.lstrip("/")
    RPCS.labels(method, _code(record.outcome)).inc()
    RPC_SECONDS.labels(method).observe(record.seconds)


def _code(outcome: str) -> str:
    if outcome in ("OK", "CANCELLED"):
        return outcome
    return CATALOGUE[Reason(outcome)].grpc
