"""Times at the edge of the calendar, and what is none: each method takes them, or refuses them by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.application.enrollments import announce_expiries, expire_enrollments
from ftc_core.application.transfers import expire_transfers
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.account_pb2 import ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateApiKeyRequest, ListApiKeysRequest
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkCreateDeviceEnrollmentsRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    GetDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import CreateDeviceTransferRequest
from tests.api import Tenant, TestApi

FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799
"""The years 1 and 9999 (google/protobuf/timestamp.proto)."""
LAST = Timestamp(seconds=LAST_S, nanos=999_999_999)
NO_TIMES = [
    Timestamp(seconds=LAST_S + 1),
    Timestamp(seconds=FIRST_S - 1),
    Timestamp(seconds=2**63 - 1, nanos=2**31 - 1),
    Timestamp(seconds=-(2**63)),
    Timestamp(seconds=LAST_S, nanos=10**9),
    Timestamp(seconds=LAST_S, nanos=-1),
    Timestamp(seconds=FIRST_S, nanos=-1),
]
SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def some_identity() -> str:
    return format_enrollment_id(os.urandom(32))


def enrolled(at: Timestamp) -> DeviceEnrollment:
    return DeviceEnrollment(enrollment_identity=some_identity(), expires_at=at)


def create(tenant: Tenant, at: Timestamp) -> Any:
    request = CreateDeviceEnrollmentRequest(device_enrollment=enrolled(at))
    return tenant.client.call(tenant.client.device_enrollments.CreateDeviceEnrollment, request)


def open_from(tenant: Tenant, at: Timestamp) -> Any:
    wanted = DeviceEnrollment(enrollment_identity=some_identity(), claim_secret=SECRET, claim_not_before=at)
    request = CreateDeviceEnrollmentRequest(device_enrollment=wanted)
    return tenant.client.call(tenant.client.device_enrollments.CreateDeviceEnrollment, request)


def create_batch(tenant: Tenant, at: Timestamp) -> Any:
    request = BatchCreateDeviceEnrollmentsRequest(
        requests=[CreateDeviceEnrollmentRequest(device_enrollment=enrolled(at))]
    )
    return tenant.client.call(tenant.client.device_enrollments.BatchCreateDeviceEnrollments, request)


def create_bulk(tenant: Tenant, at: Timestamp) -> Any:
    piece = BulkCreateDeviceEnrollmentsRequest(expires_at=at, data=f"id\n{some_identity()}\n".encode())
    stub = tenant.client.device_enrollments.BulkCreateDeviceEnrollments
    return tenant.client.upload(stub, iter([piece]))


def create_key(tenant: Tenant, at: Timestamp) -> Any:
    wanted = ApiKey(display_name="Edge", role=ApiKey.READER, expires_at=at)
    return tenant.client.call(tenant.client.accounts.CreateApiKey, CreateApiKeyRequest(api_key=wanted))


def offer(tenant: Tenant, at: Timestamp) -> Any:
    request = CreateDeviceTransferRequest(
        device_transfer=DeviceTransfer(expires_at=at), devices=[f"{tenant.name}/devices/{'0' * 32}"]
    )
    return tenant.client.call(tenant.client.device_transfers.CreateDeviceTransfer, request)


METHODS: dict[str, Callable[[Tenant, Timestamp], Any]] = {
    "device_enrollment.expires_at": create,
    "device_enrollment.claim_not_before": open_from,
    "requests[0].device_enrollment.expires_at": create_batch,
    "expires_at": create_bulk,
    "api_key.expires_at": create_key,
    "device_transfer.expires_at": offer,
}
"""What sends a time, by the field that has it."""


@pytest.mark.parametrize("field", METHODS)
@pytest.mark.parametrize("at", NO_TIMES, ids=lambda at: f"{at.seconds}.{at.nanos}")
def test_what_is_no_time_is_refused_by_name(api: TestApi, tenant: Tenant, field: str, at: Timestamp) -> None:
    before = api.revision()
    with pytest.raises(FtcError) as caught:
        METHODS[field](tenant, at)

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, field)
    assert api.revision() == before


@pytest.mark.parametrize("field", [one for one in METHODS if one != "device_enrollment.claim_not_before"])
def test_first_moment_of_all_has_passed(tenant: Tenant, field: str) -> None:
    with pytest.raises(FtcError) as caught:
        METHODS[field](tenant, Timestamp(seconds=FIRST_S))

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, field)


@pytest.fixture
def swept(api: TestApi) -> Iterator[None]:
    """What looks at all that expires must cope with what was made."""
    yield
    for sweep in (announce_expiries, expire_enrollments, expire_transfers):
        api.run(sweep(api.context))


@pytest.mark.usefixtures("swept")
def test_last_moment_of_all_is_taken(api: TestApi, tenant: Tenant) -> None:
    enrollment = create(tenant, LAST)
    late, early = open_from(tenant, LAST), open_from(tenant, Timestamp(seconds=FIRST_S))
    [row] = create_batch(tenant, LAST).device_enrollments
    key = create_key(tenant, LAST).api_key
    create_bulk(tenant, LAST)

    last = datetime.max.replace(tzinfo=UTC)
    for one in (enrollment, row, key):
        assert one.expires_at.ToDatetime(tzinfo=UTC) == last
    assert late.claim_not_before.ToDatetime(tzinfo=UTC) == last
    assert early.claim_not_before.seconds == FIRST_S
    client = tenant.client
    for made in (enrollment, late, early):
        request = GetDeviceEnrollmentRequest(name=made.name)
        assert client.call(client.device_enrollments.GetDeviceEnrollment, request) == made
    by_time = ListDeviceEnrollmentsRequest(filter="expires_at >= 9999-12-31T23:59:59.999999Z")
    found = client.call(client.device_enrollments.ListDeviceEnrollments, by_time)
    assert {one.name for one in found.device_enrollments} >= {enrollment.name, row.name}
    keys = client.call(client.accounts.ListApiKeys, ListApiKeysRequest(filter="expires_at:*"))
    assert [one.name for one in keys.api_keys] == [key.name]


def test_offer_lasts_a_year_at_most(tenant: Tenant) -> None:
    with pytest.raises(FtcError) as caught:
        offer(tenant, LAST)

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "device_transfer.expires_at")
