"""The methods of a port, each wrapped at its first call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from ftc_core.errors import FtcError, Reason
from ftc_grpc.interceptors.wrapping import Handler, Interceptor, refused, wrapped

__all__ = ["MethodTable"]

_SHOWN_MAX_CHARS = 200
"""Characters of an unknown method's name that its refusal repeats."""

if TYPE_CHECKING:
    _GenericHandler = grpc.GenericRpcHandler[Any, Any]
else:
    _GenericHandler = grpc.GenericRpcHandler  # generic in the stubs only


class MethodTable(_GenericHandler):
    """Finds the handler of each call, in which `interceptors` take part in their order.

    To the generated functions `add_…Servicer_to_server` it is the server. Methods are found here, and not
    registered with gRPC one by one: its event loop would wait for the next call of each of them, and pay for
    all of them with every call. Interceptors of gRPC's own kind would be a coroutine each, for every call.
    """

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._services: list[grpc.GenericRpcHandler[Any, Any]] = []
        self._handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, services: Iterable[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Serve the methods of `services`."""
        self._services.extend(services)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """The same methods once more, which are not registered: see the class."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The handler for one call. If there is no such method, it refuses with METHOD_UNKNOWN.

        That concerns the first interceptor alone, the outermost: the others know the methods that there are.
        """
        method = handler_call_details.method
        handler = self._handlers.get(method) or self._find(handler_call_details)
        if handler is None:
            unknown = FtcError(Reason.METHOD_UNKNOWN, f"there is no method {method[:_SHOWN_MAX_CHARS]!r}")
            return refused(method, unknown, self._interceptors[:1])
        for place, interceptor in enumerate(self._interceptors):
            try:
                interceptor.admit(handler_call_details)
            except Exception as error:
                return refused(method, error, self._interceptors[:place])
        return handler

    def _find(self, call: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a method that was not called before: wrapped, and kept."""
        for service in self._services:
            handler = service.service(call)
            if handler is not None:
                self._handlers[call.method] = wrapped(call.method, handler, self._interceptors)
                return self._handlers[call.method]
        return None
