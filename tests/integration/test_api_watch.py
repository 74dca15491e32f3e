"""WatchDeviceEnrollments and WatchDevices over a real channel; writers here and in another process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.duration_pb2 import Duration

from ftc_core.application import watch
from ftc_core.application.watch import compact_events
from ftc_core.cli.main import cli
from ftc_core.domain.account import Account, Role
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import WATCH_BUFFER_MAX
from ftc_core.storage.commands import CreateEnrollments
from ftc_grpc._gen.ftc.v1.account_service_pb2 import DeleteAccountRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest
from ftc_grpc._gen.ftc.v1.watch_pb2 import (
    DeviceEnrollmentEvent,
    DeviceEvent,
    WatchDeviceEnrollmentsRequest,
    WatchDeviceEnrollmentsResponse,
    WatchDevicesRequest,
)
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi, running_api
from tests.conformance.scene import NOW, Scene
from tests.conformance.test_transfers import accepted, offered

ROOT = Path(__file__).parents[2]


def create(tenant: Tenant) -> DeviceEnrollment:
    wanted = DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
    request = CreateDeviceEnrollmentRequest(device_enrollment=wanted)
    return tenant.client.call(tenant.client.device_enrollments.CreateDeviceEnrollment, request)


def delete(client: ApiClient, name: str) -> None:
    client.call(client.device_enrollments.DeleteDeviceEnrollment, DeleteDeviceEnrollmentRequest(name=name))


@contextmanager
def watching(
    client: ApiClient, *, progress_s: float = 600, **fields: Any
) -> Iterator[Iterator[WatchDeviceEnrollmentsResponse]]:
    """The responses to WatchDeviceEnrollments."""
    interval = Duration()
    interval.FromMilliseconds(round(progress_s * 1_000))
    request = WatchDeviceEnrollmentsRequest(**{"progress_interval": interval} | fields)
    with closing(client.stream(client.device_enrollments.WatchDeviceEnrollments, request)) as responses:  # type: ignore[type-var]
        yield responses


def refusal(client: ApiClient, **fields: Any) -> FtcError:
    """Of a watch that must be refused."""
    with watching(client, **fields) as responses, pytest.raises(FtcError) as caught:
        next(responses)
    return caught.value


def take_events(
    responses: Iterator[WatchDeviceEnrollmentsResponse], count: int
) -> list[DeviceEnrollmentEvent]:
    """The next `count` events, which must end a response."""
    events: list[DeviceEnrollmentEvent] = []
    while len(events) < count:
        response = next(responses)
        events += response.events
        assert response.revision == events[-1].revision
    assert len(events) == count
    return events


def wait_for_streams(api: TestApi, count: int) -> None:
    until = time.monotonic() + 10
    while api.server.tail.streams != count:
        assert time.monotonic() < until, f"{api.server.tail.streams} streams, not {count}"
        time.sleep(0.01)


def scene_of(api: TestApi) -> Scene:
    """Writes into the API's store past its group commit, as another process would."""
    return Scene(api.context.store, first_id=int.from_bytes(os.urandom(6)) << 16)


@pytest.fixture
def trusting(api: TestApi) -> tuple[Scene, Account]:
    scene = scene_of(api)
    return scene, scene.trusting_account()


def test_events_come_with_their_records(tenant: Tenant) -> None:
    with watching(tenant.client) as responses:
        begun = next(responses)
        assert list(begun.events) == []

        created = create(tenant)
        [event] = take_events(responses, 1)
        assert event.kind == DeviceEnrollmentEvent.CREATED
        assert event.device_enrollment == created
        assert event.device_enrollment_name == created.name
        assert event.enrollment_identity == created.enrollment_identity
        assert event.revision == begun.revision + 1 == int(created.etag.strip('"'))
        assert event.occurred_at == created.created_at

        delete(tenant.client, created.name)
        [event] = take_events(responses, 1)
        assert event.kind == DeviceEnrollmentEvent.DELETED
        assert event.device_enrollment_name == created.name
        assert not event.HasField("device_enrollment")


def test_watch_resumes_at_any_revision_with_each_event_once(tenant: Tenant) -> None:
    with watching(tenant.client) as responses:
        first = next(responses).revision + 1
        made = [create(tenant) for _ in range(5)]
        all_events = take_events(responses, 5)

    assert [event.device_enrollment for event in all_events] == made
    for skipped in range(6):
        start = first if skipped == 0 else all_events[skipped - 1].revision + 1
        with watching(tenant.client, start_revision=start) as responses:
            assert next(responses) == WatchDeviceEnrollmentsResponse(revision=start - 1)
            assert take_events(responses, 5 - skipped) == all_events[skipped:]


def test_record_that_is_gone_is_absent_from_its_older_events(tenant: Tenant) -> None:
    client = tenant.client
    start = client.call(
        client.device_enrollments.ListDeviceEnrollments, ListDeviceEnrollmentsRequest()
    ).revision
    delete(client, create(tenant).name)

    with watching(client, start_revision=start + 1) as responses:
        next(responses)
        events = take_events(responses, 2)

    assert [event.kind for event in events] == [DeviceEnrollmentEvent.CREATED, DeviceEnrollmentEvent.DELETED]
    assert not any(event.HasField("device_enrollment") for event in events)


def test_devices_are_followed_through_their_states(api: TestApi, trusting: tuple[Scene, Account]) -> None:
    scene, account = trusting
    client = api.client()
    enrollment = scene.enrollment(account, 10**9)
    request = WatchDevicesRequest(parent=f"accounts/{account.id}")
    with closing(client.stream(client.devices.WatchDevices, request)) as responses:  # type: ignore[type-var]
        next(responses)
        device = scene.registered(10**9)
        seen: list[DeviceEvent] = []
        while len(seen) < 2:
            seen += next(responses).events
        scene.release(enrollment)
        seen += next(responses).events

    assert [event.kind for event in seen] == [
        DeviceEvent.CLAIMED,
        DeviceEvent.REGISTERED,
        DeviceEvent.RELEASED,
    ]
    assert {event.device_name for event in seen} == {f"accounts/{account.id}/devices/{device.id}"}
    assert seen[1].device.endpoint_name == device.endpoint_name
    assert not seen[2].HasField("device")


def test_list_and_watch_keep_a_true_copy_while_others_write(
    api: TestApi, trusting: tuple[Scene, Account]
) -> None:
    """The recipe of docs/watch.md, against another process that claims and a client that deletes."""
    scene, account = trusting
    count, parent = 400, f"accounts/{account.id}"
    with api.context.store.view() as view:
        assert view.find_enrollments([scene.new_enrollment(account.id, 0).fingerprint]) == [None]
    made = tuple(scene.new_enrollment(account.id, number) for number in range(count))
    scene.run(CreateEnrollments(made, NOW))
    client = api.client()
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.writer_process", api.store_url, "0", str(count), "7"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert writer.stdout is not None
    writer.stdout.readline()  # it is at work
    names = [f"{parent}/deviceEnrollments/{enrollment.id}" for enrollment in made]
    deleter = threading.Thread(target=lambda: [delete(api.client(), name) for name in names[::4]])
    deleter.start()

    copy: dict[str, Any] = {}
    request = ListDeviceEnrollmentsRequest(parent=parent, page_size=50)
    pages = client.pages(client.device_enrollments.ListDeviceEnrollments, request)
    through = 0
    for page in pages:
        through = through or page.revision
        copy |= {each.name: each for each in page.device_enrollments}
    deleter.join()
    writer.communicate(timeout=60)
    final = scene.revision()
    seen: list[int] = []
    with watching(client, progress_s=1, parent=parent, start_revision=through + 1) as responses:
        for response in responses:
            seen += [event.revision for event in response.events]
            for event in response.events:
                if event.HasField("device_enrollment"):
                    copy[event.device_enrollment_name] = event.device_enrollment
                else:
                    copy.pop(event.device_enrollment_name, None)
            if response.revision >= final:
                break

    request = ListDeviceEnrollmentsRequest(parent=parent, page_size=1_000)
    listed = client.call(client.device_enrollments.ListDeviceEnrollments, request)
    assert copy == {each.name: each for each in listed.device_enrollments}
    assert len(copy) == count * 3 // 4
    assert seen == sorted(set(seen))
    expected = [
        event.revision
        for event in scene.events(through)
        if event.account_id == account.id and event.kind.startswith("ENROLLMENT")
    ]
    assert seen == expected
    devices = client.call(client.devices.ListDevices, ListDevicesRequest(parent=parent, page_size=1_000))
    assert {each.enrolled_device_id for each in copy.values()} >= {each.id for each in devices.devices}
    assert devices.revision == final


def test_another_process_s_events_come_within_moments(api: TestApi, tenant: Tenant) -> None:
    scene = scene_of(api)
    with watching(tenant.client) as responses:
        next(responses)
        written = time.monotonic()
        scene.run(CreateEnrollments((scene.new_enrollment(tenant.id, 10**8),), NOW))
        take_events(responses, 1)
        assert time.monotonic() - written < 1


def test_silence_brings_a_progress_mark_past_other_accounts_events(tenant: Tenant, other: Tenant) -> None:
    with watching(tenant.client, progress_s=1) as responses:
        begun = next(responses)
        create(other)
        mark = next(responses)

    assert list(mark.events) == []
    assert mark.revision > begun.revision


def test_compacted_revision_is_out_of_range_and_says_the_oldest(api: TestApi, tenant: Tenant) -> None:
    with watching(tenant.client) as responses:
        start = next(responses).revision + 1
        create(tenant)
        [event] = take_events(responses, 1)
    api.run(compact_events(api.context, keep=0))

    error = refusal(tenant.client, start_revision=start)

    assert error.reason is Reason.REVISION_COMPACTED
    assert error.spec.grpc == "OUT_OF_RANGE"
    oldest = int(error.metadata["oldest_revision"])
    assert oldest == event.revision + 1
    later = create(tenant)
    with watching(tenant.client, start_revision=oldest) as responses:
        next(responses)
        assert [each.device_enrollment for each in take_events(responses, 1)] == [later]


def test_revision_that_is_not_reached_is_out_of_range(api: TestApi, tenant: Tenant) -> None:
    newest = api.revision()

    error = refusal(tenant.client, start_revision=newest + 2)

    assert error.reason is Reason.REVISION_AHEAD
    assert error.metadata["newest_revision"] == str(newest)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"start_revision": -1}, "start_revision"),
        ({"progress_s": 0.5}, "progress_interval"),
        ({"progress_s": 601}, "progress_interval"),
        ({"progress_s": -5}, "progress_interval"),
        ({"progress_interval": Duration(seconds=1, nanos=10**9)}, "progress_interval"),
        ({"progress_interval": Duration(seconds=2**63 - 1)}, "progress_interval"),
        ({"parent": "account/x"}, "parent"),
    ],
)
def test_bad_requests_name_the_field(tenant: Tenant, fields: dict[str, Any], field: str) -> None:
    error = refusal(tenant.client, **fields)

    assert error.spec.grpc == "INVALID_ARGUMENT"
    assert error.field == field


def test_only_the_caller_s_account_is_watched(api: TestApi, tenant: Tenant, other: Tenant) -> None:
    for parent in (other.name, "accounts/" + "0" * 32):
        assert refusal(tenant.client, parent=parent).reason is Reason.RESOURCE_NOT_FOUND
    with watching(tenant.client) as responses:
        next(responses)
        create(other)
        mine = create(tenant)
        assert [event.device_enrollment for event in take_events(responses, 1)] == [mine]


def test_reader_and_operator_may_watch(api: TestApi, tenant: Tenant) -> None:
    reader = api.client(api.key(tenant.id, Role.READER))
    with watching(reader) as read, watching(api.client(), parent=tenant.name) as operated:
        next(read), next(operated)
        created = create(tenant)
        for responses in (read, operated):
            assert [event.device_enrollment for event in take_events(responses, 1)] == [created]


def test_operator_watches_all_accounts_and_any_other_caller_his_own(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    operator, every = api.client(), "accounts/-"
    with (
        watching(operator, parent=every) as all_of_them,
        watching(tenant.client, parent=every) as own,
    ):
        begin, _ = next(all_of_them), next(own)
        names = [create(one).name for one in (tenant, other, tenant)]
        live = take_events(all_of_them, 3)
        assert [event.device_enrollment_name for event in live] == names
        assert [event.device_enrollment_name for event in take_events(own, 2)] == names[::2]
    with watching(operator, parent=every, start_revision=begin.revision + 1) as resumed:
        next(resumed)
        assert take_events(resumed, 3) == live
    with watching(operator, parent=every, progress_s=1) as silent:
        next(silent)
        assert not next(silent).events  # a progress mark: no account to look for


@pytest.mark.parametrize("read", ["the log", "the tail"])
def test_both_sides_of_a_transfer_come_together_in_a_watch_of_all_accounts(
    api: TestApi, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that ended between the two would have the second lost on whoever resumes after it."""
    monkeypatch.setattr(watch, "WATCH_BATCH", 1)
    scene, operator = scene_of(api), api.client()
    giver, taker = scene.trusting_account(), scene.trusting_account()
    number = int.from_bytes(os.urandom(4))
    scene.enrollment(giver, number)
    device = scene.claim(number).device
    transfer = offered(scene, giver, device, to=taker)
    begin = api.revision()

    def take(start_revision: int, count: int) -> list[DeviceEvent]:
        request = WatchDevicesRequest(parent="accounts/-", start_revision=start_revision)
        found: list[DeviceEvent] = []
        with closing(operator.stream(operator.devices.WatchDevices, request)) as responses:  # type: ignore[type-var]
            next(responses)
            if not start_revision:
                accepted(scene, transfer, taker)
            while len(found) < count:
                response = next(responses)
                assert [event.revision for event in response.events] == [response.revision] * 2
                found += response.events
        return found

    if read == "the log":
        accepted(scene, transfer, taker)
    out, into = take(begin + 1 if read == "the log" else 0, 2)

    assert (out.kind, into.kind) == (DeviceEvent.TRANSFERRED_OUT, DeviceEvent.TRANSFERRED_IN)
    assert (out.device_name, into.device_name) == (
        f"accounts/{giver.id}/devices/{device.id}",
        f"accounts/{taker.id}/devices/{device.id}",
    )
    assert (out.HasField("device"), into.device.account_id) == (False, taker.id)


def test_watch_of_a_deleted_account_ends(api: TestApi) -> None:
    tenant, operator = api.tenant(), api.client()
    with watching(operator, parent=tenant.name, progress_s=1) as responses:
        next(responses)
        operator.call(operator.accounts.DeleteAccount, DeleteAccountRequest(name=tenant.name))
        with pytest.raises(FtcError) as caught:
            next(responses)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


def test_client_that_vanishes_or_runs_out_of_time_is_cleaned_up(api: TestApi, tenant: Tenant) -> None:
    wait_for_streams(api, 0)
    with watching(tenant.client) as responses:
        next(responses)
        wait_for_streams(api, 1)
    wait_for_streams(api, 0)

    stub = tenant.client.device_enrollments
    call = stub.WatchDeviceEnrollments(WatchDeviceEnrollmentsRequest(), timeout=0.5)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for_streams(api, 0)


def test_slow_consumer_is_dropped_where_it_may_resume_and_others_go_on(api: TestApi, tenant: Tenant) -> None:
    scene = scene_of(api)
    total = WATCH_BUFFER_MAX + 15_000
    with watching(tenant.client) as slow, watching(api.client(tenant.api_key)) as quick:
        begun = next(slow).revision
        next(quick)
        received: list[int] = []
        for batch in range(total // 1_000):
            numbers = range(2 * 10**8 + batch * 1_000, 2 * 10**8 + (batch + 1) * 1_000)
            new = tuple(scene.new_enrollment(tenant.id, number) for number in numbers)
            scene.run(CreateEnrollments(new, NOW))
            while len(received) < (batch + 1) * 1_000:
                received += [event.revision for event in next(quick).events]
        got: list[int] = []
        with pytest.raises(FtcError) as caught:
            for response in slow:
                got += [event.revision for event in response.events]

    assert caught.value.reason is Reason.CONSUMER_TOO_SLOW
    assert caught.value.spec.grpc == "RESOURCE_EXHAUSTED"
    last = int(caught.value.metadata["last_revision"])
    assert last == (got[-1] if got else begun)
    with watching(tenant.client, start_revision=last + 1) as responses:
        next(responses)
        while len(got) < total:
            got += [event.revision for event in next(responses).events]
    assert got == received
    assert len(received) == total


def test_shutdown_ends_watches_at_once_as_unavailable(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        tenant = api.tenant()
        with watching(tenant.client) as responses:
            next(responses)
            begun = time.monotonic()
            api.run(api.server.stop(20))
            assert time.monotonic() - begun < 5
            with pytest.raises(FtcError) as caught:
                next(responses)
    assert caught.value.reason is Reason.SHUTTING_DOWN
    assert caught.value.spec.grpc == "UNAVAILABLE"


def test_thousands_of_idle_streams_cost_next_to_nothing(api: TestApi, tenant: Tenant) -> None:
    """2,000 streams: while they are silent the server is idle, and then each gets its event."""
    connections, each = 20, 100  # as many streams as a connection may have
    command = [sys.executable, "-m", "tests.integration.watch_crowd", api.endpoint]
    crowd = subprocess.Popen(
        [*command, str(connections), str(each)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "FTC_API_KEY": tenant.api_key},
        cwd=ROOT,
    )
    with crowd:
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        crowd.stdin.write(api.ca_pem)
        crowd.stdin.close()
        assert crowd.stdout.readline() == b"ready\n"
        wait_for_streams(api, connections * each)
        before = time.process_time()
        time.sleep(1)
        assert time.process_time() - before < 0.5, "CPU seconds in one second of silence"
        revision = int(create(tenant).etag.strip('"'))
        assert crowd.stdout.readline() == b"{%d}\n" % revision
    assert crowd.returncode == 0
    wait_for_streams(api, 0)


def test_verbs_print_events_as_they_come(api: TestApi, tenant: Tenant, tmp_path: Path) -> None:
    start = api.revision() + 1
    made = [create(tenant) for _ in range(3)]
    ca = tmp_path / "ca.pem"
    ca.write_bytes(api.ca_pem)
    environment = {"FTC_ENDPOINT": api.endpoint, "FTC_CA": str(ca), "FTC_API_KEY": tenant.api_key}
    arguments = ["enrollment", "watch", "--from", str(start), "--limit", "2"]

    plain = CliRunner().invoke(cli, arguments, env=environment)
    json_lines = CliRunner().invoke(cli, [*arguments, "--json"], env=environment)
    ahead = CliRunner().invoke(cli, ["device", "watch", "--from", str(start + 100)], env=environment)

    lines = [line.split("  ") for line in plain.stdout.splitlines()]
    assert [(line[2], line[3]) for line in lines] == [("CREATED", each.name) for each in made[:2]]
    assert [
        line.count(each.enrollment_identity)
        for line, each in zip(json_lines.stdout.splitlines(), made[:2], strict=True)
    ] == [2, 2]
    assert ahead.exit_code == 1
    assert "the store is at revision" in ahead.stderr
