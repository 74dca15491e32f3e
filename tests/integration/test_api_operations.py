"""google.longrunning.Operations: filters, waiting, the limit of an account, and the end of their time."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    Operation,
    WaitOperationRequest,
)
from google.protobuf.duration_pb2 import Duration

from ftc_core.application.bulk import BulkJobs
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.application.policy import Policy
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.bulk_pb2 import (
    BulkCreateDeviceEnrollmentsRequest,
    BulkDeleteDeviceEnrollmentsRequest,
    ReadBulkReportRequest,
)
from ftc_grpc.services import operations
from tests.api import Tenant, TestApi, running_api

DAY = timedelta(days=1)
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEPT_MAX = 3
CHUNK = 1_000_000
YEARS_10_000_S = 315_576_000_000
"""The longest duration there is (google/protobuf/duration.proto)."""
LONG = 100_000
"""Rows of an upload that is still under way while a test looks at it."""


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
    """An API whose operator lets an account keep few operations."""
    policy = Policy(operation_retention=2 * DAY, operations_max=KEPT_MAX)
    with running_api(tmp_path, clock, policy) as running:
        yield running


def start(
    tenant: Tenant, rows: int = 1, *, delete: bool = False, file: bytes = b"", request_id: str = ""
) -> Operation:
    """An upload, of new identities unless `file` has others."""
    identities = (format_enrollment_id(os.urandom(32)).encode() for _ in range(rows))
    file = file or b"id\n" + b"\n".join(identities)
    chunks = [file[at : at + CHUNK] for at in range(0, len(file), CHUNK)]
    stub = tenant.client.device_enrollments
    if delete:
        removing = [BulkDeleteDeviceEnrollmentsRequest(data=chunk) for chunk in chunks]
        return tenant.client.upload(stub.BulkDeleteDeviceEnrollments, iter(removing))
    pieces = [BulkCreateDeviceEnrollmentsRequest(data=chunk) for chunk in chunks]
    pieces[0].request_id = request_id
    return tenant.client.upload(stub.BulkCreateDeviceEnrollments, iter(pieces))


def wait(tenant: Tenant, operation: Operation, timeout: Duration | None = None) -> Operation:
    request = WaitOperationRequest(name=operation.name, timeout=timeout)
    found: Operation = tenant.client.call(tenant.client.operations.WaitOperation, request)
    return found


def listed(tenant: Tenant, **query: object) -> list[str]:
    request = ListOperationsRequest(**query)  # type: ignore[arg-type]
    pages = tenant.client.pages(tenant.client.operations.ListOperations, request)
    return [operation.name for page in pages for operation in page.operations]


def get(tenant: Tenant, operation: Operation) -> Operation:
    request = GetOperationRequest(name=operation.name)
    found: Operation = tenant.client.call(tenant.client.operations.GetOperation, request)
    return found


def delete(tenant: Tenant, operation: Operation) -> None:
    request = DeleteOperationRequest(name=operation.name)
    tenant.client.call(tenant.client.operations.DeleteOperation, request)


def cancel(tenant: Tenant, operation: Operation) -> None:
    request = CancelOperationRequest(name=operation.name)
    tenant.client.call(tenant.client.operations.CancelOperation, request)


def test_operations_are_filtered(tenant: Tenant, clock: Clock) -> None:
    created = wait(tenant, start(tenant)).name
    clock.now += DAY
    deleted = wait(tenant, start(tenant, delete=True)).name
    running = start(tenant, LONG)

    for query, expected in {
        "done = false": [running.name],
        "done = true": [created, deleted],
        "metadata.kind = DELETE": [deleted],
        "metadata.status = COMPLETED AND metadata.errors_count = 0": [created],
        "metadata.errors_count > 0": [deleted],
        "metadata.validate_only = true": [],
        f'metadata.created_at < "{clock.now.isoformat()}"': [created],
        "done = true AND metadata.completed_at >= 2026-11-24": [deleted],
    }.items():
        assert listed(tenant, filter=query, page_size=1) == expected, query
    cancel(tenant, running)


@pytest.mark.parametrize(
    "query", ["state = DONE", "done", "done = yes", "metadata.kind = create", "name = x", "kind = CREATE"]
)
def test_filter_that_is_not_understood_is_refused(api: TestApi, tenant: Tenant, query: str) -> None:
    stub = tenant.client.operations.ListOperations
    error = api.refused(tenant.client, stub, ListOperationsRequest(filter=query))

    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "filter")


def test_token_is_good_for_its_filter_alone(api: TestApi, tenant: Tenant) -> None:
    for _ in range(2):
        wait(tenant, start(tenant))
    stub = tenant.client.operations.ListOperations
    query = ListOperationsRequest(filter="done = true", page_size=1)
    query.page_token = tenant.client.call(stub, query).next_page_token
    query.filter = "done = false"

    assert api.refused(tenant.client, stub, query).reason is Reason.PAGE_TOKEN_INVALID


def test_wait_ends_with_its_timeout_or_with_the_operation(tenant: Tenant) -> None:
    running = start(tenant, LONG)
    started = time.monotonic()
    for timeout in (Duration(), Duration(nanos=50_000_000)):
        assert not wait(tenant, running, timeout).done
    assert 0.05 <= time.monotonic() - started < 5

    cancel(tenant, running)
    assert wait(tenant, running).done


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [
        *((-1, 0), (0, -1), (1, -1), (1, 10**9), (0, -(2**31))),
        *((-YEARS_10_000_S, 0), (YEARS_10_000_S + 1, 0), (2**63 - 1, 0), (-(2**63), 0)),
    ],
)
def test_wait_for_no_duration_is_refused(tenant: Tenant, seconds: int, nanos: int) -> None:
    timeout = Duration(seconds=seconds, nanos=nanos)
    request = WaitOperationRequest(name=start(tenant).name, timeout=timeout)
    with pytest.raises(FtcError) as caught:
        tenant.client.call(tenant.client.operations.WaitOperation, request)
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "timeout")


def test_wait_of_any_length_ends_at_the_longest_that_is_allowed(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "OPERATION_WAIT_MAX_S", 0.05)
    running = start(tenant, LONG)

    assert not wait(tenant, running, Duration(seconds=YEARS_10_000_S)).done
    cancel(tenant, running)


def test_operation_that_runs_is_not_deleted(tenant: Tenant) -> None:
    running = start(tenant, LONG)

    with pytest.raises(FtcError) as caught:
        delete(tenant, running)

    assert caught.value.reason is Reason.OPERATION_UNFINISHED
    assert not get(tenant, running).done
    cancel(tenant, running)
    delete(tenant, wait(tenant, running))
    assert listed(tenant) == []


def test_account_keeps_no_more_operations_than_the_operator_allows(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    kept = [wait(tenant, start(tenant)) for _ in range(KEPT_MAX)]

    for request_id in ("", str(uuid.uuid4())):
        with pytest.raises(FtcError) as caught:
            start(tenant, request_id=request_id)
        assert caught.value.reason is Reason.OPERATION_LIMIT_REACHED
        assert caught.value.metadata["operations_max"] == str(KEPT_MAX)
    assert listed(tenant) == [operation.name for operation in kept]
    assert len(list(api.bulk_directory.iterdir())) == KEPT_MAX, "nothing is left of what was refused"
    assert wait(other, start(other)).done
    delete(tenant, kept[0])
    assert wait(tenant, start(tenant)).done


def test_repeat_is_answered_at_the_limit_too(tenant: Tenant) -> None:
    file, request_id = b"id\n" + format_enrollment_id(os.urandom(32)).encode(), str(uuid.uuid4())
    first = wait(tenant, start(tenant, file=file, request_id=request_id))
    for _ in range(KEPT_MAX - 1):
        wait(tenant, start(tenant))

    assert start(tenant, file=file, request_id=request_id) == first


def test_operation_is_forgotten_with_its_file_and_reports_when_its_time_is_up(
    api: TestApi, tenant: Tenant, clock: Clock
) -> None:
    jobs = BulkJobs(api.context, BulkInputs(api.bulk_directory))
    old = wait(tenant, start(tenant))
    clock.now += DAY
    young = wait(tenant, start(tenant))
    clock.now += DAY - timedelta(microseconds=1)
    assert api.run(jobs.sweep()) == 0

    clock.now += timedelta(microseconds=1)
    assert api.run(jobs.sweep()) == 1

    assert listed(tenant) == [young.name]
    assert [entry.name for entry in api.bulk_directory.iterdir()] == [young.name.removeprefix("operations/")]
    report = ReadBulkReportRequest(name=old.name)
    with pytest.raises(FtcError) as caught:
        list(tenant.client.stream(tenant.client.device_enrollments.ReadBulkReport, report))
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    clock.now += 30 * DAY
    running = start(tenant, LONG)
    assert api.run(jobs.sweep()) == 1
    assert listed(tenant) == [running.name], "what runs is kept, however old"
    cancel(tenant, running)
