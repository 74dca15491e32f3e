"""Every reason of the catalogue as a google.rpc.Status."""

from __future__ import annotations

from typing import TypeVar

import grpc
import pytest
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

from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_grpc.status import to_status

T = TypeVar("T", bound=Message)
DEVICE = f"accounts/{'a' * 32}/devices/{'b' * 32}"


def detail(status: Status, kind: type[T]) -> T:
    """The one detail of this kind. Raises StopIteration if there is none."""
    found = kind()
    next(packed for packed in status.details if packed.Unpack(found))
    return found


def kinds(status: Status) -> set[str]:
    return {packed.type_url.rpartition(".")[2] for packed in status.details}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_code_and_an_error_info(reason: Reason) -> None:
    status = to_status(FtcError(reason, "text"))

    number, _ = grpc.StatusCode[CATALOGUE[reason].grpc].value
    assert (status.code, status.message) == (number, "text")
    info = detail(status, ErrorInfo)
    assert (info.reason, info.domain) == (reason.value, "ftc")
    assert info.metadata["action"] == CATALOGUE[reason].action


def test_field_is_told_as_bad_request() -> None:
    status = to_status(FtcError(Reason.FIELD_INVALID, "too long", field="account.display_name"))

    violation = detail(status, BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("account.display_name", "too long")
    assert kinds(status) == {"ErrorInfo", "BadRequest"}


def test_missing_resource_is_told_with_its_type() -> None:
    info = detail(to_status(FtcError(Reason.RESOURCE_NOT_FOUND), DEVICE), ResourceInfo)

    assert (info.resource_type, info.resource_name) == ("ftc.dev/Device", DEVICE)


def test_resource_of_the_error_goes_before_that_of_the_request() -> None:
    error = FtcError(Reason.RESOURCE_NOT_FOUND, resource=f"accounts/{'c' * 32}")

    assert detail(to_status(error, DEVICE), ResourceInfo).resource_type == "ftc.dev/Account"


def test_exhausted_quota_failed_precondition_and_outage_have_their_details() -> None:
    quota = to_status(FtcError(Reason.QUOTA_REACHED), DEVICE)
    condition = to_status(FtcError(Reason.ETAG_MISMATCH), DEVICE)
    outage = to_status(FtcError(Reason.OVERLOADED, retry_after_s=2.5))

    assert detail(quota, QuotaFailure).violations[0].subject == DEVICE
    assert detail(condition, PreconditionFailure).violations[0].type == "ETAG_MISMATCH"
    assert detail(outage, RetryInfo).retry_delay.ToTimedelta().total_seconds() == 2.5


def test_refusal_of_a_caller_has_no_further_details() -> None:
    assert kinds(to_status(FtcError(Reason.CREDENTIALS_INVALID), DEVICE)) == {"ErrorInfo"}
