"""One record per RPC, for the log and for metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
import msgspec
import structlog

from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_grpc.authorization import OPEN_METHODS, REQUIRED_ROLE
from ftc_grpc.caller import caller_or_none
from ftc_grpc.interceptors.wrapping import Behaviour, Context, Interceptor

__all__ = ["CallLog", "CallLogInterceptor", "CallObserver", "CallRecord"]

_ARRIVED: ContextVar[float] = ContextVar("arrived")
"""When the present RPC came: gRPC runs each in a task, hence a context, of its own."""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished RPC. `outcome` is OK, CANCELLED (by the client, or its deadline) or a Reason's name.

    IDs and `uri` (of a client certificate) are "" where there is no such caller; `peer` is an address as gRPC
    writes it.
    """

    method: str
    outcome: str
    seconds: float
    account_id: str
    key_id: str
    uri: str
    peer: str


CallObserver = Callable[[CallRecord], None]


_QUIET = (
    OPEN_METHODS
    | {method for method, role in REQUIRED_ROLE.items() if role is Role.READER}
    | {"/ftc.v1.DeviceEnrollmentService/CreateDeviceEnrollment"}
)
"""What may come thousands of times a second and leaves its own trace, or none: metrics count it."""


class CallLog:
    """The access log (a `CallObserver`), as logging is configured when it is made.

    Our own failures are warnings; what succeeds and is `_QUIET` is for debugging only: a line costs 60 µs of
    a call that takes 200 without, and even one that is dropped costs 2 if its logger is looked up for it.
    """

    def __init__(self) -> None:
        self._log = structlog.get_logger(__name__).bind()

    def __call__(self, record: CallRecord) -> None:
        """Write the line."""
        if record.outcome == "OK" and record.method in _QUIET:
            if self._log.is_enabled_for(logging.DEBUG):
                self._log.debug("rpc", **msgspec.structs.asdict(record))
        elif record.outcome.startswith("INTERNAL_"):
            self._log.warning("rpc", **msgspec.structs.asdict(record))
        else:
            self._log.info("rpc", **msgspec.structs.asdict(record))


class CallLogInterceptor(Interceptor):
    """Tells each observer of each RPC once it has ended, also of those that authentication refuses."""

    def __init__(self, observers: Sequence[CallObserver]) -> None:
        self._observers = tuple(observers)

    def admit(self, call: grpc.HandlerCallDetails) -> None:
        """Note when the call came: what is done before its method begins counts, too."""
        _ARRIVED.set(time.perf_counter())

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """See the class."""

        async def observed(request: Any, context: Context) -> Any:
            outcome = Reason.INTERNAL_10.value
            try:
                answer = await behaviour(request, context)
                outcome = "OK"
                return answer
            except FtcError as error:
                outcome = error.reason.value
                raise
            except asyncio.CancelledError:
                outcome = "CANCELLED"
                raise
            finally:
                self._tell(method, outcome, time.perf_counter() - _ARRIVED.get(), context.peer())

        return observed

    def _tell(self, method: str, outcome: str, seconds: float, peer: str) -> None:
        caller = caller_or_none()
        record = CallRecord(
            method=method,
            outcome=outcome,
            seconds=seconds,
            account_id=caller.account_id if caller else "",
            key_id=caller.key_id if caller else "",
            uri=caller.uri if caller else "",
            peer=peer,
        )
        for observer in self._observers:
            observer(record)
