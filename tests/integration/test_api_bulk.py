"""Bulk uploads over a real channel: files in, operations, reports out."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
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
from ftc_core.domain.account import Role
from ftc_core.domain.identity import format_enrollment_id, parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.bulk_pb2 import (
    BulkCreateDeviceEnrollmentsRequest,
    BulkDeleteDeviceEnrollmentsRequest,
    BulkOperationMetadata,
    BulkOperationResult,
    ReadBulkReportRequest,
)
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi
from tests.instance import eventually

FULL, ERRORS = ReadBulkReportRequest.FULL, ReadBulkReportRequest.ERRORS
CREATE, DELETE = BulkCreateDeviceEnrollmentsRequest, BulkDeleteDeviceEnrollmentsRequest
CHUNK = 1 << 20


def identities(count: int) -> list[str]:
    return [format_enrollment_id(os.urandom(32)) for _ in range(count)]


def file_of(*lines: str | bytes, end: bytes = b"\n") -> bytes:
    """A CSV with a first line."""
    return b"".join(
        (line.encode() if isinstance(line, str) else line) + end for line in ("enrollment_id", *lines)
    )


def upload(
    client: ApiClient, file: bytes, kind: type = CREATE, chunk: int = CHUNK, **first: object
) -> Operation:
    def pieces() -> Iterator[object]:
        yield kind(**first)
        for start in range(0, len(file), chunk):
            yield kind(data=file[start : start + chunk])

    stub = client.device_enrollments
    method = stub.BulkCreateDeviceEnrollments if kind is CREATE else stub.BulkDeleteDeviceEnrollments
    return client.upload(method, pieces())


def metadata(operation: Operation) -> BulkOperationMetadata:
    found = BulkOperationMetadata()
    assert operation.metadata.Unpack(found)
    return found


def wait(client: ApiClient, operation: Operation) -> Operation:
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=20))
    done = client.call(client.operations.WaitOperation, request)
    assert done.done
    return done


def run(client: ApiClient, file: bytes, kind: type = CREATE, **first: object) -> Operation:
    return wait(client, upload(client, file, kind, **first))


def report(client: ApiClient, operation: Operation, kind: int = FULL) -> bytes:
    request = ReadBulkReportRequest(name=operation.name, report=kind)
    return b"".join(piece.data for piece in client.stream(client.device_enrollments.ReadBulkReport, request))


def rows(report: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(report.decode(), newline="")))[1:]


def listed(api: TestApi, tenant: Tenant) -> set[str]:
    with api.context.store.view() as view:
        found = view.list_enrollments(tenant.id, after=None, limit=100_000)
        assert view.count_enrollments(tenant.id) == len(found)
    return {format_enrollment_id(enrollment.fingerprint) for enrollment in found}


def counts(operation: Operation) -> tuple[int, int, int]:
    found = metadata(operation)
    return found.total_count, found.processed_count, found.errors_count


def refusal(client: ApiClient, file: bytes, kind: type = CREATE, **first: object) -> FtcError:
    with pytest.raises(FtcError) as caught:
        upload(client, file, kind, **first)
    return caught.value


def leftovers(api: TestApi) -> set[str]:
    """Inputs that belong to no job."""
    found = {entry.name for entry in api.bulk_directory.glob("*")}
    with api.context.store.view() as view:
        return {job_id for job_id in found if view.get_bulk_job(job_id) is None}


def test_every_row_of_a_good_file_is_enrolled_and_told(api: TestApi, tenant: Tenant) -> None:
    ids = identities(2_345)

    done = run(tenant.client, file_of(*ids))

    result = BulkOperationResult()
    assert done.response.Unpack(result)
    assert (result.processed_count, result.errors_count) == (2_345, 0)
    found = metadata(done)
    assert (found.parent, found.kind, found.status) == (
        *(tenant.name, BulkOperationMetadata.CREATE, BulkOperationMetadata.COMPLETED),
    )
    assert counts(done) == (2_345, 2_345, 0)
    assert found.completed_at.ToDatetime() >= found.created_at.ToDatetime()
    assert listed(api, tenant) == set(ids)
    full = rows(report(tenant.client, done))
    assert [row[0] for row in full] == ids
    with api.context.store.view() as view:
        stored = view.find_enrollments([parse_enrollment_id(row[0]) for row in full])
    for row, enrollment in zip(full, stored, strict=True):
        assert enrollment is not None
        assert row[1:] == [
            enrollment.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            *("", "", "", ""),
        ]
    assert rows(report(tenant.client, done, ERRORS)) == []


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("chunk", [1, 7, CHUNK])
def test_every_rule_of_the_grammar_holds_end_to_end(
    api: TestApi, tenant: Tenant, other: Tenant, end: bytes, chunk: int
) -> None:
    a, b, c, d, e, f, taken = identities(7)
    run(other.client, file_of(taken))
    lines: list[str | bytes] = [
        *(a, b.lower() + ",note", f'"{c}"', f'\t "{d}" \x00,"x'),
        *("", ",,,", " , x"),
        *(f'" {e}"', '""', "=cmd|' /C calc'!A0", b"\xff\xfe", f"{f[:-1]}", "B" + f[1:]),
        *(a, taken, "\x00" + e),
    ]
    file = b"\xef\xbb\xbf" + file_of(*lines, end=end) + f.encode()

    done = wait(tenant.client, upload(tenant.client, file, chunk=chunk))

    assert listed(api, tenant) == {a, b, c, d, e, f}
    assert counts(done) == (14, 14, 8)
    assert [(row[0], row[2], row[3], row[5]) for row in rows(report(tenant.client, done))] == [
        *((good, "", "", "") for good in (a, b, c, d)),
        (f'" {e}"', "400", "ENROLLMENT_ID_INVALID", "enrollment_identity"),
        ('""', "400", "ENROLLMENT_ID_INVALID", "enrollment_identity"),
        ("'=cmd|' /C calc'!A0", "400", "ENROLLMENT_ID_INVALID", "enrollment_identity"),
        ("\\xff\\xfe", "400", "ROW_NOT_UTF8", "enrollment_identity"),
        (f[:-1], "400", "ENROLLMENT_ID_INVALID", "enrollment_identity"),
        ("B" + f[1:], "400", "ENROLLMENT_ID_VERSION_UNSUPPORTED", "enrollment_identity"),
        (a, "409", "ENROLLMENT_ALREADY_EXISTS", ""),
        (taken, "409", "ENROLLMENT_ALREADY_EXISTS", ""),
        *((good, "", "", "") for good in (e, f)),
    ]
    assert len(rows(report(tenant.client, done, ERRORS))) == 8


def test_line_of_many_megabytes_is_one_failed_row(api: TestApi, tenant: Tenant) -> None:
    before, after = identities(2)
    done = run(tenant.client, file_of(before, b"x" * (20 << 20), after))

    assert listed(api, tenant) == {before, after}
    assert [row[3] for row in rows(report(tenant.client, done))] == ["", "ROW_TOO_LONG", ""]


@pytest.mark.parametrize("file", [b"", b"first line", b"first line\n", b"first line\n\n,\n\r"])
def test_file_without_rows_is_done_at_once(tenant: Tenant, file: bytes) -> None:
    done = run(tenant.client, file)

    assert counts(done) == (0, 0, 0)
    assert rows(report(tenant.client, done)) == []


def test_rows_are_taken_off_the_list(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    ids, [foreign, unknown] = identities(1_500), identities(2)
    run(tenant.client, file_of(*ids))
    run(other.client, file_of(foreign))

    done = run(tenant.client, file_of(*ids[:1_400], foreign, unknown, ids[0]), DELETE)

    assert (listed(api, tenant), listed(api, other)) == (set(ids[1_400:]), {foreign})
    assert counts(done) == (1_403, 1_403, 3)
    report_bytes = report(tenant.client, done)
    assert report_bytes.startswith(b'"entity__id","entity__deleted_at",')
    failed = rows(report(tenant.client, done, ERRORS))
    assert [(row[0], row[1], row[2]) for row in failed] == [
        (identity, "404", "RESOURCE_NOT_FOUND") for identity in (foreign, unknown, ids[0])
    ]


@pytest.mark.parametrize("kind", [CREATE, DELETE])
def test_validate_only_reports_and_changes_nothing(api: TestApi, tenant: Tenant, kind: type) -> None:
    standing, absent = identities(2)
    run(tenant.client, file_of(standing))
    revision = api.revision()

    done = run(tenant.client, file_of(standing, absent, "x"), kind, validate_only=True)

    assert api.revision() == revision
    refused = standing if kind is CREATE else absent
    assert [row[0] for row in rows(report(tenant.client, done, ERRORS))] == [refused, "x"]
    assert metadata(done).validate_only


def test_repeat_with_the_same_request_id_gets_the_first_operation(api: TestApi, tenant: Tenant) -> None:
    request_id, file = str(uuid.uuid4()), file_of(*identities(3))
    first = run(tenant.client, file, request_id=request_id)

    again = upload(tenant.client, file, chunk=10, request_id=request_id)

    assert again == first
    assert refusal(tenant.client, file + b"\n", request_id=request_id).reason is Reason.REQUEST_ID_REUSED
    assert (
        refusal(tenant.client, file, request_id=request_id, validate_only=True).reason
        is Reason.REQUEST_ID_REUSED
    )
    assert leftovers(api) == set()


def test_two_jobs_are_worked_on_at_once(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    mine, theirs = identities(4_000), identities(4_000)
    operations = [upload(tenant.client, file_of(*mine)), upload(other.client, file_of(*theirs))]

    done = [
        wait(client, operation)
        for client, operation in zip((tenant.client, other.client), operations, strict=True)
    ]

    assert (listed(api, tenant), listed(api, other)) == (set(mine), set(theirs))
    # The second began before the first had ended.
    assert metadata(done[1]).created_at.ToDatetime() < metadata(done[0]).completed_at.ToDatetime()


def test_cancelled_operation_keeps_what_is_done_and_does_no_more(api: TestApi, tenant: Tenant) -> None:
    client, ids = tenant.client, identities(20_000)
    operation = upload(client, file_of(*ids))

    client.call(client.operations.CancelOperation, CancelOperationRequest(name=operation.name))

    ended = wait(client, operation)
    assert ended.error.code == grpc.StatusCode.CANCELLED.value[0]
    total, processed, _ = counts(ended)
    assert (total, processed % 1_000) == (20_000, 0)
    assert processed < total
    time.sleep(0.1)
    assert listed(api, tenant) == set(ids[:processed])
    assert [row[0] for row in rows(report(client, ended))] == ids[:processed]


def test_operation_is_deleted_with_all_that_belongs_to_it(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    done = run(client, file_of(*identities(2)))

    client.call(client.operations.DeleteOperation, DeleteOperationRequest(name=done.name))

    refused = api.refused(client, client.operations.GetOperation, GetOperationRequest(name=done.name))
    assert refused.reason is Reason.RESOURCE_NOT_FOUND
    assert not (api.bulk_directory / done.name.removeprefix("operations/")).exists()


def test_operations_are_listed_in_pages_for_their_account(tenant: Tenant, other: Tenant) -> None:
    client = tenant.client
    made = [run(client, file_of(identity)) for identity in identities(3)]
    run(other.client, file_of(*identities(1)))

    first = client.call(client.operations.ListOperations, ListOperationsRequest(page_size=2))
    second = client.call(
        client.operations.ListOperations,
        ListOperationsRequest(name="operations", page_size=2, page_token=first.next_page_token),
    )

    assert [*first.operations, *second.operations] == made
    assert not second.next_page_token


def test_operations_of_others_are_not_found(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    done = run(tenant.client, file_of(*identities(1)))
    stub, name = other.client.operations, done.name

    for method, request in (
        (stub.GetOperation, GetOperationRequest(name=name)),
        (stub.WaitOperation, WaitOperationRequest(name=name)),
        (stub.CancelOperation, CancelOperationRequest(name=name)),
        (stub.DeleteOperation, DeleteOperationRequest(name=name)),
        (stub.ListOperations, ListOperationsRequest(name=tenant.name)),
    ):
        assert api.refused(other.client, method, request).reason is Reason.RESOURCE_NOT_FOUND
    with pytest.raises(FtcError) as caught:
        report(other.client, done)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    operator = api.client()
    assert operator.call(operator.operations.GetOperation, GetOperationRequest(name=name)) == done


def test_reader_may_look_but_not_upload(api: TestApi, tenant: Tenant) -> None:
    done = run(tenant.client, file_of(*identities(1)))
    reader = api.client(api.key(tenant.id, Role.READER))

    assert rows(report(reader, done))
    for kind in (CREATE, DELETE):
        assert refusal(reader, file_of(), kind).reason is Reason.PERMISSION_DENIED
    cancel = CancelOperationRequest(name=done.name)
    assert api.refused(reader, reader.operations.CancelOperation, cancel).reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("first", "reason", "field"),
    [
        ({"parent": "accounts/x"}, Reason.RESOURCE_NAME_INVALID, "parent"),
        ({"parent": "accounts/" + "0" * 32}, Reason.RESOURCE_NOT_FOUND, ""),
        ({"request_id": "x"}, Reason.FIELD_INVALID, "request_id"),
    ],
)
def test_bad_first_message_is_refused_before_the_file(
    api: TestApi, tenant: Tenant, first: dict[str, str], reason: Reason, field: str
) -> None:
    error = refusal(tenant.client, file_of(*identities(1)), **first)

    assert (error.reason, error.field) == (reason, field)
    assert leftovers(api) == set()


def test_stream_without_a_message_is_refused(tenant: Tenant) -> None:
    stub = tenant.client.device_enrollments
    with pytest.raises(FtcError) as caught:
        tenant.client.upload(stub.BulkCreateDeviceEnrollments, iter(()))

    assert caught.value.reason is Reason.FIELD_REQUIRED


def test_later_message_may_only_bring_data(api: TestApi, tenant: Tenant) -> None:
    stub = tenant.client.device_enrollments
    with pytest.raises(FtcError) as caught:
        tenant.client.upload(
            stub.BulkCreateDeviceEnrollments, iter([CREATE(), CREATE(validate_only=True, data=b"x")])
        )

    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "validate_only")
    assert leftovers(api) == set()


@pytest.mark.parametrize("name", ["", "operations/x", "accounts/1"])
def test_malformed_operation_name_is_refused(api: TestApi, tenant: Tenant, name: str) -> None:
    client = tenant.client
    refused = api.refused(client, client.operations.GetOperation, GetOperationRequest(name=name))

    assert refused.reason in (Reason.FIELD_REQUIRED, Reason.RESOURCE_NAME_INVALID)


def test_wait_gives_the_operation_as_it_is_when_time_is_up(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    operation = upload(client, file_of(*identities(30_000)))

    request = WaitOperationRequest(name=operation.name, timeout=Duration(nanos=1_000_000))
    still = client.call(client.operations.WaitOperation, request)

    assert not still.done
    with pytest.raises(FtcError) as caught:
        client.call(client.operations.DeleteOperation, DeleteOperationRequest(name=operation.name))
    assert caught.value.reason is Reason.OPERATION_UNFINISHED
    assert counts(wait(client, operation)) == (30_000, 30_000, 0)


def test_client_that_vanishes_mid_stream_leaves_nothing(api: TestApi, tenant: Tenant) -> None:
    revision, sent, leave = api.revision(), threading.Event(), threading.Event()

    def pieces() -> Iterator[BulkCreateDeviceEnrollmentsRequest]:
        yield CREATE()
        yield CREATE(data=file_of(*identities(100)))
        sent.set()
        leave.wait()

    client = api.client(tenant.api_key)
    call = client.device_enrollments.BulkCreateDeviceEnrollments.future(pieces())
    assert sent.wait(5)
    eventually(lambda: leftovers(api), "the upload is under way")

    call.cancel()
    leave.set()

    eventually(lambda: not leftovers(api), "the upload is gone")
    assert api.revision() == revision
    assert client.call(client.operations.ListOperations, ListOperationsRequest()).operations == []


def test_upload_over_the_limit_is_refused_and_leaves_nothing(api: TestApi, tenant: Tenant) -> None:
    jobs = BulkJobs(api.context, BulkInputs(api.bulk_directory, max_bytes=1_000))

    async def send(size: int) -> None:
        async with jobs.upload(tenant.id) as upload:
            await upload.write(b"x" * size)
            await upload.write(b"x")

    api.run(send(999))
    with pytest.raises(FtcError) as caught:
        api.run(send(1_000))

    assert (caught.value.reason, caught.value.field) == (Reason.UPLOAD_TOO_LARGE, "data")
    assert leftovers(api) == set()


def test_next_start_removes_what_an_upload_left(api: TestApi, tenant: Tenant, tmp_path: Path) -> None:
    orphan = tmp_path / "019a0c5e7b1d7c2e8f00112233445566"
    orphan.mkdir()
    (orphan / "input.csv").write_bytes(b"x")
    jobs = BulkJobs(api.context, BulkInputs(tmp_path))

    async def until_gone() -> None:
        running = asyncio.create_task(jobs.runner.run())
        while orphan.exists():  # noqa: ASYNC110 - a directory gives no sign
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])

    api.run(until_gone())
