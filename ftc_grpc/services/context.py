"""The type of the context that gRPC hands to every method."""

from __future__ import annotations

from typing import Any, TypeAlias

from grpc import aio

__all__ = ["RpcContext"]

RpcContext: TypeAlias = "aio.ServicerContext[Any, Any]"
