"""The API's own process, as the supervisor spawns it, and the sweep that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from ftc_core.application.context import utc_now
from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.endpoint.child import ChildSpec, Failed, Ready, encode_line
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.engines import open_store
from ftc_grpc._gen.ftc.v1.account_service_pb2 import GetAccountRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_grpc.client import ApiClient
from ftc_grpc.expiry import sweep_forever
from tests.api import Tenant, TestApi


@pytest.fixture
async def directory(tmp_path: Path) -> DataDirectory:
    return await initialise(settings(tmp_path), host_name="localhost", now=utc_now())


def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", grpc_listen=ListenAddress("127.0.0.1", 0))


@contextlib.contextmanager
def spawned(specification: ChildSpec) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ftc_grpc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(encode_line(specification))
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[bytes]) -> Ready | Failed:
    assert process.stdout is not None
    return msgspec.json.decode(process.stdout.readline(), type=Ready | Failed)


def test_process_serves_until_it_is_told_to_stop(tmp_path: Path, directory: DataDirectory) -> None:
    specification = ChildSpec(name="api", settings=settings(tmp_path))
    with spawned(specification) as process:
        ready = answer(process)
        assert isinstance(ready, Ready)
        (endpoint,) = ready.addresses
        with ApiClient(
            endpoint,
            api_key=directory.operator_key.read_text().strip(),
            ca_pem=directory.server_ca_file.read_bytes(),
        ) as client:
            account = client.call(client.accounts.GetAccount, GetAccountRequest())
        assert account.display_name == "Operators"

        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0
    store = open_store(specification.settings.store_url)
    with store.view() as view:
        [key] = view.list_api_keys(account.id, after=None, limit=2)
    store.close()
    assert key.last_used_at is not None, "the use of a key is recorded before the end at the latest"


def test_process_without_a_data_directory_says_so(tmp_path: Path) -> None:
    specification = ChildSpec(name="api", settings=settings(tmp_path))
    with spawned(specification) as process:
        failed = answer(process)

        assert isinstance(failed, Failed)
        assert failed.reason == "DATA_DIRECTORY_MISSING"
        assert process.wait(timeout=10) == 1


def enroll_briefly(tenant: Tenant) -> None:
    """An enrollment that expires within the second."""
    wanted = DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
    wanted.expires_at.FromDatetime(utc_now() + timedelta(seconds=0.2))
    client = tenant.client
    client.call(
        client.device_enrollments.CreateDeviceEnrollment,
        CreateDeviceEnrollmentRequest(device_enrollment=wanted),
    )


def test_sweep_goes_on_after_a_failure(api: TestApi, tenant: Tenant) -> None:
    class FailsOnce:
        """The real commit, after one failure."""

        def __init__(self) -> None:
            self.failures = 0

        async def execute(self, submission: Submission) -> Outcome:
            if self.failures == 0:
                self.failures += 1
                raise OSError("disk")
            return await real.execute(submission)

    def standing() -> int:
        with api.context.store.view() as view:
            return view.count_enrollments(tenant.id)

    async def until_swept() -> None:
        sweeper = asyncio.create_task(sweep_forever(api.context, interval_s=0.05))
        while standing():  # noqa: ASYNC110 - a store gives no sign
            await asyncio.sleep(0.02)
        sweeper.cancel()

    enroll_briefly(tenant)
    assert standing() == 1
    real, flaky = api.context.commit, FailsOnce()
    object.__setattr__(api.context, "commit", flaky)
    try:
        api.run(asyncio.wait_for(until_swept(), 10))
    finally:
        object.__setattr__(api.context, "commit", real)

    assert flaky.failures == 1
