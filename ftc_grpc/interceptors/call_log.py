"""One record per RPC, for the log and for metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
import structlog

from ftc_core.errors import FtcError, Reason
from ftc_grpc.authorization import OPEN_METHODS
from ftc_grpc.caller import caller_or_none
from ftc_grpc.interceptors.wrapping import Context, Continuation, Handler, Interceptor, wrap

__all__ = ["CallLogInterceptor", "CallObserver", "CallRecord", "log_call"]

_log = structlog.get_logger(__name__)


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished RPC. `outcome` is OK, CANCELLED (by the client, or its deadline) or a Reason's name.

    The IDs are "" where there is no authenticated caller; `peer` is an address as gRPC writes it.
    """

    method: str
    outcome: str
    seconds: float
    account_id: str
    key_id: str
    peer: str


CallObserver = Callable[[CallRecord], None]


def log_call(record: CallRecord) -> None:
    """The access log. Our own failures are warnings; probes without a key are for debugging only."""
    if record.outcome.startswith("INTERNAL_"):
        level = _log.warning
    elif record.method in OPEN_METHODS:
        level = _log.debug
    else:
        level = _log.info
    level("rpc", **msgspec.structs.asdict(record))


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
        handler = await continuation(handler_call_details)
        if handler is None:
            return None

        @asynccontextmanager
        async def observed(request: Any, context: Context) -> AsyncIterator[None]:
            outcome = Reason.INTERNAL_10.value
            try:
                yield
                outcome = "OK"
            except FtcError as error:
                outcome = error.reason.value
                raise
            except asyncio.CancelledError:
                outcome = "CANCELLED"
                raise
            finally:
                self._tell(method, outcome, time.perf_counter() - started, context.peer())

        return wrap(handler, observed)

    def _tell(self, method: str, outcome: str, seconds: float, peer: str) -> None:
        caller = caller_or_none()
        record = CallRecord(
            method=method,
            outcome=outcome,
            seconds=seconds,
            account_id=caller.account_id if caller else "",
            key_id=caller.key_id if caller else "",
            peer=peer,
        )
        for observer in self._observers:
            observer(record)
