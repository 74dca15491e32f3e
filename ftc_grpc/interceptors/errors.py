"""The one funnel through which errors leave: nothing else chooses a status, and no exception text leaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
import structlog
from grpc import aio

from ftc_core.errors import FtcError, Reason
from ftc_grpc.interceptors.wrapping import Context, Continuation, Handler, Interceptor, wrap
from ftc_grpc.status import STATUS_DETAILS_KEY, status_code, to_status

__all__ = ["ErrorInterceptor"]

_log = structlog.get_logger(__name__)


class ErrorInterceptor(Interceptor):
    """Turns FtcError into its status, and anything unforeseen into INTERNAL_10 with a logged traceback.

    What an inner interceptor refuses never reaches the method, nor is its request parsed.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """See the class."""
        method = handler_call_details.method
        try:
            handler = await continuation(handler_call_details)
        except Exception as error:
            return _refusing(_known(error, method))
        if handler is None:
            return None

        @asynccontextmanager
        async def funnel(request: Any, context: Context) -> AsyncIterator[None]:
            try:
                yield
            except aio.AbortError:
                raise  # the status is sent already
            except Exception as error:
                await _abort(context, _known(error, method), _resource_of(request))

        return wrap(handler, funnel)


def _known(error: Exception, method: str) -> FtcError:
    if isinstance(error, FtcError):
        return error
    _log.error("unexpected error", method=method, exc_info=error)
    return FtcError(Reason.INTERNAL_10)


def _resource_of(request: object) -> str:
    """The name that a request is about: AIP-131 and AIP-133 call it `name` or `parent`."""
    for field in ("name", "parent"):
        value = getattr(request, field, "")
        if isinstance(value, str) and value:
            return value
    return ""


def _refusing(error: FtcError) -> Handler:
    async def refuse(requests: object, context: Context) -> None:
        await _abort(context, error, "")

    # A streaming handler waits for no request and parses none, and its bare status suits any kind of call.
    return grpc.stream_stream_rpc_method_handler(refuse)


async def _abort(context: Context, error: FtcError, resource: str) -> NoReturn:
    status = to_status(error, resource)
    await context.abort(
        status_code(error), status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    )
