"""A bulk job outlives the server: killed in the middle, it ends with the reports of an unbroken run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import GetOperationRequest, Operation

from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import View
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkDeleteDeviceEnrollmentsRequest
from tests.instance import Instance, eventually, make_data_directory, running_instance
from tests.integration.test_api_bulk import (
    ERRORS,
    FULL,
    counts,
    file_of,
    identities,
    report,
    rows,
    upload,
    wait,
)

ROWS = 20_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """An instance that the test may break."""
    with running_instance(make_data_directory(tmp_path / "data")) as running:
        yield running


@contextmanager
def stored(instance: Instance) -> Iterator[View]:
    """What is on disk, whether or not the API runs."""
    store = open_store(f"lmdb://{instance.directory.store.absolute()}", read_only=True)
    with store.view() as view:
        yield view
    store.close()


def kill_api_within(instance: Instance, operation: Operation) -> None:
    """SIGKILL while the job is under way; returns once the API's successor serves."""
    before = instance.processes()["api"]
    os.kill(before, signal.SIGKILL)
    with stored(instance) as view:
        job = view.get_bulk_job(operation.name.removeprefix("operations/"))
    eventually(lambda: instance.processes()["api"] != before, "the API is restarted")
    instance.reconnect()
    assert job is not None
    assert 0 < job.processed_count < job.total_count


def get(instance: Instance, operation: Operation) -> Operation:
    return instance.api.call(instance.api.operations.GetOperation, GetOperationRequest(name=operation.name))


def without_times(table: list[list[str]]) -> list[list[str]]:
    return [[row[0], str(bool(row[1])), *row[2:]] for row in table]


def assert_times_are_those_of_the_enrollments(instance: Instance, full: list[list[str]]) -> None:
    good = [row for row in full if row[1]]
    with stored(instance) as view:
        enrollments = view.find_enrollments([parse_enrollment_id(row[0]) for row in good])
    for row, enrollment in zip(good, enrollments, strict=True):
        assert enrollment is not None
        assert row[1] == enrollment.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_job_killed_in_the_middle_resumes_and_reports_as_an_unbroken_one(own: Instance) -> None:
    tenant, ids = own.tenant(), identities(ROWS)
    lines = [f"{one},note {number}" for number, one in enumerate(ids)]
    lines[10::1_000] = ["=bad", *lines[1_010::1_000]]  # a malformed one
    lines[5_000::3_000] = [ids[0]] * len(lines[5_000::3_000])  # and identities that stand already
    file = file_of(*lines, end=b"\r\n")

    operation = upload(own.api, file, parent=tenant.name)
    eventually(lambda: counts(get(own, operation))[1], "the job is under way")
    kill_api_within(own, operation)
    broken = wait(own.api, operation)
    broken_full, broken_errors = rows(report(own.api, broken)), rows(report(own.api, broken, ERRORS))
    assert_times_are_those_of_the_enrollments(own, broken_full)

    removed = wait(own.api, upload(own.api, file, BulkDeleteDeviceEnrollmentsRequest, parent=tenant.name))
    again = wait(own.api, upload(own.api, file, parent=tenant.name))

    assert counts(removed) == counts(broken) == counts(again)
    assert counts(broken)[:2] == (ROWS, ROWS)
    assert without_times(broken_full) == without_times(rows(report(own.api, again, FULL)))
    assert broken_errors == rows(report(own.api, again, ERRORS))
    assert len(broken_errors) == counts(broken)[2] > 1
