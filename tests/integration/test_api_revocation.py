"""A credential that no longer holds ends the calls that run under it, at once and no others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from queue import Queue

import grpc
import pytest
from google.longrunning.operations_pb2 import WaitOperationRequest

from ftc_core.application.context import Committer, utc_now
from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.bulk_commands import AdvanceBulkJob
from ftc_core.storage.commands import Outcome, Submission
from ftc_grpc._gen.ftc.v1 import bulk_pb2
from ftc_grpc._gen.ftc.v1.account_pb2 import ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    DeleteAccountRequest,
    DeleteApiKeyRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDeviceEnrollmentsRequest, WatchDevicesRequest
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi, running_api
from tests.instance import eventually

PATIENCE_S = 5.0


class Following:
    """A stream that a thread reads: how it begins, and how it ends."""

    def __init__(self, responses: Iterator[object]) -> None:
        self._responses = responses
        self.begun = threading.Event()
        self._end: Queue[FtcError | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for _ in self._responses:
                self.begun.set()
        except FtcError as error:
            self._end.put(error)
        else:
            self._end.put(None)

    def end(self) -> FtcError | None:
        return self._end.get(timeout=PATIENCE_S)

    def runs(self) -> bool:
        return self._end.empty()


def create_key(tenant: Tenant, expires_at: datetime | None = None) -> CreateApiKeyResponse:
    wanted = ApiKey(role=ApiKey.ADMIN)
    if expires_at is not None:
        wanted.expires_at.FromDatetime(expires_at)
    return tenant.client.call(tenant.client.accounts.CreateApiKey, CreateApiKeyRequest(api_key=wanted))


def revoke(tenant: Tenant, key: CreateApiKeyResponse) -> None:
    tenant.client.call(tenant.client.accounts.DeleteApiKey, DeleteApiKeyRequest(name=key.api_key.name))


def watch_devices(client: ApiClient) -> Following:
    following = Following(client.stream(client.devices.WatchDevices, WatchDevicesRequest()))
    assert following.begun.wait(PATIENCE_S)
    return following


def watch_enrollments(client: ApiClient) -> Following:
    request = WatchDeviceEnrollmentsRequest()
    following = Following(client.stream(client.device_enrollments.WatchDeviceEnrollments, request))
    assert following.begun.wait(PATIENCE_S)
    return following


@pytest.mark.parametrize("watch", [watch_devices, watch_enrollments])
def test_deleted_key_ends_its_watches_within_a_second_and_no_others(
    api: TestApi, tenant: Tenant, watch: Callable[[ApiClient], Following]
) -> None:
    key = create_key(tenant)
    ended = [watch(api.client(key.secret)) for _ in range(3)]
    other = watch(tenant.client)

    revoke(tenant, key)
    deleted_at = time.monotonic()
    errors = [each.end() for each in ended]

    assert time.monotonic() - deleted_at < 1.0
    assert {(error.reason, error.message) for error in errors if error} == {
        (Reason.CREDENTIALS_INVALID, "API key is revoked or has expired")
    }
    assert None not in errors
    assert other.runs()


def test_expired_key_ends_its_watches(tmp_path: Path) -> None:
    moved = timedelta()
    with running_api(tmp_path, now=lambda: utc_now() + moved) as api:
        tenant = api.tenant()
        following = watch_devices(
            api.client(create_key(tenant, expires_at=utc_now() + timedelta(hours=1)).secret)
        )
        lasting = watch_devices(tenant.client)

        moved = timedelta(hours=1)
        error = following.end()

        assert error is not None
        assert error.reason is Reason.CREDENTIALS_INVALID
        assert lasting.runs()


def test_deleted_account_ends_the_watches_of_its_certificates(api: TestApi) -> None:
    tenant = api.tenant()
    client = api.certified(api.certificate(api.map(f"urn:{tenant.id}", Role.READER, tenant.id)))
    following = watch_devices(client)
    operator = api.certified(api.certificate(api.map("urn:watcher", Role.OPERATOR)))
    lasting = Following(
        operator.stream(
            operator.devices.WatchDevices, WatchDevicesRequest(parent=f"accounts/{api.operator.account.id}")
        )
    )
    assert lasting.begun.wait(PATIENCE_S)

    api.client().call(api.client().accounts.DeleteAccount, DeleteAccountRequest(name=tenant.name))
    error = following.end()

    assert error is not None
    assert error.reason is Reason.CERTIFICATE_NOT_MAPPED
    assert lasting.runs()


def test_deleted_key_ends_an_upload_and_nothing_of_it_takes_effect(api: TestApi, tenant: Tenant) -> None:
    key = create_key(tenant)
    client = api.client(key.secret)
    sent = threading.Event()
    finished = threading.Event()

    def pieces() -> Iterator[bulk_pb2.BulkCreateDeviceEnrollmentsRequest]:
        yield bulk_pb2.BulkCreateDeviceEnrollmentsRequest(data=b"enrollment_identity\n")
        sent.set()
        finished.wait(PATIENCE_S)

    uploads: Queue[FtcError] = Queue()

    def upload() -> None:
        try:
            client.upload(client.device_enrollments.BulkCreateDeviceEnrollments, pieces())
        except FtcError as error:
            uploads.put(error)

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        assert sent.wait(PATIENCE_S)
        revoke(tenant, key)
        assert uploads.get(timeout=PATIENCE_S).reason is Reason.CREDENTIALS_INVALID
        assert not list(api.bulk_directory.iterdir())
    finally:
        finished.set()
        thread.join()


class StuckBatches:
    """A commit that never ends where it is of rows of a bulk job."""

    def __init__(self, commit: Committer) -> None:
        self._commit = commit

    async def execute(self, submission: Submission) -> Outcome:
        if isinstance(submission.command, AdvanceBulkJob):
            await asyncio.Event().wait()
        return await self._commit.execute(submission)


def test_deleted_key_ends_waiting_for_an_operation(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        object.__setattr__(api.context, "commit", StuckBatches(api.context.commit))
        tenant = api.tenant()
        piece = bulk_pb2.BulkCreateDeviceEnrollmentsRequest(data=b"enrollment_identity\nA-00\n")
        started = tenant.client.upload(
            tenant.client.device_enrollments.BulkCreateDeviceEnrollments, iter([piece])
        )
        key = create_key(tenant)
        waiting = api.client(key.secret).operations.WaitOperation.future(
            WaitOperationRequest(name=started.name), timeout=20
        )
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.result(timeout=0.2)

        revoke(tenant, key)

        assert waiting.exception(timeout=PATIENCE_S).code() is grpc.StatusCode.UNAUTHENTICATED


def test_client_that_does_not_read_loses_its_watch_all_the_same(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        tenant, tail = api.tenant(), api.server.tail
        key = create_key(tenant)
        call = api.client(key.secret).devices.WatchDevices(WatchDevicesRequest())
        eventually(lambda: tail.streams == 1, "the watch begins")

        revoke(tenant, key)

        eventually(lambda: tail.streams == 0, "the watch ends", patience_s=PATIENCE_S)
        assert isinstance(call, grpc.Call)
        call.cancel()  # type: ignore[no-untyped-call] # the stubs forget its type
