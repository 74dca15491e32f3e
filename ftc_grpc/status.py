"""From an `FtcError` to what a gRPC client sees: a status code, a message and typed details (AIP-193)."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from ftc_core.errors import FtcError, Reason
from ftc_grpc.resource_names import (
    DEVICE,
    DEVICE_ENROLLMENT,
    DEVICE_TRANSFER,
    TRUSTED_CERTIFICATE,
    resource_type,
)

__all__ = ["ERROR_DOMAIN", "STATUS_DETAILS_KEY", "status_code", "to_status"]

ERROR_DOMAIN = "ftc"
"""`ErrorInfo.domain` of every error."""
STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a serialized google.rpc.Status."""
_RETRY_DELAY_DEFAULT_S = 1.0
"""Told to clients where waiting helps and the error names no delay of its own."""
_RESUMED = frozenset({Reason.CONSUMER_TOO_SLOW})
"""What is exhausted and yet free again at once."""
_ABOUT = {
    Reason.CERTIFICATE_ALREADY_EXISTS: TRUSTED_CERTIFICATE.type,
    Reason.DUPLICATE_ENDPOINT: DEVICE.type,
    Reason.ENROLLMENT_ALREADY_EXISTS: DEVICE_ENROLLMENT.type,
    Reason.TRANSFER_CODE_INVALID: DEVICE_TRANSFER.type,
}
"""Types of resources that are missing or in the way where the request is about another one, or its parent."""


def status_code(error: FtcError) -> grpc.StatusCode:
    """The gRPC code of an error's row in the catalogue."""
    return grpc.StatusCode[error.spec.grpc]


def to_status(error: FtcError, resource: str = "", account: str = "") -> Status:
    """The whole status.

    `resource` is the name that the request was about, and `account` that of the caller's account, for an
    error that names none itself. `ErrorInfo` always, its metadata holding the catalogue's advice under
    `action`; then `BadRequest` where a field is at fault, `ResourceInfo` for a resource that is missing or in
    the way, `QuotaFailure` of the account, `PreconditionFailure` and `RetryInfo` by code; `RetryInfo` also
    where the error says when.
    """
    code = status_code(error)
    name = error.resource or resource
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        name = name or account
    found: list[Message] = [
        ErrorInfo(
            reason=error.reason.value,
            domain=ERROR_DOMAIN,
            metadata={"action": error.spec.action, **error.metadata},
        )
    ]
    if error.field:
        violation = BadRequest.FieldViolation(
            field=error.field, description=error.message, reason=error.reason.value
        )
        found.append(BadRequest(field_violations=[violation]))
    found.extend(_details_of_code(code, error, name))
    number, _ = code.value
    return Status(code=number, message=error.message, details=[_packed(detail) for detail in found])


def _details_of_code(code: grpc.StatusCode, error: FtcError, name: str) -> list[Message]:
    match code:
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.ALREADY_EXISTS if error.reason in _ABOUT or name:
            return [_resource_info(error, name)]
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            quota = QuotaFailure.Violation(subject=name, description=error.message)
            failure = QuotaFailure(violations=[quota])
            if error.retry_after_s is None and error.reason not in _RESUMED:
                return [failure]  # it does not pass by itself
            return [failure, _retry_info(error)]
        case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.ABORTED:
            condition = PreconditionFailure.Violation(
                type=error.reason.value, subject=name, description=error.message
            )
            return [PreconditionFailure(violations=[condition])]
        case grpc.StatusCode.UNAVAILABLE:
            return [_retry_info(error)]
        case _:
            return []


def _resource_info(error: FtcError, name: str) -> ResourceInfo:
    if error.reason in _ABOUT:
        kind, name = _ABOUT[error.reason], error.resource
    else:
        kind = resource_type(name)
    return ResourceInfo(resource_type=kind, resource_name=name, description=error.message)


def _retry_info(error: FtcError) -> RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(round(1_000 * (error.retry_after_s or _RETRY_DELAY_DEFAULT_S)))
    return RetryInfo(retry_delay=delay)


def _packed(detail: Message) -> Any:
    wrapped = Any()
    wrapped.Pack(detail)
    return wrapped
