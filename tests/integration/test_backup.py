"""`ftc backup` of a running instance, and the instance that `ftc restore` makes of it."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.longrunning.operations_pb2 import GetOperationRequest, Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration

from ftc_core.application.backup import back_up
from ftc_core.application.check import check_instance
from ftc_core.application.context import utc_now
from ftc_core.application.restore import verify
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.device.registration import OperationFailed
from ftc_core.device.retry import Reaction
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, write_new_file
from ftc_core.settings import Settings
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import View
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import ListDeviceEnrollmentsRequest
from ftc_grpc._gen.ftc.v1.ledger_service_pb2 import RotateLedgerKeyRequest
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDeviceEnrollmentsRequest
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, Tenant, eventually, make_data_directory, running_instance
from tests.integration.test_api_bulk import counts, file_of, identities, report, rows, upload
from tests.things import Thing, claimed_thing, enrolled_thing

PATIENCE_S = 60


def ftc(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*FTC, *map(str, arguments)]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, **{"capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
    )


def backed_up(instance: Instance, file: Path) -> Path:
    done = ftc("backup", file, "--data-dir", instance.directory.root)
    assert (done.returncode, done.stderr) == (0, "")
    return file


def restored(file: Path, place: Path) -> DataDirectory:
    done = ftc("restore", file, "--data-dir", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert check_instance(place).passed
    return DataDirectory.open(place)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """An instance that the test may break."""
    with running_instance(make_data_directory(tmp_path / "data"), "--shutdown-grace-s=1") as running:
        yield running


@pytest.fixture
def tenant(own: Instance, manufacturer: Manufacturer) -> Tenant:
    made = own.tenant()
    made.trust(manufacturer)
    return made


def same_tenant(tenant: Tenant, instance: Instance) -> Tenant:
    """The account in another instance, known by its ID alone."""
    again = instance.tenant()
    again.id, again.name = tenant.id, tenant.name
    return again


def moved(thing: Thing, instance: Instance) -> Thing:
    return Thing(instance, thing.endpoint_name, thing.credential)


# --- what comes back -----------------------------------------------------------------------------------


async def test_everything_that_was_acknowledged_before_comes_back(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer, tmp_path: Path
) -> None:
    """Devices go on being claimed while the backup is made."""
    claimed, first = await claimed_thing(tenant, manufacturer)
    waiting = enrolled_thing(tenant, manufacturer)
    before = {device.id for device in tenant.devices()}
    (await claimed.registered(first, tenant.id)).close()
    busy = asyncio.Event()

    async def go_on() -> list[str]:
        ids = []
        while not busy.is_set():
            _, outcome = await claimed_thing(tenant, manufacturer)
            ids.append(outcome.device_id)
        return ids

    going_on = asyncio.create_task(go_on())
    file = await asyncio.to_thread(backed_up, own, tmp_path / "backup")
    busy.set()
    beside = await going_on
    assert beside, "devices were claimed beside the backup"

    key = own.directory.operator_key.read_bytes()
    own.stop()
    directory = await asyncio.to_thread(restored, file, tmp_path / "restored")
    with running_instance(directory) as instance:
        assert directory.operator_key.read_bytes() == key
        again = same_tenant(tenant, instance)
        devices = {device.id for device in again.devices()}
        assert before <= devices
        assert devices <= before | set(beside), "nothing that never was"
        assert again.device_count() == len(devices)

        outcome = await moved(claimed, instance).claimed(account_id=tenant.id)
        assert outcome.device_id == first.device_id
        await moved(waiting, instance).claimed()
        assert again.device(waiting.endpoint_name) is not None


async def test_a_device_claimed_after_the_backup_comes_back_by_itself(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer, tmp_path: Path
) -> None:
    """Its credentials are refused in the way that makes it bootstrap again; its enrollment lets it in."""
    thing = enrolled_thing(tenant, manufacturer)
    late = Thing.of(own, manufacturer)
    file = await asyncio.to_thread(backed_up, own, tmp_path / "backup")
    lost = await thing.claimed()
    tenant.enroll(late.credential.certificate)
    late_lost = await late.claimed()
    host, port = own.address("lwm2m")  # where the devices look for it
    own.stop()

    directory = await asyncio.to_thread(restored, file, tmp_path / "restored")
    with running_instance(directory, f"--lwm2m-listen={host}:{port}") as instance:
        again = same_tenant(tenant, instance)
        refused = await moved(thing, instance).try_to_register(lost, tenant.id)
        assert isinstance(refused, OperationFailed)
        assert (refused.code, refused.reaction) == ("4.03", Reaction.BOOTSTRAP_AGAIN)
        outcome = await moved(thing, instance).claimed(account_id=tenant.id)
        assert outcome.device_id != lost.device_id
        (await moved(thing, instance).registered(outcome, tenant.id)).close()

        # Enrolled after the backup as well: it comes until it is enrolled again.
        refused = await moved(late, instance).try_to_register(late_lost, tenant.id)
        assert isinstance(refused, OperationFailed)
        assert refused.reaction is Reaction.BOOTSTRAP_AGAIN
        failed = await moved(late, instance).refused(account_id=tenant.id)
        assert (failed.code, failed.text) == ("4.03", "Enrollment ID not registered")
        again.enroll(late.credential.certificate)
        await moved(late, instance).claimed(account_id=tenant.id)


def test_an_unfinished_bulk_job_goes_on_to_the_same_end(
    own: Instance, tenant: Tenant, tmp_path: Path
) -> None:
    ids = identities(20_000)
    lines = [*ids, "=bad", ids[0]]
    done = wait(own, upload(own.api, file_of(*ids[:5], "=bad"), parent=tenant.name))
    operation = upload(own.api, file_of(*lines), parent=tenant.name)
    eventually(lambda: counts(get(own, operation))[1], "the job is under way")

    file = tmp_path / "backup"
    with file.open("wb") as out:  # at once: the command takes longer to start than the job has time
        back_up(Settings(data_dir=own.directory.root), out, now=utc_now(), version="this one")

    whole = wait(own, operation)
    shown, reported = counts(whole), [row[0] for row in rows(report(own.api, whole))]
    own.stop()
    directory = restored(file, tmp_path / "restored")
    with stored(directory) as view:
        [unfinished] = view.list_unfinished_bulk_jobs()
        assert 0 < unfinished.processed_count < len(lines)
    with running_instance(directory) as instance:
        again = wait(instance, operation)
        assert counts(again) == shown
        assert [row[0] for row in rows(report(instance.api, again))] == reported
        assert report(instance.api, done), "the report of one that was done needs its input too"


@contextmanager
def stored(directory: DataDirectory) -> Iterator[View]:
    store = open_store(f"lmdb://{directory.store.absolute()}", read_only=True)
    with store.view() as view:
        yield view
    store.close()


def get(instance: Instance, operation: Operation) -> Operation:
    return instance.api.call(instance.api.operations.GetOperation, GetOperationRequest(name=operation.name))


def wait(instance: Instance, operation: Operation) -> Operation:
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=50))
    done = instance.api.call(instance.api.operations.WaitOperation, request)
    assert done.done
    return done


def test_no_watch_of_the_lost_time_can_be_mistaken_for_one_of_now(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer, tmp_path: Path
) -> None:
    enrolled_thing(tenant, manufacturer)
    file = backed_up(own, tmp_path / "backup")
    for _ in range(3):
        enrolled_thing(tenant, manufacturer)
    seen = revision(own, tenant)
    own.stop()

    with running_instance(restored(file, tmp_path / "restored")) as instance:
        again = same_tenant(tenant, instance)
        for _ in range(5):
            enrolled_thing(again, manufacturer)  # more changes than were lost
        for start in (1, seen, seen + 1, seen + 2):
            request = WatchDeviceEnrollmentsRequest(parent=tenant.name, start_revision=start)
            with pytest.raises(FtcError) as refusal:
                next(instance.api.stream(instance.api.device_enrollments.WatchDeviceEnrollments, request))
            assert refusal.value.reason is Reason.REVISION_COMPACTED
        now = revision(instance, tenant)
        assert now > seen + 10**9
        request = WatchDeviceEnrollmentsRequest(parent=tenant.name, start_revision=now)
        stream = instance.api.stream(instance.api.device_enrollments.WatchDeviceEnrollments, request)
        assert next(stream).revision == now - 1
        stream.close()


def revision(instance: Instance, tenant: Tenant) -> int:
    api = instance.api
    request = ListDeviceEnrollmentsRequest(parent=tenant.name)
    return api.call(api.device_enrollments.ListDeviceEnrollments, request).revision


def test_keys_that_rotate_meanwhile_fit_the_store_in_every_backup(own: Instance, tmp_path: Path) -> None:
    over = threading.Event()

    def rotate() -> int:
        count = 0
        while not over.is_set():
            own.api.call(own.api.ledger.RotateLedgerKey, RotateLedgerKeyRequest())
            count += 1
        return count

    with ThreadPoolExecutor() as pool:
        rotating = pool.submit(rotate)
        keys = set()
        try:
            for number in range(12):
                out, place = io.BytesIO(), tmp_path / str(number)
                back_up(Settings(data_dir=own.directory.root), out, now=utc_now(), version="this one")
                out.seek(0)
                place.mkdir()
                assert verify(out, place).to_mend == [], "keys and store are judged by the check"
                keys.add((place / "pki" / "ledger.key").read_bytes())
                assert not (place / "pki" / "ledger.next.key").exists()
        finally:
            over.set()
    assert rotating.result() > 12
    assert len(keys) > 6, "it was rotated in between"


def test_a_key_that_rotates_after_the_snapshot_is_not_taken_with_it(own: Instance, tmp_path: Path) -> None:
    settings, place = Settings(data_dir=own.directory.root), tmp_path / "unpacked"
    own.directory.config_file.unlink()
    os.mkfifo(own.directory.config_file)  # read after the snapshot was taken, and before the keys are
    out, before = io.BytesIO(), own.directory.key_file("ledger").read_bytes()
    with ThreadPoolExecutor() as pool:
        backing_up = pool.submit(back_up, settings, out, now=utc_now(), version="this one")
        with own.directory.config_file.open("wb") as config:
            own.api.call(own.api.ledger.RotateLedgerKey, RotateLedgerKeyRequest())
            config.write(b"# the first time\n")
            own.directory.config_file.unlink()
            write_new_file(own.directory.config_file, b"# again, with another snapshot\n", PRIVATE)
        backing_up.result(PATIENCE_S)
    place.mkdir()
    out.seek(0)
    assert verify(out, place).to_mend == []
    assert (place / "ftc.toml").read_bytes() == b"# again, with another snapshot\n"
    assert (place / "pki" / "ledger.key").read_bytes() != before
