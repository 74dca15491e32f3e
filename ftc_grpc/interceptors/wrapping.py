"""What interceptors share: their typed base, and wrapping a handler of any arity, once for all its calls."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from grpc import aio

__all__ = [
    "Behaviour",
    "Context",
    "Continuation",
    "Handler",
    "Interceptor",
    "WrappingInterceptor",
    "refusing",
]

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method: called with the request (an iterator of requests if they are streamed) and the RPC's context.

It gives its answer; one that streams answers has written them by the time it returns.
"""


if TYPE_CHECKING:
    # The stubs forget that there may be no such method: nothing could override what they declare.
    _ServerInterceptor = object
    _MethodHandler = grpc.RpcMethodHandler[Any, Any]
else:
    _ServerInterceptor = aio.ServerInterceptor
    _MethodHandler = grpc.RpcMethodHandler


class Interceptor(_ServerInterceptor):
    """Sees each RPC before its method does; what it raises goes to the interceptor before it."""

    @abstractmethod
    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The handler that shall serve the call, None if there is no such method."""


class WrappingInterceptor(Interceptor):
    """Does something around each RPC. A method's handler is wrapped at its first call, and kept."""

    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}  # method → as it was, as it is wrapped

    @abstractmethod
    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """What to call for `method` (`/package.Service/Method`) instead of `behaviour`; or that itself."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The handler with `around` its behaviour."""
        method, handler = handler_call_details.method, await continuation(handler_call_details)
        if handler is None:
            return None
        if isinstance(handler, _OneCall):
            return _OneCall(self.around(method, _behaviour(handler)))
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler:
            wrapped = _with_behaviour(handler, self.around(method, _behaviour(handler)))
            self._wrapped[method] = handler, wrapped
        return wrapped


class _OneCall(_MethodHandler):
    """A handler that will not be seen again. It stands for methods of any arity.

    As a streaming one it waits for no request and parses none, and its bare status suits any kind of call.
    """

    request_streaming = response_streaming = True
    request_deserializer = response_serializer = None
    unary_unary = unary_stream = stream_unary = None

    def __init__(self, behaviour: Behaviour) -> None:
        self.stream_stream: Any = behaviour


def refusing(error: Exception) -> Handler:
    """A handler that raises `error`, for one call of any method."""

    async def refuse(requests: object, context: Context) -> None:
        raise error

    return _OneCall(refuse)


def _behaviour(handler: Handler) -> Behaviour:
    """What `handler` does, as one coroutine whatever its arity."""
    given: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
    if not inspect.isasyncgenfunction(given):
        behaviour: Behaviour = given  # grpc.aio lets a method yield its answers or write them itself
        return behaviour

    async def write_all(request: Any, context: Context) -> None:
        # A call that is cancelled while it writes leaves its method behind: end that at once, too.
        async with aclosing(given(request, context)) as responses:
            async for response in responses:
                await _write(context, response)

    return write_all


async def _write(context: Context, response: Any) -> None:
    try:
        await context.write(response)
    except aio.InternalError:
        # The client is gone, and gRPC is about to cancel this call: that is what it shall look like.
        raise asyncio.CancelledError from None


def _with_behaviour(handler: Handler, behaviour: Behaviour) -> Handler:
    """A handler like `handler` that does this instead."""
    if handler.response_streaming:
        kind = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
    else:
        kind = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
    return kind(behaviour, handler.request_deserializer, handler.response_serializer)
