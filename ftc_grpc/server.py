"""The gRPC server: services and interceptors on each port; start and orderly stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ftc_core.application.bulk import BulkJobs
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.application.context import ApplicationContext
from ftc_core.application.event_tail import EventTail
from ftc_core.application.key_use import KeyUses
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.limits import BULK_SWEEP_INTERVAL_S, CREDENTIAL_CHECK_S, WATCH_POLL_S
from ftc_grpc._gen.ftc.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    device_enrollment_service_pb2,
    device_enrollment_service_pb2_grpc,
    device_service_pb2,
    device_service_pb2_grpc,
    device_transfer_service_pb2,
    device_transfer_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
    trusted_certificate_service_pb2,
    trusted_certificate_service_pb2_grpc,
)
from ftc_grpc.authorization import OPEN_METHODS, check_complete
from ftc_grpc.health import Health
from ftc_grpc.interceptors.authentication import AuthenticationInterceptor
from ftc_grpc.interceptors.call_log import CallLogInterceptor, CallObserver
from ftc_grpc.interceptors.client_certificate import ClientCertificateInterceptor
from ftc_grpc.interceptors.errors import ErrorInterceptor
from ftc_grpc.interceptors.running_calls import RunningCallsInterceptor
from ftc_grpc.interceptors.wrapping import Interceptor
from ftc_grpc.ledger_signing import LedgerSigning
from ftc_grpc.listener import Listener, ServerTls
from ftc_grpc.mutual_tls import MutualTls
from ftc_grpc.pagination import Paginator
from ftc_grpc.periodic import repeat_forever
from ftc_grpc.reflection import reflection_servicer
from ftc_grpc.running_calls import RunningCalls
from ftc_grpc.services.accounts import AccountService
from ftc_grpc.services.channelz import ChannelzService
from ftc_grpc.services.device_enrollments import DeviceEnrollmentService
from ftc_grpc.services.device_transfers import DeviceTransferService
from ftc_grpc.services.devices import DeviceService
from ftc_grpc.services.ledger import LedgerService
from ftc_grpc.services.operations import OperationsService
from ftc_grpc.services.trusted_certificates import TrustedCertificateService
from ftc_grpc.services.watch import Watcher

__all__ = ["SERVICES", "ApiServer"]

_API = (
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
    trusted_certificate_service_pb2.DESCRIPTOR.services_by_name["TrustedCertificateService"],
    device_enrollment_service_pb2.DESCRIPTOR.services_by_name["DeviceEnrollmentService"],
    device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"],
    device_transfer_service_pb2.DESCRIPTOR.services_by_name["DeviceTransferService"],
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
)
_STANDARD = (
    operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
    channelz_pb2.DESCRIPTOR.services_by_name["Channelz"],
)

SERVICES: tuple[str, ...] = tuple(service.full_name for service in (*_API, *_STANDARD))
"""Full names of all services: those that reflection lists, and whose health is told."""

_LASTING = {
    f"/{service.full_name}/{method.name}"
    for service in (*_API, *_STANDARD)
    for method in service.methods
    if method.client_streaming or method.server_streaming or method.name == "WaitOperation"
} - OPEN_METHODS
"""Methods whose calls may run for long after their caller was recognised."""


class ApiServer:
    """The API over TLS. To be made, started and stopped in one event loop.

    `certificate_pem` (with intermediates, if any) and `private_key_pem` are the server's identity. With
    `mutual_tls` there is a second port, which demands client certificates. `bulk_directory` is where uploads
    are kept, `ledger_keys` what signs the ledger. `observers` are told of every finished RPC. `key_uses` has
    noted the use of each API key, `tail` has the streams that follow events, `signing` makes checkpoints.
    """

    def __init__(
        self,
        context: ApplicationContext,
        *,
        certificate_pem: bytes,
        private_key_pem: bytes,
        bulk_directory: Path,
        ledger_keys: LedgerKeyFiles,
        mutual_tls: MutualTls | None = None,
        observers: Sequence[CallObserver] = (),
    ) -> None:
        check_complete(
            f"/{service.full_name}/{method.name}"
            for service in (*_API, *_STANDARD)
            for method in service.methods
        )
        self.key_uses = KeyUses()
        self._health = Health(SERVICES)
        self.tail = EventTail(context.store)
        self.signing = LedgerSigning(context, ledger_keys)
        self._bulk = BulkJobs(context, BulkInputs(bulk_directory))
        self._running = RunningCalls(context)
        self._chores: list[asyncio.Task[NoReturn]] = []

        def listener(authentication: Interceptor, tls: ServerTls) -> Listener:
            return Listener(
                [
                    ErrorInterceptor(),
                    CallLogInterceptor(observers),
                    authentication,
                    RunningCallsInterceptor(self._running, _LASTING),
                ],
                tls,
            )

        by_key = AuthenticationInterceptor(context, self.key_uses)
        self._listeners = [listener(by_key, ServerTls(certificate_pem, private_key_pem))]
        if mutual_tls is not None:
            by_certificate = ClientCertificateInterceptor(context, mutual_tls.identities, by_key)
            tls = ServerTls(certificate_pem, private_key_pem, mutual_tls.client_ca_pem)
            self._listeners.append(listener(by_certificate, tls))
        self._add_services(context)

    async def start(self, *addresses: str) -> tuple[int, ...]:
        """Listen on `addresses` (host:port, port 0 for any) and serve; gives the ports.

        The first is for API keys, the second, given with `mutual_tls`, for client certificates.
        Raises FtcError PORT_IN_USE or SETTING_INVALID if one cannot be bound.
        """
        ports = tuple(
            listener.bind(address) for listener, address in zip(self._listeners, addresses, strict=True)
        )
        for listener in self._listeners:
            await listener.server.start()
        follow = repeat_forever(self.tail.poll, name="tail of the events", interval_s=WATCH_POLL_S)
        check = repeat_forever(
            self._running.check, name="check of running calls", interval_s=CREDENTIAL_CHECK_S
        )
        forget = repeat_forever(
            self._bulk.sweep, name="sweep of operations", interval_s=BULK_SWEEP_INTERVAL_S
        )
        chores = (follow, check, forget, self._bulk.runner.run())
        self._chores = [asyncio.create_task(chore) for chore in chores]
        await self._health.serve_all(serving=True)
        return ports

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, end watches, take no new calls, let running ones end within `grace_s` seconds."""
        await self._health.serve_all(serving=False)
        self.tail.close()
        for chore in self._chores:
            chore.cancel()
        if self._chores:
            await asyncio.wait(self._chores)
        await asyncio.gather(*(listener.server.stop(grace_s) for listener in self._listeners))

    def _add_services(self, context: ApplicationContext) -> None:
        paginator, watcher = Paginator(context.pepper), Watcher(context, self.tail)
        accounts = AccountService(context, paginator)
        certificates = TrustedCertificateService(context, paginator)
        enrollments = DeviceEnrollmentService(context, paginator, watcher, self._bulk)
        devices = DeviceService(context, paginator, watcher)
        transfers = DeviceTransferService(context, paginator)
        ledger = LedgerService(context, self.signing, paginator)
        operations = OperationsService(self._bulk, paginator)
        reflection = reflection_servicer(SERVICES)
        for listener in self._listeners:
            listener.add(account_service_pb2_grpc.add_AccountServiceServicer_to_server, accounts)
            listener.add(
                trusted_certificate_service_pb2_grpc.add_TrustedCertificateServiceServicer_to_server,
                certificates,
            )
            listener.add(
                device_enrollment_service_pb2_grpc.add_DeviceEnrollmentServiceServicer_to_server, enrollments
            )
            listener.add(device_service_pb2_grpc.add_DeviceServiceServicer_to_server, devices)
            listener.add(
                device_transfer_service_pb2_grpc.add_DeviceTransferServiceServicer_to_server, transfers
            )
            listener.add(ledger_service_pb2_grpc.add_LedgerServiceServicer_to_server, ledger)
            listener.add(operations_pb2_grpc.add_OperationsServicer_to_server, operations)
            listener.add(health_pb2_grpc.add_HealthServicer_to_server, self._health)
            listener.add(channelz_pb2_grpc.add_ChannelzServicer_to_server, ChannelzService())
            listener.add(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, reflection)
