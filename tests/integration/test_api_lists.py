"""Pages, tokens, filters and orders, the same for every List method."""

from __future__ import annotations

import os

import pytest

from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.account_service_pb2 import ListAccountsRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import ListTrustedCertificatesRequest
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi

Request = ListDeviceEnrollmentsRequest


def fill(tenant: Tenant, count: int) -> list[str]:
    """The IDs of `count` fresh enrollments."""
    client = tenant.client
    return [
        client.call(
            client.device_enrollments.CreateDeviceEnrollment,
            CreateDeviceEnrollmentRequest(
                device_enrollment=DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
            ),
        ).id
        for _ in range(count)
    ]


def ids(client: ApiClient, request: Request) -> tuple[list[str], str, int | None]:
    page = client.call(client.device_enrollments.ListDeviceEnrollments, request)
    total = page.total_size if page.HasField("total_size") else None
    return [enrollment.id for enrollment in page.device_enrollments], page.next_page_token, total


def test_pages_follow_each_other_without_gap_or_overlap(api: TestApi, tenant: Tenant) -> None:
    made = fill(tenant, 5)

    first, token, _ = ids(tenant.client, Request(page_size=2))
    second, token, _ = ids(tenant.client, Request(page_size=2, page_token=token))
    last, end, _ = ids(tenant.client, Request(page_size=4, page_token=token))

    assert first + second + last == made
    assert end == ""


def test_full_last_page_has_no_token(api: TestApi, tenant: Tenant) -> None:
    made = fill(tenant, 2)

    assert ids(tenant.client, Request(page_size=2)) == (made, "", None)


def test_row_created_between_pages_is_seen_and_one_deleted_does_no_harm(api: TestApi, tenant: Tenant) -> None:
    made = fill(tenant, 2)
    _, token, _ = ids(tenant.client, Request(page_size=1))

    made += fill(tenant, 1)

    assert ids(tenant.client, Request(page_token=token))[0] == made[1:]


def test_size_is_50_by_default_and_clamped_at_1000(api: TestApi, tenant: Tenant) -> None:
    fill(tenant, 51)

    assert len(ids(tenant.client, Request())[0]) == 50
    assert len(ids(tenant.client, Request(page_size=2**31 - 1))[0]) == 51


def test_total_is_told_if_asked_for(api: TestApi, tenant: Tenant) -> None:
    assert ids(tenant.client, Request(include_total_size=True)) == ([], "", 0)
    fill(tenant, 3)

    _, _, total = ids(tenant.client, Request(page_size=1, include_total_size=True))
    assert total == 3


def test_token_of_another_list_or_account_or_of_nobody_is_refused(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    fill(tenant, 2)
    _, token, _ = ids(tenant.client, Request(page_size=1))
    client, operator = tenant.client, api.client()

    errors = [
        api.refused(
            other.client,
            other.client.device_enrollments.ListDeviceEnrollments,
            Request(page_token=token),
        ),
        api.refused(client, client.devices.ListDevices, ListDevicesRequest(page_token=token)),
        *(
            api.refused(
                operator,
                operator.device_enrollments.ListDeviceEnrollments,
                Request(parent=tenant.name, page_token=bad),
            )
            for bad in ("x", "é", token[:-1], token + "A", token.swapcase(), "A" * 43)
        ),
    ]

    assert {(error.reason, error.field) for error in errors} == {(Reason.PAGE_TOKEN_INVALID, "page_token")}


def test_token_serves_whoever_may_see_the_same_list(api: TestApi, tenant: Tenant) -> None:
    made = fill(tenant, 2)
    _, token, _ = ids(tenant.client, Request(page_size=1))

    assert ids(api.client(), Request(parent=tenant.name, page_token=token))[0] == made[1:]


@pytest.mark.parametrize("order", ["id", "id asc", "  id   asc ", "created_at"])
def test_default_order_may_be_named(api: TestApi, tenant: Tenant, order: str) -> None:
    made = fill(tenant, 2)

    assert ids(tenant.client, Request(order_by=order))[0] == made


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"filter": "nonsense = x"}, "filter"),
        ({"filter": "created_at"}, "filter"),
        ({"filter": "created_at > soon"}, "filter"),
        ({"filter": "created_at:* OR created_at:*"}, "filter"),
        ({"order_by": "enrollment_identity"}, "order_by"),
        ({"order_by": "display_name desc"}, "order_by"),
        ({"order_by": "id desc desc"}, "order_by"),
        ({"order_by": "id down"}, "order_by"),
        ({"order_by": "id, created_at"}, "order_by"),
    ],
)
def test_what_is_not_served_is_refused_by_every_list(
    api: TestApi, fields: dict[str, object], field: str
) -> None:
    operator = api.client()

    errors = [
        api.refused(operator, operator.accounts.ListAccounts, ListAccountsRequest(**fields)),  # type: ignore[arg-type]
        api.refused(
            operator,
            operator.trusted_certificates.ListTrustedCertificates,
            ListTrustedCertificatesRequest(**fields),  # type: ignore[arg-type]
        ),
        api.refused(
            operator,
            operator.device_enrollments.ListDeviceEnrollments,
            ListDeviceEnrollmentsRequest(**fields),  # type: ignore[arg-type]
        ),
        api.refused(operator, operator.devices.ListDevices, ListDevicesRequest(**fields)),  # type: ignore[arg-type]
    ]

    assert {(error.reason, error.field) for error in errors} == {(Reason.FIELD_INVALID, field)}


def test_list_of_an_account_that_does_not_exist_is_not_found(api: TestApi) -> None:
    operator = api.client()
    parent = "accounts/" + "0" * 32

    error = api.refused(operator, operator.devices.ListDevices, ListDevicesRequest(parent=parent))

    assert (error.reason, error.resource) == (Reason.RESOURCE_NOT_FOUND, parent)
