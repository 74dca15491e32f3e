"""What all interceptors share: their typed base, and wrapping a handler of any arity in a context manager."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from grpc import aio

__all__ = ["Around", "Context", "Continuation", "Handler", "Interceptor", "refusing", "wrap"]

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]

Around = Callable[[Any, Context], AbstractAsyncContextManager[None]]
"""Called with the request (an iterator of requests if they are streamed) and the RPC's context."""


if TYPE_CHECKING:
    # The stubs forget that there may be no such method: nothing could override what they declare.
    _ServerInterceptor = object
else:
    _ServerInterceptor = aio.ServerInterceptor


class Interceptor(_ServerInterceptor):
    """Sees each RPC before its method does; what it raises goes to the interceptor before it."""

    @abstractmethod
    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The handler that shall serve the call, None if there is no such method."""


def refusing(error: Exception) -> Handler:
    """A handler that raises `error`, whatever the arity of the method that it stands for.

    A streaming handler waits for no request and parses none, and its bare status suits any kind of call.
    """

    async def refuse(requests: object, context: Context) -> None:
        raise error

    return grpc.stream_stream_rpc_method_handler(refuse)


def wrap(handler: Handler, around: Around) -> Handler:
    """A handler like `handler` that runs inside `around(request, context)`."""
    if handler.response_streaming:
        kind = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        behaviour = _streaming(handler.stream_stream or handler.unary_stream, around)
    else:
        kind = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        behaviour = _unary(handler.stream_unary or handler.unary_unary, around)
    return kind(behaviour, handler.request_deserializer, handler.response_serializer)


def _unary(behaviour: Any, around: Around) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        async with around(request, context):
            return await behaviour(request, context)

    return call


async def _write(context: Context, response: Any) -> None:
    try:
        await context.write(response)
    except aio.InternalError:
        # The client is gone, and gRPC is about to cancel this call: that is what it shall look like.
        raise asyncio.CancelledError from None


def _streaming(behaviour: Any, around: Around) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(request: Any, context: Context) -> None:
        async with around(request, context):
            # grpc.aio lets a method yield its answers or write them itself.
            if inspect.isasyncgenfunction(behaviour):
                # A call that is cancelled while it writes leaves its method behind: end that at once, too.
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        await _write(context, response)
            else:
                await behaviour(request, context)

    return call
