"""Every reason of the catalogue as a google.rpc.Status."""

from __future__ import annotations

import ast
from pathlib import Path
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
ACCOUNT = f"accounts/{'a' * 32}"
DEVICE = f"accounts/{'a' * 32}/devices/{'b' * 32}"


def detail(status: Status, kind: type[T]) -> T:
    """The one detail of this kind. Raises StopIteration if there is none."""
    found = kind()
    next(packed for packed in status.details if packed.Unpack(found))
    return found


def kinds(status: Status) -> set[str]:
    return {packed.type_url.rpartition(".")[2] for packed in status.details}


PLAIN = frozenset[str]()
FIELD = frozenset({"BadRequest"})
RESOURCE = frozenset({"ResourceInfo"})
CONDITION = frozenset({"PreconditionFailure"})
QUOTA = frozenset({"QuotaFailure"})
LATER = frozenset({"RetryInfo"})
DETAILS: dict[Reason, frozenset[str] | None] = {
    **dict.fromkeys(
        [
            Reason.ACCOUNT_ID_MALFORMED,
            Reason.CERTIFICATE_CHAIN_BROKEN,
            Reason.CERTIFICATE_EXPIRED,
            Reason.CERTIFICATE_KEY_UNSUPPORTED,
            Reason.CERTIFICATE_NOT_CA,
            Reason.CERTIFICATE_UNPARSEABLE,
            Reason.ENDPOINT_NAME_INVALID,
            Reason.ENDPOINT_NAME_TOO_LONG,
            Reason.ENROLLMENT_ID_INVALID,
            Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED,
            Reason.FIELD_INVALID,
            Reason.FIELD_REQUIRED,
            Reason.PAGE_TOKEN_INVALID,
            Reason.REQUEST_ID_REUSED,
            Reason.RESOURCE_NAME_INVALID,
            Reason.REVISION_AHEAD,
            Reason.REVISION_COMPACTED,
            Reason.TRANSFER_TO_SELF,
            Reason.UPLOAD_TOO_LARGE,
        ],
        FIELD,
    ),
    **dict.fromkeys(
        [
            Reason.CERTIFICATE_ALREADY_EXISTS,
            Reason.DUPLICATE_ENDPOINT,
            Reason.ENROLLMENT_ALREADY_EXISTS,
            Reason.RESOURCE_ALREADY_EXISTS,
            Reason.RESOURCE_NOT_FOUND,
            Reason.TRANSFER_CODE_INVALID,
        ],
        RESOURCE,
    ),
    **dict.fromkeys(
        [
            Reason.ACCOUNT_NOT_EMPTY,
            Reason.ACCOUNT_SUSPENDED,
            Reason.CA_NOT_IN_ACCOUNT,
            Reason.CERTIFICATE_BLOCKED,
            Reason.DEVICE_BLOCKED,
            Reason.ETAG_MISMATCH,
            Reason.INTERNAL_7,
            Reason.INTERNAL_8,
            Reason.LEDGER_NOT_VERIFIED,
            Reason.OPERATION_UNFINISHED,
            Reason.OWN_KEY,
            Reason.TRANSFER_DECIDED,
            Reason.TRANSFER_DEVICE_OFFERED,
            Reason.TRANSFER_EXPIRED,
            Reason.TRANSFER_OUTDATED,
            Reason.TRANSFER_WRONG_SIDE,
        ],
        CONDITION,
    ),
    Reason.INTERNAL_2: QUOTA,
    Reason.OPERATION_LIMIT_REACHED: QUOTA,
    Reason.QUOTA_REACHED: QUOTA,
    Reason.TRANSFER_LIMIT_REACHED: QUOTA,
    Reason.CONSUMER_TOO_SLOW: QUOTA | LATER,
    Reason.LEDGER_EXPORT_RUNNING: QUOTA | LATER,
    Reason.TRANSFER_CODE_LIMIT_REACHED: QUOTA | LATER,
    **dict.fromkeys([Reason.INTERNAL_1, Reason.INTERNAL_3, Reason.OVERLOADED, Reason.SHUTTING_DOWN], LATER),
    **dict.fromkeys(
        [
            Reason.CERTIFICATE_AMBIGUOUS,
            Reason.CERTIFICATE_NOT_MAPPED,
            Reason.CREDENTIALS_INVALID,
            Reason.CREDENTIALS_MISSING,
            Reason.INTERNAL_4,
            Reason.INTERNAL_5,
            Reason.INTERNAL_6,
            Reason.INTERNAL_9,
            Reason.INTERNAL_10,
            Reason.METHOD_UNKNOWN,
            Reason.OPERATION_CANCELLED,
            Reason.PERMISSION_DENIED,
            Reason.REQUEST_MALFORMED,
        ],
        PLAIN,
    ),
    # Met by devices, in rows of an upload, or on the operator's own machine.
    **dict.fromkeys(
        [
            Reason.ACCEPT_UNSUPPORTED,
            Reason.API_UNREACHABLE,
            Reason.BACKUP_DAMAGED,
            Reason.BACKUP_EXISTS,
            Reason.BACKUP_INCOMPATIBLE,
            Reason.BOOTSTRAP_REQUIRED,
            Reason.BUNDLE_INVALID,
            Reason.CA_NOT_UPLOADED,
            Reason.CERTIFICATE_NOT_REQUESTED,
            Reason.CLAIM_PROOF_INVALID,
            Reason.CLAIM_PROOF_REQUIRED,
            Reason.CLAIM_SECRET_MISSING,
            Reason.CLAIM_TOO_EARLY,
            Reason.CONTENT_FORMAT_UNSUPPORTED,
            Reason.CREDENTIALS_RELEASED,
            Reason.DATA_DIRECTORY_INCOMPATIBLE,
            Reason.DATA_DIRECTORY_IN_USE,
            Reason.DATA_DIRECTORY_MISSING,
            Reason.DEVICE_REFUSED,
            Reason.DISK_FULL,
            Reason.ENDPOINT_NAME_MISMATCH,
            Reason.ENDPOINT_NAME_MISSING,
            Reason.ENROLLMENT_NOT_FOUND,
            Reason.FILE_EXISTS,
            Reason.FILE_UNREADABLE,
            Reason.HANDSHAKE_FAILED,
            Reason.INSTANCE_NOT_WHOLE,
            Reason.LIFETIME_INVALID,
            Reason.METHOD_NOT_ALLOWED,
            Reason.OPTION_NOT_UNDERSTOOD,
            Reason.PATH_NOT_FOUND,
            Reason.PORT_IN_USE,
            Reason.PROXYING_NOT_SUPPORTED,
            Reason.REGISTRATION_NOT_FOUND,
            Reason.REQUEST_INCOMPLETE,
            Reason.REQUEST_TOO_LARGE,
            Reason.RESTORE_TARGET_NOT_EMPTY,
            Reason.ROW_NOT_UTF8,
            Reason.ROW_TOO_LONG,
            Reason.SERVER_CA_EXPIRED,
            Reason.SETTING_INVALID,
            Reason.SIGNING_REQUEST_INVALID,
        ],
        None,
    ),
}
"""What each reason's status holds beside ErrorInfo; None: no caller of the API meets it."""
DELAYED = {Reason.LEDGER_EXPORT_RUNNING, Reason.TRANSFER_CODE_LIMIT_REACHED}
"""Reasons whose errors always say when to come again."""
ROOT = Path(__file__).parents[2]
BY_DEVICES = {"ftc_core/storage/lmdb/tables.py"}
"""Where names are refused that no caller of the API has sent."""


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_code_and_an_error_info(reason: Reason) -> None:
    status = to_status(FtcError(reason, "text"))

    number, _ = grpc.StatusCode[CATALOGUE[reason].grpc].value
    assert (status.code, status.message) == (number, "text")
    info = detail(status, ErrorInfo)
    assert (info.reason, info.domain) == (reason.value, "ftc")
    assert info.metadata["action"] == CATALOGUE[reason].action


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_the_details_that_say_more(reason: Reason) -> None:
    details = DETAILS[reason]
    if details is None:
        return
    error = FtcError(
        reason,
        field="field" if "BadRequest" in details else "",
        retry_after_s=7 if reason in DELAYED else None,
    )

    assert kinds(to_status(error, DEVICE, ACCOUNT)) == {"ErrorInfo", *details}


def test_every_refusal_of_a_field_names_it() -> None:
    """Wherever the API can get it from, by reading the code: what a call of FtcError says."""
    unnamed, seen = [], 0
    for room in ("ftc_core/application", "ftc_core/domain", "ftc_core/storage", "ftc_grpc"):
        for path in (ROOT / room).rglob("*.py"):
            place = str(path.relative_to(ROOT))
            if (
                "_gen" in path.parts
                or place.startswith(("ftc_grpc/cli", "ftc_grpc/demo"))
                or place in BY_DEVICES
            ):
                continue
            for call in ast.walk(ast.parse(path.read_text())):
                match call:
                    case ast.Call(
                        func=ast.Name(id="FtcError"),
                        args=[ast.Attribute(value=ast.Name(id="Reason"), attr=name), *_],
                        keywords=keywords,
                    ) if DETAILS[Reason[name]] == FIELD:
                        seen += 1
                        if "field" not in {keyword.arg for keyword in keywords}:
                            unnamed.append(f"{place}:{call.lineno} {name}")
    # Accepting one's own offer is refused in the store, which knows no fields; the use case adds it.
    assert [one.partition(":")[0] for one in unnamed] == ["ftc_core/storage/lmdb/transfers.py"] * 2
    assert seen > 50


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


def test_resource_in_the_way_is_told_and_not_the_one_that_the_request_names() -> None:
    identity = "A-" + ":".join(["0F"] * 32)
    taken = detail(
        to_status(FtcError(Reason.ENROLLMENT_ALREADY_EXISTS, resource=identity), ACCOUNT), ResourceInfo
    )
    named = detail(to_status(FtcError(Reason.DUPLICATE_ENDPOINT), DEVICE), ResourceInfo)
    code = detail(to_status(FtcError(Reason.TRANSFER_CODE_INVALID)), ResourceInfo)

    assert (taken.resource_type, taken.resource_name) == ("ftc.dev/DeviceEnrollment", identity)
    assert (named.resource_type, named.resource_name) == ("ftc.dev/Device", "")
    assert (code.resource_type, code.resource_name) == ("ftc.dev/DeviceTransfer", "")


def test_exhausted_quota_failed_precondition_and_outage_have_their_details() -> None:
    quota = to_status(FtcError(Reason.QUOTA_REACHED), DEVICE)
    own = to_status(FtcError(Reason.LEDGER_EXPORT_RUNNING, retry_after_s=5), "", ACCOUNT)
    condition = to_status(FtcError(Reason.ETAG_MISMATCH), DEVICE)
    outage = to_status(FtcError(Reason.OVERLOADED, retry_after_s=2.5))

    assert detail(quota, QuotaFailure).violations[0].subject == DEVICE
    assert detail(own, QuotaFailure).violations[0].subject == ACCOUNT
    assert detail(condition, PreconditionFailure).violations[0].type == "ETAG_MISMATCH"
    assert detail(outage, RetryInfo).retry_delay.ToTimedelta().total_seconds() == 2.5


def test_refusal_of_a_caller_has_no_further_details() -> None:
    assert kinds(to_status(FtcError(Reason.CREDENTIALS_INVALID), DEVICE)) == {"ErrorInfo"}
