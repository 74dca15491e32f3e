"""A thin client of the API: stubs over TLS with an API key, and errors as the server meant them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import RPC_MESSAGE_MAX_BYTES
from ftc_grpc._gen.ftc.v1.account_service_pb2_grpc import AccountServiceStub
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2_grpc import DeviceEnrollmentServiceStub
from ftc_grpc._gen.ftc.v1.device_service_pb2_grpc import DeviceServiceStub
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2_grpc import DeviceTransferServiceStub
from ftc_grpc._gen.ftc.v1.ledger_service_pb2_grpc import LedgerServiceStub
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2_grpc import TrustedCertificateServiceStub
from ftc_grpc.bearer import BearerKey
from ftc_grpc.status import ERROR_DOMAIN

__all__ = ["CALL_TIMEOUT_S", "ApiClient", "ClientCertificate", "error_of", "error_of_status"]

CALL_TIMEOUT_S = 30.0
"""Seconds for one call, connecting included."""

Request = TypeVar("Request")
Response = TypeVar("Response")


class ListRequest(Protocol):
    """What every List request has."""

    page_token: str


class ListResponse(Protocol):
    """What every List response has."""

    next_page_token: str


ListRequestT = TypeVar("ListRequestT", bound=ListRequest)
ListResponseT = TypeVar("ListResponseT", bound=ListResponse)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a client shows to the API's mTLS port: certificate (with intermediates, if any) and key, PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


class ApiClient:
    """One connection; thread-safe, blocking. Use it as a context manager, or `close` it.

    `endpoint` is host:port, `ca_pem` the CA of the server's certificate. The caller is known by `api_key`,
    the whole key (`ftc_…`), or by `certificate`; where there are both, the key decides. Make calls through
    `call` and `pages`, with the methods of the stubs below::

        with ApiClient("localhost:50051", api_key=key, ca_pem=pem) as api:
            device = api.call(api.devices.GetDevice, GetDeviceRequest(name=name))

    Stubs of the other services that the server has (health, reflection, channelz) can be made on `channel`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ca_pem: bytes,
        api_key: str | None = None,
        certificate: ClientCertificate | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        credentials = (
            grpc.ssl_channel_credentials(ca_pem)
            if certificate is None
            else grpc.ssl_channel_credentials(
                ca_pem, certificate.private_key_pem, certificate.certificate_pem
            )
        )
        self._channel = grpc.secure_channel(
            endpoint, credentials, options=[("grpc.max_receive_message_length", RPC_MESSAGE_MAX_BYTES)]
        )
        self.channel: grpc.Channel = self._channel
        if api_key is not None:
            self.channel = grpc.intercept_channel(self._channel, BearerKey(api_key))
        self.accounts: AccountServiceStub = AccountServiceStub(self.channel)
        self.trusted_certificates: TrustedCertificateServiceStub = TrustedCertificateServiceStub(self.channel)
        self.device_enrollments: DeviceEnrollmentServiceStub = DeviceEnrollmentServiceStub(self.channel)
        self.devices: DeviceServiceStub = DeviceServiceStub(self.channel)
        self.device_transfers: DeviceTransferServiceStub = DeviceTransferServiceStub(self.channel)
        self.ledger: LedgerServiceStub = LedgerServiceStub(self.channel)
        self.operations = OperationsStub(self.channel)

    def call(self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """The answer. Raises FtcError with the server's own reason, or API_UNREACHABLE if there was none."""
        return self._answer(method, request, self._timeout_s)

    def wait(self, method: grpc.UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """As `call`, however long it takes."""
        return self._answer(method, request, None)

    def upload(
        self,
        method: grpc.StreamUnaryMultiCallable[Request, Response],
        requests: Iterator[Request],
    ) -> Response:
        """The answer to a stream, however long that takes. Raises as `call`."""
        try:
            return method(requests)
        except grpc.RpcError as error:
            raise error_of(error, self._endpoint) from error

    def pages(
        self,
        method: grpc.UnaryUnaryMultiCallable[ListRequestT, ListResponseT],
        request: ListRequestT,
    ) -> Iterator[ListResponseT]:
        """Every page of a list from `request` on; its `page_token` is changed as they come."""
        while True:
            page = self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> Iterator[Response]:
        """Each answer of a stream as it comes, until it ends or the caller stops. Raises as `call`."""
        responses = method(request)
        try:
            yield from responses
        except grpc.RpcError as error:
            raise error_of(error, self._endpoint) from error
        finally:
            responses.cancel()  # type: ignore[no-untyped-call] # the stubs forget its type

    def _answer(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None,
    ) -> Response:
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_of(error, self._endpoint) from error

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def error_of(error: grpc.RpcError, endpoint: str) -> FtcError:
    """What the server said went wrong; API_UNREACHABLE for what is not the server's own word."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    told = None if status is None else error_of_status(status)
    if told is None:
        return FtcError(Reason.API_UNREACHABLE, f"{endpoint}: {error.code().name}: {error.details()}")
    return told


def error_of_status(status: Status) -> FtcError | None:
    """The refusal that a status stands for; None if it is not one of this server's."""
    info, bad_request, resource = ErrorInfo(), BadRequest(), ResourceInfo()
    for detail in status.details:
        for kind in (info, bad_request, resource):
            detail.Unpack(kind)
    if info.domain != ERROR_DOMAIN or info.reason not in Reason.__members__:
        return None
    return FtcError(
        Reason(info.reason),
        status.message,
        field=next((violation.field for violation in bad_request.field_violations), ""),
        resource=resource.resource_name,
        metadata=info.metadata,
    )
