"""Enrollments that expire: the operator's default, the announcement, the end, and what watchers see."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from google.longrunning.operations_pb2 import Operation, WaitOperationRequest

from ftc_core.application.enrollments import announce_expiries, expire_enrollments
from ftc_core.application.policy import Policy
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkCreateDeviceEnrollmentsRequest, BulkOperationMetadata
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import DeviceEnrollmentEvent, WatchDeviceEnrollmentsRequest
from ftc_grpc.expiry import sweep_forever
from tests.api import Tenant, TestApi, running_api
from tests.instance import make_data_directory, running_instance

TTL = timedelta(days=30)
NOTICE = timedelta(hours=24)
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    """Wall time that tests move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(tmp_path: Path, clock: Clock) -> Iterator[TestApi]:
    """An API whose operator has set a time for enrollments."""
    with running_api(tmp_path, clock, Policy(enrollment_ttl=TTL, expiry_notice=NOTICE)) as running:
        yield running


def wanted(expires_at: datetime | None = None) -> DeviceEnrollment:
    enrollment = DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
    if expires_at is not None:
        enrollment.expires_at.FromDatetime(expires_at)
    return enrollment


def create(tenant: Tenant, expires_at: datetime | None = None) -> DeviceEnrollment:
    request = CreateDeviceEnrollmentRequest(device_enrollment=wanted(expires_at))
    return tenant.client.call(tenant.client.device_enrollments.CreateDeviceEnrollment, request)


def expiry(enrollment: DeviceEnrollment) -> datetime:
    return enrollment.expires_at.ToDatetime(UTC)


def upload(tenant: Tenant, expires_at: datetime | None = None, rows: int = 2) -> Operation:
    first = BulkCreateDeviceEnrollmentsRequest(
        data=b"id\n" + b"".join(format_enrollment_id(os.urandom(32)).encode() + b"\n" for _ in range(rows))
    )
    if expires_at is not None:
        first.expires_at.FromDatetime(expires_at)
    client = tenant.client
    made = client.upload(client.device_enrollments.BulkCreateDeviceEnrollments, iter([first]))
    done: Operation = client.call(client.operations.WaitOperation, WaitOperationRequest(name=made.name))
    assert done.done
    return done


def listed(tenant: Tenant) -> list[DeviceEnrollment]:
    stub = tenant.client.device_enrollments.ListDeviceEnrollments
    return list(tenant.client.call(stub, ListDeviceEnrollmentsRequest()).device_enrollments)


def test_default_of_the_settings_is_that_nothing_expires_and_a_day_s_notice() -> None:
    assert Policy.of(Settings()) == Policy()
    assert Policy.of(Settings(enrollment_ttl_s=60, enrollment_expiry_notice_s=0)) == Policy(
        enrollment_ttl=timedelta(seconds=60), expiry_notice=None
    )


def test_operator_s_default_is_for_those_alone_who_name_no_expiry(tenant: Tenant) -> None:
    named = START + timedelta(days=400)
    client = tenant.client
    rows = [CreateDeviceEnrollmentRequest(device_enrollment=wanted(at)) for at in (None, named)]
    batch = client.call(
        client.device_enrollments.BatchCreateDeviceEnrollments,
        BatchCreateDeviceEnrollmentsRequest(requests=rows),
    )

    assert expiry(create(tenant)) == START + TTL
    assert expiry(create(tenant, named)) == named
    assert [expiry(one) for one in batch.device_enrollments] == [START + TTL, named]


def test_repeat_gets_the_first_answer_though_the_default_has_moved_on(tenant: Tenant, clock: Clock) -> None:
    request = CreateDeviceEnrollmentRequest(device_enrollment=wanted(), request_id=str(uuid.uuid4()))
    stub = tenant.client.device_enrollments.CreateDeviceEnrollment
    first = tenant.client.call(stub, request)
    clock.now += timedelta(minutes=5)

    assert tenant.client.call(stub, request) == first


def test_upload_s_rows_expire_by_default_or_as_it_says(tenant: Tenant) -> None:
    named = START + timedelta(days=7)
    for expires_at, expected in ((None, START + TTL), (named, named)):
        metadata = BulkOperationMetadata()
        assert upload(tenant, expires_at).metadata.Unpack(metadata)
        assert metadata.expires_at.ToDatetime(UTC) == expected
    assert sorted(expiry(one) for one in listed(tenant)) == [named, named, START + TTL, START + TTL]


def test_upload_that_is_to_expire_in_the_past_is_refused(api: TestApi, tenant: Tenant) -> None:
    with pytest.raises(FtcError) as caught:
        upload(tenant, START)

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "expires_at")
    assert listed(tenant) == []
    assert list(api.bulk_directory.iterdir()) == []


def test_expiry_of_an_upload_belongs_into_its_first_message(tenant: Tenant) -> None:
    late = BulkCreateDeviceEnrollmentsRequest(data=b"x")
    late.expires_at.FromDatetime(START + TTL)
    with pytest.raises(FtcError) as caught:
        tenant.client.upload(
            tenant.client.device_enrollments.BulkCreateDeviceEnrollments,
            iter([BulkCreateDeviceEnrollmentsRequest(), late]),
        )

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "expires_at")


def test_watcher_is_told_before_expiry_once_and_at_expiry(api: TestApi, tenant: Tenant, clock: Clock) -> None:
    enrollment = create(tenant, START + timedelta(days=3))
    create(tenant)
    request = WatchDeviceEnrollmentsRequest(start_revision=api.revision() + 1)
    clock.now = START + timedelta(days=2) - timedelta(seconds=1)
    assert api.run(announce_expiries(api.context)) == 0
    clock.now += timedelta(seconds=1)
    announced = clock.now
    assert [api.run(announce_expiries(api.context)) for _ in range(2)] == [1, 0]
    clock.now = START + timedelta(days=3)
    assert api.run(announce_expiries(api.context)) == 0
    assert api.run(expire_enrollments(api.context)) == 1

    events: list[DeviceEnrollmentEvent] = []
    for response in tenant.client.stream(tenant.client.device_enrollments.WatchDeviceEnrollments, request):
        events += response.events
        if len(events) == 2:
            break
    assert [(event.kind, event.device_enrollment_name) for event in events] == [
        (DeviceEnrollmentEvent.EXPIRING, enrollment.name),
        (DeviceEnrollmentEvent.EXPIRED, enrollment.name),
    ]
    assert [event.occurred_at.ToDatetime(UTC) for event in events] == [announced, clock.now]
    assert not events[1].HasField("device_enrollment")


def test_without_a_notice_nothing_is_announced(tmp_path: Path, clock: Clock) -> None:
    with running_api(tmp_path, clock, Policy(expiry_notice=None)) as silent:
        create(silent.tenant(), START + timedelta(seconds=1))
        revision = silent.revision()

        assert silent.run(announce_expiries(silent.context)) == 0
        assert silent.revision() == revision


def test_sweep_announces_and_removes_by_itself(api: TestApi, tenant: Tenant, clock: Clock) -> None:
    enrollment = create(tenant, START + timedelta(hours=1))
    request = WatchDeviceEnrollmentsRequest(start_revision=api.revision() + 1)
    responses = tenant.client.stream(tenant.client.device_enrollments.WatchDeviceEnrollments, request)
    kinds = (event.kind for response in responses for event in response.events)

    async def start() -> asyncio.Task[NoReturn]:
        return asyncio.create_task(sweep_forever(api.context, 0.01))

    async def stop(sweeping: asyncio.Task[NoReturn]) -> None:
        sweeping.cancel()
        await asyncio.wait([sweeping])

    sweeping = api.run(start())
    try:
        assert next(kinds) == DeviceEnrollmentEvent.EXPIRING
        clock.now = START + timedelta(hours=1)
        assert next(kinds) == DeviceEnrollmentEvent.EXPIRED
    finally:
        api.run(stop(sweeping))
    assert enrollment.name not in [left.name for left in listed(tenant)]


def test_served_instance_goes_by_its_settings(tmp_path: Path) -> None:
    directory = make_data_directory(tmp_path / "data")
    (directory.root / "ftc.toml").write_text("enrollment_ttl_s = 3600\noperations_max = 1\n")
    with running_instance(directory) as instance:
        api, owner = instance.api, instance.tenant()
        request = CreateDeviceEnrollmentRequest(parent=owner.name, device_enrollment=wanted())
        made = api.call(api.device_enrollments.CreateDeviceEnrollment, request)
        assert expiry(made) - made.created_at.ToDatetime(UTC) == timedelta(hours=1)

        def upload_nothing() -> Operation:
            first = BulkCreateDeviceEnrollmentsRequest(parent=owner.name)
            return api.upload(api.device_enrollments.BulkCreateDeviceEnrollments, iter([first]))

        upload_nothing()
        with pytest.raises(FtcError) as caught:
            upload_nothing()
        assert caught.value.reason is Reason.OPERATION_LIMIT_REACHED
