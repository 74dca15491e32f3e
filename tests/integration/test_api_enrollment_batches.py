"""Batches of enrollments, and finding one by identity, over a real channel."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.application.context import utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
    LookupDeviceEnrollmentRequest,
)
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi

Row = CreateDeviceEnrollmentRequest


def identity() -> str:
    return format_enrollment_id(os.urandom(32))


def row(text: str | None = None, **fields: object) -> Row:
    wanted = DeviceEnrollment(enrollment_identity=identity() if text is None else text)
    return Row(device_enrollment=wanted, **fields)  # type: ignore[arg-type]


def batch(*rows: Row, **fields: object) -> BatchCreateDeviceEnrollmentsRequest:
    return BatchCreateDeviceEnrollmentsRequest(requests=rows, **fields)  # type: ignore[arg-type]


def create(client: ApiClient, request: BatchCreateDeviceEnrollmentsRequest) -> list[DeviceEnrollment]:
    answer = client.call(client.device_enrollments.BatchCreateDeviceEnrollments, request)
    return list(answer.device_enrollments)


def refused(api: TestApi, client: ApiClient, request: BatchCreateDeviceEnrollmentsRequest) -> FtcError:
    return api.refused(client, client.device_enrollments.BatchCreateDeviceEnrollments, request)


def listed(tenant: Tenant) -> list[DeviceEnrollment]:
    client = tenant.client
    pages = client.pages(
        client.device_enrollments.ListDeviceEnrollments, ListDeviceEnrollmentsRequest(page_size=1_000)
    )
    return [enrollment for page in pages for enrollment in page.device_enrollments]


def lookup(client: ApiClient, text: str, parent: str = "") -> DeviceEnrollment:
    request = LookupDeviceEnrollmentRequest(parent=parent, enrollment_identity=text)
    return client.call(client.device_enrollments.LookupDeviceEnrollment, request)


def test_batch_is_created_in_its_order(tenant: Tenant) -> None:
    expiry = Timestamp(seconds=4_000_000_000)
    last = Row(
        parent=tenant.name,
        device_enrollment=DeviceEnrollment(enrollment_identity=identity(), expires_at=expiry),
    )
    rows = [row(), row(), last]

    created = create(tenant.client, batch(*rows))

    assert [one.enrollment_identity for one in created] == [
        one.device_enrollment.enrollment_identity for one in rows
    ]
    assert created[-1].expires_at == expiry
    assert listed(tenant) == created


def test_thousand_rows_are_one_batch_and_one_more_is_none(api: TestApi, tenant: Tenant) -> None:
    rows = [row() for _ in range(1_001)]

    error = refused(api, tenant.client, batch(*rows))
    created = create(tenant.client, batch(*rows[:1_000]))

    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "requests")
    assert len(created) == 1_000
    assert listed(tenant) == created


def test_empty_batch_is_refused(api: TestApi, tenant: Tenant) -> None:
    error = refused(api, tenant.client, batch())

    assert (error.reason, error.field) == (Reason.FIELD_REQUIRED, "requests")


def test_identity_that_is_taken_stops_the_whole_batch(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    [taken] = create(other.client, batch(row()))
    twin = row()

    errors = [
        refused(api, tenant.client, batch(row(), row(), row(taken.enrollment_identity))),
        refused(api, tenant.client, batch(twin, row(), twin)),
    ]

    assert {(error.reason, error.field, error.metadata["index"]) for error in errors} == {
        (Reason.ENROLLMENT_ALREADY_EXISTS, "requests[2].device_enrollment.enrollment_identity", "2")
    }
    assert other.id not in errors[0].message
    assert listed(tenant) == []


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (Row(), Reason.FIELD_REQUIRED, "device_enrollment"),
        (row(""), Reason.FIELD_REQUIRED, "device_enrollment.enrollment_identity"),
        (row("x"), Reason.ENROLLMENT_ID_INVALID, "device_enrollment.enrollment_identity"),
        (row("B-00"), Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED, "device_enrollment.enrollment_identity"),
        (
            Row(
                device_enrollment=DeviceEnrollment(
                    enrollment_identity=identity(), expires_at=Timestamp(seconds=1)
                )
            ),
            Reason.FIELD_INVALID,
            "device_enrollment.expires_at",
        ),
        (row(parent="accounts/" + "0" * 32), Reason.FIELD_INVALID, "parent"),
        (row(request_id=str(uuid4())), Reason.FIELD_INVALID, "request_id"),
        (row(validate_only=True), Reason.FIELD_INVALID, "validate_only"),
    ],
)
def test_bad_row_is_named_with_its_index_and_nothing_is_kept(
    api: TestApi, tenant: Tenant, bad: Row, reason: Reason, field: str
) -> None:
    error = refused(api, tenant.client, batch(row(), bad, row("also bad")))

    assert (error.reason, error.field) == (reason, f"requests[1].{field}")
    assert error.metadata["index"] == "1"
    assert listed(tenant) == []


def test_repeated_batch_has_one_effect_and_a_validated_one_none(api: TestApi, tenant: Tenant) -> None:
    rows, once = [row(), row()], str(uuid4())
    assert len(create(tenant.client, batch(*rows, validate_only=True))) == 2
    assert listed(tenant) == []

    first = create(tenant.client, batch(*rows, request_id=once))

    assert create(tenant.client, batch(*rows, request_id=once)) == first
    reused = refused(api, tenant.client, batch(*rows[:1], request_id=once))
    assert reused.reason is Reason.REQUEST_ID_REUSED
    assert listed(tenant) == first


def test_reader_creates_no_batch_but_looks_up(api: TestApi, tenant: Tenant) -> None:
    [one] = create(tenant.client, batch(row()))
    reader = api.client(api.key(tenant.id, Role.READER))

    assert refused(api, reader, batch(row())).reason is Reason.PERMISSION_DENIED
    assert lookup(reader, one.enrollment_identity) == one


def test_enrollment_is_found_by_its_identity_in_either_case(api: TestApi, tenant: Tenant) -> None:
    one, _ = create(tenant.client, batch(row(), row()))
    text = one.enrollment_identity

    assert lookup(tenant.client, text) == one
    assert lookup(tenant.client, "A-" + text[2:].lower()) == one
    assert lookup(api.client(), text, parent=tenant.name) == one


def test_enrollment_of_another_account_looks_like_none(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    [one] = create(other.client, batch(row()))
    client = tenant.client
    texts = [one.enrollment_identity, identity()]

    errors = [
        api.refused(
            client,
            client.device_enrollments.LookupDeviceEnrollment,
            LookupDeviceEnrollmentRequest(enrollment_identity=text),
        )
        for text in texts
    ]

    assert {(error.reason, error.message) for error in errors} == {
        (Reason.RESOURCE_NOT_FOUND, "enrollment not found")
    }
    assert [error.resource for error in errors] == texts


def test_deleted_and_expired_enrollments_are_not_found(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    brief = row()
    brief.device_enrollment.expires_at.FromDatetime(utc_now() + timedelta(seconds=0.2))
    deleted, expired = create(client, batch(row(), brief))
    client.call(
        client.device_enrollments.DeleteDeviceEnrollment, DeleteDeviceEnrollmentRequest(name=deleted.name)
    )
    while utc_now() < expired.expires_at.ToDatetime(tzinfo=utc_now().tzinfo):
        pass

    for one in (deleted, expired):
        request = LookupDeviceEnrollmentRequest(enrollment_identity=one.enrollment_identity)
        error = api.refused(client, client.device_enrollments.LookupDeviceEnrollment, request)
        assert error.reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.FIELD_REQUIRED),
        ("x", Reason.ENROLLMENT_ID_INVALID),
        ("B-00", Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED),
    ],
)
def test_lookup_of_what_is_no_identity_names_the_field(
    api: TestApi, tenant: Tenant, text: str, reason: Reason
) -> None:
    client = tenant.client
    request = LookupDeviceEnrollmentRequest(enrollment_identity=text)

    error = api.refused(client, client.device_enrollments.LookupDeviceEnrollment, request)

    assert (error.reason, error.field) == (reason, "enrollment_identity")
