"""grpc.health.v1.Health, with the List method that grpcio-health-checking's asyncio servicer leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined] # not in its stubs

from ftc_core.errors import FtcError, Reason
from ftc_grpc.services.context import RpcContext

__all__ = ["Health"]


class Health(health_aio.HealthServicer):  # type: ignore[misc] # hence without a type
    """Health per service; "" stands for the server as a whole. NOT_SERVING until told otherwise."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = ("", *services)

    async def serve_all(self, *, serving: bool) -> None:
        """Set every service to SERVING or NOT_SERVING, and tell those who watch."""
        status = health_pb2.HealthCheckResponse
        for service in self._services:
            await self.set(service, status.SERVING if serving else status.NOT_SERVING)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: RpcContext) -> Any:  # noqa: N802
        """The health of a service. Raises FtcError RESOURCE_NOT_FOUND for one that there is not."""
        if request.service not in self._services:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "service not found")
        return await super().Check(request, context)

    async def List(self, request: health_pb2.HealthListRequest, context: RpcContext) -> Any:  # noqa: N802
        """The health of every service."""
        statuses = {
            service: await self.Check(health_pb2.HealthCheckRequest(service=service), context)
            for service in self._services
        }
        return health_pb2.HealthListResponse(statuses=statuses)
