"""One record per RPC, for the log and for metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
import structlog

from ftc_core.errors import FtcError, Reason
from ftc_grpc.caller import caller_or_none
from ftc_grpc.interceptors.wrapping import Context, Continuation, Handler, Interceptor, wrap

__all__ = ["CallLogInterceptor", "CallObserver", "CallRecord", "log_call"]

_log = structlog.get_logger(__name__)


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished RPC: `reason` None if it succeeded; `peer` as gRPC writes addresses, "" if unknown."""

    method: str
    reason: Reason | None
    seconds: float
    account_id: str
    key_id: str
    peer: str


CallObserver = Callable[[CallRecord], None]


def log_call(record: CallRecord) -> None:
    """The access log's line: a refusal is the caller's affair (info), our own failure is ours (warning)."""
    failed = record.reason is not None and record.reason.name.startswith("INTERNAL_")
    level = _log.warning if failed else _log.info
    level(
        "rpc",
        method=record.method,
        outcome=record.reason.value if record.reason else "OK",
        seconds=round(record.seconds, 6),
        account_id=record.account_id,
        key_id=record.key_id,
        peer=record.peer,
    )


class CallLogInterceptor(Interceptor):
    """Tells each observer of each RPC once it has ended, also of those that authentication refuses."""

    def __init__(self, observers: Sequence[CallObserver]) -> None:
        self._observers = tuple(observers)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """See the class."""
        method = handler_call_details.method
        started = time.perf_counter()
        try:
            handler = await continuation(handler_call_details)
        except Exception as error:
            self._tell(method, started, error, peer="")
            raise
        if handler is None:
            return None

        @asynccontextmanager
        async def observed(request: Any, context: Context) -> AsyncIterator[None]:
            try:
                yield
            except Exception as error:
                self._tell(method, started, error, context.peer())
                raise
            self._tell(method, started, None, context.peer())

        return wrap(handler, observed)

    def _tell(self, method: str, started: float, error: Exception | None, peer: str) -> None:
        caller = caller_or_none()
        record = CallRecord(
            method=method,
            reason=_reason(error),
            seconds=time.perf_counter() - started,
            account_id=caller.account_id if caller else "",
            key_id=caller.key_id if caller else "",
            peer=peer,
        )
        for observer in self._observers:
            observer(record)


def _reason(error: Exception | None) -> Reason | None:
    if error is None:
        return None
    return error.reason if isinstance(error, FtcError) else Reason.INTERNAL_10
