"""DeviceEnrollmentService over a real channel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.application.enrollments import expire_enrollments
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    GetDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from tests.api import Tenant, TestApi, running_api

FIELD = "device_enrollment.enrollment_identity"
SAMPLE = format_enrollment_id(bytes(range(32)))


def identity() -> str:
    return format_enrollment_id(os.urandom(32))


def enroll(
    enrollment_identity: str, *, parent: str = "", expires_at: datetime | None = None, **options: object
) -> CreateDeviceEnrollmentRequest:
    wanted = DeviceEnrollment(enrollment_identity=enrollment_identity)
    if expires_at is not None:
        wanted.expires_at.FromDatetime(expires_at)
    return CreateDeviceEnrollmentRequest(
        parent=parent,
        device_enrollment=wanted,
        **options,  # type: ignore[arg-type]
    )


def create(tenant: Tenant, request: CreateDeviceEnrollmentRequest) -> DeviceEnrollment:
    return tenant.client.call(tenant.client.device_enrollments.CreateDeviceEnrollment, request)


def get_request(name: str) -> GetDeviceEnrollmentRequest:
    return GetDeviceEnrollmentRequest(name=name)


def test_enrollment_is_created_and_read_back(api: TestApi, tenant: Tenant) -> None:
    wanted = identity()

    created = create(tenant, enroll(wanted))

    assert created.name == f"{tenant.name}/deviceEnrollments/{created.id}"
    assert created.account_id == tenant.id
    assert created.enrollment_identity == wanted
    assert created.enrolled_device_id == ""
    assert not created.HasField("expires_at")
    assert not created.HasField("claimed_at")
    client = tenant.client
    assert client.call(client.device_enrollments.GetDeviceEnrollment, get_request(created.name)) == created


def test_identity_in_lower_case_is_printed_in_upper_case(api: TestApi, tenant: Tenant) -> None:
    wanted = identity()

    assert create(tenant, enroll("a" + wanted[1:].lower())).enrollment_identity == wanted


def test_expiry_is_kept(api: TestApi, tenant: Tenant) -> None:
    moment = datetime.now(UTC) + timedelta(days=30)

    assert create(tenant, enroll(identity(), expires_at=moment)).expires_at.ToDatetime(tzinfo=UTC) == moment


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", Reason.FIELD_REQUIRED, "is required"),
        (
            "B" + SAMPLE[1:],
            Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED,
            "enrollment ID version 'B' is not supported; supported: A",
        ),
        (SAMPLE[:-3], Reason.ENROLLMENT_ID_INVALID, "has 92 characters"),
        (SAMPLE + ":AA", Reason.ENROLLMENT_ID_INVALID, "has 98 characters"),
        (SAMPLE[:-1] + "G", Reason.ENROLLMENT_ID_INVALID, "not 32 hex octets"),
        (SAMPLE.replace(":", "-"), Reason.ENROLLMENT_ID_INVALID, "not 32 hex octets"),
        (SAMPLE[2:], Reason.ENROLLMENT_ID_INVALID, "version letter"),
        (SAMPLE + "\n", Reason.ENROLLMENT_ID_INVALID, "has 96 characters"),
    ],
)
def test_malformed_identity_is_refused_by_its_reason(
    api: TestApi, tenant: Tenant, text: str, reason: Reason, message: str
) -> None:
    client = tenant.client

    error = api.refused(client, client.device_enrollments.CreateDeviceEnrollment, enroll(text))

    assert (error.reason, error.field) == (reason, FIELD)
    assert message in error.message


def test_missing_enrollment_is_named(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client

    error = api.refused(
        client, client.device_enrollments.CreateDeviceEnrollment, CreateDeviceEnrollmentRequest()
    )

    assert (error.reason, error.field) == (Reason.FIELD_REQUIRED, "device_enrollment")


@pytest.mark.parametrize("stamp", [Timestamp(seconds=1), Timestamp(seconds=2**60), Timestamp(nanos=-1)])
def test_expiry_that_has_passed_or_is_no_time_is_refused(
    api: TestApi, tenant: Tenant, stamp: Timestamp
) -> None:
    client = tenant.client
    request = enroll(identity())
    request.device_enrollment.expires_at.CopyFrom(stamp)

    error = api.refused(client, client.device_enrollments.CreateDeviceEnrollment, request)

    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "device_enrollment.expires_at")


def test_duplicate_never_says_who_holds_it(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    wanted = identity()
    create(tenant, enroll(wanted))

    errors = [
        api.refused(
            caller.client, caller.client.device_enrollments.CreateDeviceEnrollment, enroll(wanted.lower())
        )
        for caller in (tenant, other)
    ]

    assert {error.reason for error in errors} == {Reason.ENROLLMENT_ALREADY_EXISTS}
    mine, theirs = errors
    assert mine.message == theirs.message
    assert mine.resource == theirs.resource == wanted
    assert mine.metadata == theirs.metadata
    assert tenant.id not in f"{theirs.message} {theirs.resource} {theirs.metadata} {theirs.__cause__}"


def test_parent_that_is_malformed_or_another_s_is_refused(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    client = tenant.client
    method = client.device_enrollments.CreateDeviceEnrollment

    malformed = api.refused(client, method, enroll(identity(), parent="accounts/Mine"))
    foreign = api.refused(client, method, enroll(identity(), parent=other.name))

    assert (malformed.reason, malformed.field) == (Reason.RESOURCE_NAME_INVALID, "parent")
    assert "accounts/{account}" in malformed.message
    assert foreign.reason is Reason.RESOURCE_NOT_FOUND


def test_operator_enrolls_into_a_named_account(api: TestApi, tenant: Tenant) -> None:
    operator = api.client()
    method = operator.device_enrollments.CreateDeviceEnrollment

    assert operator.call(method, enroll(identity(), parent=tenant.name)).account_id == tenant.id
    nobody = api.refused(operator, method, enroll(identity(), parent="accounts/" + "0" * 32))
    assert nobody.reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("name", ["", "x", "accounts/1/deviceEnrollments/2", "accounts/{account}"])
def test_malformed_name_shows_the_form(api: TestApi, tenant: Tenant, name: str) -> None:
    client = tenant.client

    error = api.refused(client, client.device_enrollments.GetDeviceEnrollment, get_request(name))

    assert error.reason is (Reason.RESOURCE_NAME_INVALID if name else Reason.FIELD_REQUIRED)
    assert error.field == "name"
    assert "accounts/{account}/deviceEnrollments/{device_enrollment}" in error.message


def test_enrollment_of_another_account_is_not_found(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    theirs = create(other, enroll(identity()))
    client = tenant.client
    in_mine = theirs.name.replace(other.id, tenant.id)

    for name in (theirs.name, in_mine):
        read = api.refused(client, client.device_enrollments.GetDeviceEnrollment, get_request(name))
        delete = api.refused(
            client,
            client.device_enrollments.DeleteDeviceEnrollment,
            DeleteDeviceEnrollmentRequest(name=name),
        )
        assert read.reason is delete.reason is Reason.RESOURCE_NOT_FOUND


def test_deleted_enrollment_is_gone_and_its_identity_is_free(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    wanted = identity()
    created = create(tenant, enroll(wanted))
    client = tenant.client
    delete = DeleteDeviceEnrollmentRequest(name=created.name)

    client.call(client.device_enrollments.DeleteDeviceEnrollment, delete)

    again = api.refused(client, client.device_enrollments.DeleteDeviceEnrollment, delete)
    assert again.reason is Reason.RESOURCE_NOT_FOUND
    assert create(other, enroll(wanted)).account_id == other.id


def test_deletion_with_a_stale_etag_is_aborted(api: TestApi, tenant: Tenant) -> None:
    created = create(tenant, enroll(identity()))
    client = tenant.client
    method = client.device_enrollments.DeleteDeviceEnrollment

    for etag in ('"999999999"', "W/x", created.etag.strip('"')):
        stale = DeleteDeviceEnrollmentRequest(name=created.name, etag=etag)
        assert api.refused(client, method, stale).reason is Reason.ETAG_MISMATCH
    client.call(method, DeleteDeviceEnrollmentRequest(name=created.name, etag=created.etag))


def test_repeated_request_id_has_one_effect(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    request = enroll(identity(), request_id=str(uuid4()))
    created = create(tenant, request)

    request.request_id = request.request_id.upper()
    assert create(tenant, request) == created

    request.device_enrollment.enrollment_identity = identity()
    reused = api.refused(client, client.device_enrollments.CreateDeviceEnrollment, request)
    assert reused.reason is Reason.REQUEST_ID_REUSED

    deletion = DeleteDeviceEnrollmentRequest(name=created.name, request_id=str(uuid4()))
    client.call(client.device_enrollments.DeleteDeviceEnrollment, deletion)
    client.call(client.device_enrollments.DeleteDeviceEnrollment, deletion)


def test_request_id_of_another_caller_does_not_meet_mine(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    shared = str(uuid4())

    mine = create(tenant, enroll(identity(), request_id=shared))
    theirs = create(other, enroll(identity(), request_id=shared))

    assert mine.account_id != theirs.account_id


def test_validate_only_judges_and_changes_nothing(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    created = create(tenant, enroll(identity()))
    before = api.revision()

    create(tenant, enroll(identity(), validate_only=True))
    duplicate = enroll(created.enrollment_identity, validate_only=True)
    error = api.refused(client, client.device_enrollments.CreateDeviceEnrollment, duplicate)
    client.call(
        client.device_enrollments.DeleteDeviceEnrollment,
        DeleteDeviceEnrollmentRequest(name=created.name, validate_only=True),
    )

    assert error.reason is Reason.ENROLLMENT_ALREADY_EXISTS
    assert api.revision() == before
    assert client.call(client.device_enrollments.GetDeviceEnrollment, get_request(created.name)) == created


class Clock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed_api(tmp_path: Path, clock: Clock) -> Iterator[TestApi]:
    with running_api(tmp_path, clock) as running:
        yield running


def test_expired_enrollment_is_gone_at_once_and_swept_later(timed_api: TestApi, clock: Clock) -> None:
    tenant = timed_api.tenant()
    created = create(tenant, enroll(identity(), expires_at=clock.now + timedelta(hours=1)))
    lasting = create(tenant, enroll(identity()))
    client = tenant.client
    read = client.device_enrollments.GetDeviceEnrollment

    clock.now += timedelta(minutes=59)
    assert timed_api.run(expire_enrollments(timed_api.context)) == 0
    assert client.call(read, get_request(created.name)) == created

    clock.now += timedelta(minutes=1)
    assert timed_api.refused(client, read, get_request(created.name)).reason is Reason.RESOURCE_NOT_FOUND
    listed = client.call(client.device_enrollments.ListDeviceEnrollments, ListDeviceEnrollmentsRequest())
    assert list(listed.device_enrollments) == [lasting]
    assert timed_api.run(expire_enrollments(timed_api.context)) == 1
    assert timed_api.run(expire_enrollments(timed_api.context)) == 0
