"""Filters and orders of the List methods over a real channel, and their documentation."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftc_core.application import (
    accounts,
    api_keys,
    blocks,
    certificates,
    devices,
    enrollment_lists,
    transfers,
)
from ftc_core.domain.account import Role
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.account_service_pb2 import ListAccountsRequest, ListApiKeysRequest
from ftc_grpc._gen.ftc.v1.block_pb2 import ListBlocksRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import ListDeviceTransfersRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import ListTrustedCertificatesRequest
from tests.api import Tenant, TestApi

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "filtering.md"
FIELDS: Mapping[str, Collection[str]] = {
    "ListAccounts": accounts.FILTERS,
    "ListApiKeys": api_keys.FILTERS,
    "ListTrustedCertificates": certificates.FILTERS,
    "ListDeviceEnrollments": enrollment_lists.FILTERS,
    "ListDevices": devices.FILTERS,
    "ListBlocks": blocks.FILTERS,
    "ListDeviceTransfers": transfers.filters_for(account_id=""),
}


def fill(tenant: Tenant, count: int) -> list[DeviceEnrollment]:
    rows = [
        CreateDeviceEnrollmentRequest(
            device_enrollment=DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
        )
        for _ in range(count)
    ]
    client = tenant.client
    request = BatchCreateDeviceEnrollmentsRequest(requests=rows)
    answer = client.call(client.device_enrollments.BatchCreateDeviceEnrollments, request)
    return list(answer.device_enrollments)


def listed(tenant: Tenant, **query: Any) -> list[str]:
    """The IDs on all pages."""
    client = tenant.client
    pages = client.pages(
        client.device_enrollments.ListDeviceEnrollments, ListDeviceEnrollmentsRequest(**query)
    )
    return [enrollment.id for page in pages for enrollment in page.device_enrollments]


def test_enrollments_are_filtered_by_identity_state_and_time(tenant: Tenant) -> None:
    made = fill(tenant, 3)
    ids = [one.id for one in made]
    identity = made[1].enrollment_identity

    assert listed(tenant, filter=f"enrollment_identity = {identity}") == [ids[1]]
    assert listed(tenant, filter=f'enrollment_identity != "A-{identity[2:].lower()}"') == [ids[0], ids[2]]
    assert listed(tenant, filter="state = CLAIMED") == []
    assert listed(tenant, filter="state = WAITING AND created_at > 2020-01-01", page_size=1) == ids
    assert listed(tenant, filter=f"created_at > {datetime.now(UTC).isoformat()}") == []
    assert listed(tenant, filter="claimed_at:*") == listed(tenant, filter="enrolled_device_id:*") == []


def test_newest_come_first_page_by_page(tenant: Tenant) -> None:
    made = [enrollment.id for enrollment in fill(tenant, 5)]

    assert listed(tenant, order_by="id desc", page_size=2) == made[::-1]
    assert listed(tenant, order_by="created_at desc", page_size=2, filter="state = WAITING") == made[::-1]


def test_accounts_and_keys_are_filtered(api: TestApi, tenant: Tenant) -> None:
    operator = api.client()
    api.tenant("Filtered by its name")
    api.key(tenant.id, Role.READER)

    found = operator.call(
        operator.accounts.ListAccounts,
        ListAccountsRequest(filter='display_name = "Filtered by*" AND status = ACTIVE AND device_count = 0'),
    )
    readers = tenant.client.call(
        tenant.client.accounts.ListApiKeys, ListApiKeysRequest(filter="role = READER", order_by="id desc")
    )

    assert [account.display_name for account in found.accounts] == ["Filtered by its name"]
    assert len(readers.api_keys) == 1


def test_every_field_of_every_list_can_be_asked_for(api: TestApi) -> None:
    client = api.client()
    stubs: dict[str, tuple[Any, Any]] = {
        "ListAccounts": (client.accounts.ListAccounts, ListAccountsRequest),
        "ListApiKeys": (client.accounts.ListApiKeys, ListApiKeysRequest),
        "ListTrustedCertificates": (
            client.trusted_certificates.ListTrustedCertificates,
            ListTrustedCertificatesRequest,
        ),
        "ListDeviceEnrollments": (
            client.device_enrollments.ListDeviceEnrollments,
            ListDeviceEnrollmentsRequest,
        ),
        "ListDevices": (client.devices.ListDevices, ListDevicesRequest),
        "ListBlocks": (client.devices.ListBlocks, ListBlocksRequest),
        "ListDeviceTransfers": (client.device_transfers.ListDeviceTransfers, ListDeviceTransfersRequest),
    }
    for method, fields in FIELDS.items():
        stub, kind = stubs[method]
        for name in fields:
            client.call(stub, kind(filter=f"{name}:*"))


def test_token_is_good_for_its_filter_and_order_alone(api: TestApi, tenant: Tenant) -> None:
    fill(tenant, 3)
    client = tenant.client
    query = ListDeviceEnrollmentsRequest(page_size=1, filter="state = WAITING", order_by="id desc")
    query.page_token = client.call(client.device_enrollments.ListDeviceEnrollments, query).next_page_token

    for field, value in (("filter", ""), ("filter", "state = CLAIMED"), ("order_by", "")):
        other = ListDeviceEnrollmentsRequest()
        other.CopyFrom(query)
        setattr(other, field, value)
        error = api.refused(client, client.device_enrollments.ListDeviceEnrollments, other)
        assert error.reason is Reason.PAGE_TOKEN_INVALID
    client.call(client.device_enrollments.ListDeviceEnrollments, query)


def test_pages_hold_every_row_that_stays_while_others_come_and_go(api: TestApi, tenant: Tenant) -> None:
    staying = [enrollment.id for enrollment in fill(tenant, 50)]
    stop = threading.Event()
    writer = api.client(tenant.api_key)
    rounds = 0

    def churn() -> None:
        nonlocal rounds
        while not stop.is_set():
            for enrollment in fill(tenant, 5):
                request = DeleteDeviceEnrollmentRequest(name=enrollment.name)
                writer.call(writer.device_enrollments.DeleteDeviceEnrollment, request)
            rounds += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for order, expected in (("id", staying), ("id desc", staying[::-1])):
            for _ in range(4):
                seen = listed(tenant, page_size=7, order_by=order, filter="state = WAITING")
                assert len(seen) == len(set(seen)), "no row twice"
                assert [one for one in seen if one in staying] == expected
    finally:
        stop.set()
        thread.join()
    assert rounds > 0


def test_guide_names_the_fields_of_every_list() -> None:
    lines = GUIDE.read_text().splitlines()

    for method, fields in FIELDS.items():
        row = next(line for line in lines if line.startswith(f"| {method} |"))
        assert row.split("|")[2].replace("`", "").split() == list(fields)
