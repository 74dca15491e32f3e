"""What interceptors share: their base, and wrapping a handler of any arity, once for all its calls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from ftc_core.errors import FtcError, Reason

__all__ = ["Behaviour", "Context", "Handler", "Interceptor", "refused", "wrapped"]

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method: called with the request (an iterator of requests if they are streamed) and the RPC's context.

It gives its answer; one that streams answers has written them by the time it returns.
"""


if TYPE_CHECKING:
    _MethodHandler = grpc.RpcMethodHandler[Any, Any]
else:
    _MethodHandler = grpc.RpcMethodHandler  # generic in the stubs only


class Interceptor:
    """Takes part in every RPC of a port; does nothing by itself."""

    def admit(self, call: grpc.HandlerCallDetails) -> None:
        """See a call of a method that there is, before its request is read; what this raises refuses it.

        It runs in the RPC's own context. A refusal goes through what the interceptors before this one have
        put around the method, as if the method had raised it.
        """

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """What to call for `method` (`/package.Service/Method`) instead of `behaviour`; or that itself."""
        return behaviour


def wrapped(method: str, handler: Handler, interceptors: Sequence[Interceptor]) -> Handler:
    """`handler` with what `interceptors` put around it, the first outermost.

    A request that is no message of the method's type counts as if the method had raised REQUEST_MALFORMED.
    """
    return _with_behaviour(handler, _surrounded(method, _parsed(handler, _behaviour(handler)), interceptors))


def refused(method: str, error: Exception, interceptors: Sequence[Interceptor]) -> Handler:
    """A handler that raises `error` to `interceptors`, for one call of any method."""

    async def refuse(requests: object, context: Context) -> None:
        raise error

    return _Refusal(_surrounded(method, refuse, interceptors))


class _Refusal(_MethodHandler):
    """Stands for methods of any arity.

    As a streaming one it waits for no request and parses none, and its bare status suits any kind of call.
    """

    request_streaming = response_streaming = True
    request_deserializer = response_serializer = None
    unary_unary = unary_stream = stream_unary = None

    def __init__(self, behaviour: Behaviour) -> None:
        self.stream_stream: Any = behaviour


def _surrounded(method: str, behaviour: Behaviour, interceptors: Sequence[Interceptor]) -> Behaviour:
    for interceptor in reversed(interceptors):
        behaviour = interceptor.around(method, behaviour)
    return behaviour


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


class _Unreadable:
    """Stands for bytes that are no request; gRPC itself would tell the caller of a Python exception."""


def _deserializer(handler: Handler) -> Callable[[bytes], Any] | None:
    deserialize: Callable[[bytes], Any] | None = handler.request_deserializer
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Unreadable()

    return read


def _parsed(handler: Handler, behaviour: Behaviour) -> Behaviour:
    """`behaviour`, which sees requests alone."""

    async def one(request: Any, context: Context) -> Any:
        return await behaviour(_readable(request), context)

    async def each(requests: AsyncIterator[Any], context: Context) -> Any:
        return await behaviour((_readable(request) async for request in requests), context)

    return each if handler.request_streaming else one


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise FtcError(Reason.REQUEST_MALFORMED, "request is not a message of the method's type")
    return request


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
    return kind(behaviour, _deserializer(handler), handler.response_serializer)
