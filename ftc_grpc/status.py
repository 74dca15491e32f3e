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

from ftc_core.errors import FtcError
from ftc_grpc.resource_names import resource_type

__all__ = ["ERROR_DOMAIN", "STATUS_DETAILS_KEY", "status_code", "to_status"]

ERROR_DOMAIN = "ftc"
"""`ErrorInfo.domain` of every error."""
STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a serialized google.rpc.Status."""
_RETRY_DELAY_DEFAULT_S = 1.0
"""Told to clients of an unavailable server that named no delay of its own."""


def status_code(error: FtcError) -> grpc.StatusCode:
    """The gRPC code of an error's row in the catalogue."""
    return grpc.StatusCode[error.spec.grpc]


def to_status(error: FtcError, resource: str = "") -> Status:
    """The whole status. `resource` is the name that the request was about, if the error names none itself.

    `ErrorInfo` always, its metadata holding the catalogue's advice under `action`; then `BadRequest` where a
    field is at fault, `ResourceInfo` for a resource that is missing or in the way, `QuotaFailure`,
    `PreconditionFailure` and `RetryInfo` by code; `RetryInfo` also where the error says when.
    """
    code = status_code(error)
    name = error.resource or resource
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
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.ALREADY_EXISTS if name:
            return [
                ResourceInfo(resource_type=resource_type(name), resource_name=name, description=error.message)
            ]
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            quota = QuotaFailure.Violation(subject=name, description=error.message)
            failure = QuotaFailure(violations=[quota])
            return [failure] if error.retry_after_s is None else [failure, _retry_info(error.retry_after_s)]
        case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.ABORTED:
            condition = PreconditionFailure.Violation(
                type=error.reason.value, subject=name, description=error.message
            )
            return [PreconditionFailure(violations=[condition])]
        case grpc.StatusCode.UNAVAILABLE:
            return [_retry_info(error.retry_after_s or _RETRY_DELAY_DEFAULT_S)]
        case _:
            return []


def _retry_info(delay_s: float) -> RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(round(1_000 * delay_s))
    return RetryInfo(retry_delay=delay)


def _packed(detail: Message) -> Any:
    wrapped = Any()
    wrapped.Pack(detail)
    return wrapped
