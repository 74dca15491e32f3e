"""The gRPC server: services, interceptors, TLS, limits; start and orderly stop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ftc_core.application.bulk import BulkJobs
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.application.context import ApplicationContext
from ftc_core.application.event_tail import EventTail
from ftc_core.application.key_use import KeyUses
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import RPC_MESSAGE_MAX_BYTES, RPC_METADATA_MAX_BYTES, WATCH_POLL_S
from ftc_grpc._gen.ftc.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    device_enrollment_service_pb2,
    device_enrollment_service_pb2_grpc,
    device_service_pb2,
    device_service_pb2_grpc,
    trusted_certificate_service_pb2,
    trusted_certificate_service_pb2_grpc,
)
from ftc_grpc.authorization import check_complete
from ftc_grpc.health import Health
from ftc_grpc.interceptors.authentication import AuthenticationInterceptor
from ftc_grpc.interceptors.call_log import CallLogInterceptor, CallObserver, log_call
from ftc_grpc.interceptors.errors import ErrorInterceptor
from ftc_grpc.pagination import Paginator
from ftc_grpc.periodic import repeat_forever
from ftc_grpc.services.accounts import AccountService
from ftc_grpc.services.device_enrollments import DeviceEnrollmentService
from ftc_grpc.services.devices import DeviceService
from ftc_grpc.services.operations import OperationsService
from ftc_grpc.services.trusted_certificates import TrustedCertificateService
from ftc_grpc.services.watch import Watcher

__all__ = ["SERVICES", "ApiServer"]

_API = (
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
    trusted_certificate_service_pb2.DESCRIPTOR.services_by_name["TrustedCertificateService"],
    device_enrollment_service_pb2.DESCRIPTOR.services_by_name["DeviceEnrollmentService"],
    device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"],
)
_STANDARD = (
    operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)

SERVICES: tuple[str, ...] = tuple(service.full_name for service in _API)
"""Full names of our own services: those whose health is told."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # or a second server would share the port in silence
    ("grpc.max_receive_message_length", RPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", RPC_MESSAGE_MAX_BYTES),
    ("grpc.max_metadata_size", RPC_METADATA_MAX_BYTES),
    ("grpc.absolute_max_metadata_size", RPC_METADATA_MAX_BYTES),
    ("grpc.max_concurrent_streams", 100),  # of one connection
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    # Balancing is per connection: long-lived ones must reconnect now and then to find new servers.
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 5 * 60_000),
)


class ApiServer:
    """The API over TLS. To be made, started and stopped in one event loop.

    `certificate_pem` (with intermediates, if any) and `private_key_pem` are the server's identity.
    `bulk_directory` is where uploads are kept. `observers` are told of every finished RPC. `key_uses` has
    noted the use of each API key, `tail` has the streams that follow events.
    """

    def __init__(
        self,
        context: ApplicationContext,
        *,
        certificate_pem: bytes,
        private_key_pem: bytes,
        bulk_directory: Path,
        observers: Sequence[CallObserver] = (log_call,),
    ) -> None:
        check_complete(
            f"/{service.full_name}/{method.name}"
            for service in (*_API, *_STANDARD)
            for method in service.methods
        )
        self.key_uses = KeyUses()
        self._credentials = grpc.ssl_server_credentials([(private_key_pem, certificate_pem)])
        self._health = Health(SERVICES)
        self.tail = EventTail(context.store)
        self._bulk = BulkJobs(context, BulkInputs(bulk_directory))
        self._chores: list[asyncio.Task[NoReturn]] = []
        self._server = aio.server(
            interceptors=cast(
                "list[aio.ServerInterceptor[Any, Any]]",
                [
                    ErrorInterceptor(),
                    CallLogInterceptor(observers),
                    AuthenticationInterceptor(context, self.key_uses),
                ],
            ),
            options=_OPTIONS,
        )
        self._add_services(context)

    async def start(self, address: str) -> int:
        """Listen on `address` (host:port, port 0 for any) and serve; gives the port.

        Raises FtcError PORT_IN_USE if it cannot be bound.
        """
        try:
            port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise _cannot_listen(address) from error
        await self._server.start()
        follow = repeat_forever(self.tail.poll, name="tail of the events", interval_s=WATCH_POLL_S)
        self._chores = [asyncio.create_task(follow), asyncio.create_task(self._bulk.runner.run())]
        await self._health.serve_all(serving=True)
        return port

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, end watches, take no new calls, let running ones end within `grace_s` seconds."""
        await self._health.serve_all(serving=False)
        self.tail.close()
        for chore in self._chores:
            chore.cancel()
        if self._chores:
            await asyncio.wait(self._chores)
        await self._server.stop(grace_s)

    def _add_services(self, context: ApplicationContext) -> None:
        server, paginator = self._server, Paginator(context.pepper)
        watcher = Watcher(context, self.tail)
        account_service_pb2_grpc.add_AccountServiceServicer_to_server(
            AccountService(context, paginator), server
        )
        trusted_certificate_service_pb2_grpc.add_TrustedCertificateServiceServicer_to_server(
            TrustedCertificateService(context, paginator), server
        )
        device_enrollment_service_pb2_grpc.add_DeviceEnrollmentServiceServicer_to_server(
            DeviceEnrollmentService(context, paginator, watcher, self._bulk), server
        )
        device_service_pb2_grpc.add_DeviceServiceServicer_to_server(
            DeviceService(context, paginator, watcher), server
        )
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsService(self._bulk, paginator), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([service.full_name for service in (*_API, *_STANDARD)], server)


def _cannot_listen(address: str) -> FtcError:
    """Why `address` cannot be bound: gRPC does not say, so the system is asked once more."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if "[" in host else socket.AF_INET
        ).close()
    except OSError as error:
        if error.errno is not None and error.errno != errno.EADDRINUSE:
            return FtcError(
                Reason.SETTING_INVALID, f"cannot listen on {address} (TCP): {os.strerror(error.errno)}"
            )
    return FtcError(Reason.PORT_IN_USE, f"TCP port {port} on {host} is in use")
