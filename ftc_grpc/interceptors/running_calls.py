"""Calls that last end with the credential of their caller."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from ftc_grpc.caller import current_caller
from ftc_grpc.interceptors.wrapping import Behaviour, Context, Interceptor
from ftc_grpc.running_calls import RunningCalls

__all__ = ["RunningCallsInterceptor"]


class RunningCallsInterceptor(Interceptor):
    """Holds each call of the methods `lasting` in `running`. Comes after authentication.

    The other methods are over in moments, and a write that is ended halfway would leave its caller in doubt.
    """

    def __init__(self, running: RunningCalls, lasting: Container[str]) -> None:
        self._running = running
        self._lasting = lasting

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """See the class. A call that lasts fails with CREDENTIALS_INVALID or CERTIFICATE_NOT_MAPPED."""
        if method not in self._lasting:
            return behaviour

        async def held(request: Any, context: Context) -> Any:
            async with self._running.hold(current_caller()):
                return await behaviour(request, context)

        return held
