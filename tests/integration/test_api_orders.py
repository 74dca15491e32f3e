"""Orders, indexed filters and totals of lists over a real channel; parents that stand for every account."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta

import pytest

from ftc_core.application import listing
from ftc_core.domain.account import Role
from ftc_core.domain.device import DeviceTime
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import ListDeviceEnrollmentsRequest
from ftc_grpc._gen.ftc.v1.device_pb2 import Device
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest, ListDevicesResponse
from tests.api import TestApi, running_api
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint

DEVICES = 7


class World:
    """Two accounts: of one's enrollments `DEVICES` are claimed, in an order of their own, and two wait."""

    def __init__(self, api: TestApi) -> None:
        self.api = api
        scene = Scene(api.context.store, first_id=1 << 64)
        self.account, self.other = scene.trusting_account(), scene.trusting_account()
        self.enrollments = [scene.enrollment(self.account, number).id for number in range(DEVICES + 2)]
        self.devices = []
        for place in range(DEVICES):
            number = place * 3 % DEVICES
            device = scene.claim(number, now=NOW + place * HOUR, endpoint_name=self.name(number)).device
            if number % 2:
                registration = scene.register_command(device, now=NOW + timedelta(days=1) - number * HOUR)
                scene.run(registration)
            self.devices.append(device.id)
        scene.enrollment(self.other, 90)
        self.foreign = scene.claim(90).device
        self.client = api.client()

    @staticmethod
    def name(number: int) -> str:
        return ("lamp-" if number % 2 else "sensor-") + hashlib.sha256(b"%d" % number).hexdigest()[:4]

    @property
    def parent(self) -> str:
        return f"accounts/{self.account.id}"

    def pages(self, **query: object) -> list[ListDevicesResponse]:
        request = ListDevicesRequest(**({"parent": self.parent} | query))  # type: ignore[arg-type]
        return list(self.client.pages(self.client.devices.ListDevices, request))

    def ids(self, **query: object) -> list[str]:
        return [device.id for page in self.pages(**query) for device in page.devices]

    def enrolled(self, **query: object) -> list[str]:
        request = ListDeviceEnrollmentsRequest(**({"parent": self.parent} | query))  # type: ignore[arg-type]
        pages = self.client.pages(self.client.device_enrollments.ListDeviceEnrollments, request)
        return [enrollment.id for page in pages for enrollment in page.device_enrollments]

    def total(self, **query: object) -> int | None:
        request = ListDevicesRequest(
            **({"parent": self.parent, "include_total_size": True, "page_size": 1} | query)  # type: ignore[arg-type]
        )
        answer = self.client.call(self.client.devices.ListDevices, request)
        return answer.total_size if answer.HasField("total_size") else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_api(tmp_path_factory.mktemp("orders")) as api:
        yield World(api)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("order", ["endpoint_name", *DeviceTime])
def test_devices_come_in_every_order_both_ways(world: World, order: str, size: int) -> None:
    def place(device_id: str) -> tuple[object, str]:
        device = next(one for page in world.pages() for one in page.devices if one.id == device_id)
        value = getattr(device, order)
        return (value if isinstance(value, str) else value.ToNanoseconds()), device_id

    expected = sorted(world.devices, key=place)
    assert world.ids(order_by=order, page_size=size) == expected
    assert world.ids(order_by=f"{order} desc", page_size=size) == expected[::-1]


def test_enrollments_come_by_the_time_of_their_claim(world: World) -> None:
    waiting = world.enrollments[DEVICES:]
    claimed = [world.enrollments[place * 3 % DEVICES] for place in range(DEVICES)]

    for size in (1, 4, 50):
        assert world.enrolled(order_by="claimed_at", page_size=size) == waiting + claimed
        assert world.enrolled(order_by="claimed_at desc", page_size=size) == (waiting + claimed)[::-1]
        assert (
            world.enrolled(order_by="claimed_at desc", page_size=size, filter="state = CLAIMED")
            == claimed[::-1]
        )
        for order in ("id", "claimed_at"):
            assert world.enrolled(order_by=order, page_size=size, filter="state = WAITING") == waiting
    since = (NOW + 2 * HOUR).isoformat()
    assert world.enrolled(order_by="claimed_at", filter=f"claimed_at >= {since}", page_size=2) == claimed[2:]
    assert world.enrolled(order_by="claimed_at desc", filter=f"claimed_at < {since}") == claimed[1::-1]
    assert world.enrolled(order_by="claimed_at", filter=f"claimed_at = {since}") == [claimed[2]]


@pytest.mark.parametrize("size", [1, 50])
def test_every_filter_picks_the_same_rows_whatever_index_serves_it(world: World, size: int) -> None:
    everyone = [device for page in world.pages() for device in page.devices]
    one, moment = everyone[2], NOW + timedelta(hours=3, minutes=30)
    filters: dict[str, Callable[[Device], bool]] = {
        f"enrollment_identity = {one.enrollment_identity}": lambda d: d.id == one.id,
        f"endpoint_name = {one.endpoint_name}": lambda d: d.id == one.id,
        f"endpoint_name = {one.endpoint_name[:-1]}": lambda d: False,
        "endpoint_name = lamp-*": lambda d: d.endpoint_name.startswith("lamp-"),
        "state = REGISTERED": lambda d: d.HasField("registered_at"),
        "state != REGISTERED": lambda d: not d.HasField("registered_at"),
        f"claimed_at < {moment.isoformat()}": lambda d: d.claimed_at.ToDatetime(UTC) < moment,
        f"last_seen_at > {moment.isoformat()}": lambda d: d.last_seen_at.ToDatetime(UTC) > moment,
        "registered_at > 2000-01-01": lambda d: d.HasField("registered_at"),
        "registered_at < 2999-01-01 AND state = REGISTERED": lambda d: d.HasField("registered_at"),
        f"enrollment_identity = {one.enrollment_identity} AND state = UNENROLLED": lambda d: False,
        f"account_id = {world.account.id}": lambda d: True,
        f"account_id = {world.other.id}": lambda d: False,
    }
    for order in ("id", "endpoint_name", *DeviceTime):
        for direction in ("", " desc"):
            ordered = world.ids(order_by=order + direction)
            for query, wanted in filters.items():
                expected = {device.id for device in everyone if wanted(device)}
                found = world.ids(order_by=order + direction, filter=query, page_size=size)
                assert found == [one for one in ordered if one in expected], (query, order, direction)
                assert world.total(filter=query, order_by=order + direction) == len(expected), query


def test_enrollment_is_found_by_its_device_or_identity(world: World) -> None:
    identity = format_enrollment_id(fingerprint(3))
    foreign = format_enrollment_id(fingerprint(90))

    assert world.enrolled(filter=f"enrolled_device_id = {world.devices[1]}") == [world.enrollments[3]]
    assert world.enrolled(filter=f"enrollment_identity = {identity}") == [world.enrollments[3]]
    assert world.enrolled(filter=f"enrollment_identity = {identity} AND state = WAITING") == []
    for query in (
        f"enrollment_identity = {foreign}",
        f"enrolled_device_id = {world.foreign.id}",
        "enrolled_device_id = nonsense",
        f"enrollment_identity = {format_enrollment_id(os.urandom(32))}",
    ):
        assert world.enrolled(filter=query) == []


def test_total_is_exact_with_a_filter_or_absent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (world.total(), world.total(filter="state = REGISTERED")) == (DEVICES, DEVICES // 2)

    monkeypatch.setattr(listing, "LIST_SCAN_MAX", DEVICES - 1)
    assert world.total(filter="state = REGISTERED") is None
    assert world.total(filter=f"claimed_at < {NOW.isoformat()}") is None
    assert world.total(filter=f"claimed_at <= {NOW.isoformat()}", order_by="claimed_at") == 1
    assert world.total() == DEVICES, "without a filter nothing is looked at"


def test_operator_lists_the_devices_of_all_accounts(world: World) -> None:
    everywhere = [*sorted(world.devices), world.foreign.id]
    every = {"parent": "accounts/-"}

    for size in (1, 3, 50):
        assert world.ids(**every, page_size=size) == everywhere
        assert world.ids(**every, page_size=size, order_by="account_id desc") == everywhere[::-1]
        mine = world.ids(**every, page_size=size, filter=f"account_id = {world.account.id}")
        assert mine == sorted(world.devices)
    assert world.ids(**every, filter=f"account_id = {world.other.id} AND state = CLOUD_ENROLLING") == [
        world.foreign.id
    ]
    assert world.ids(**every, filter=f"account_id != {world.account.id}") == [world.foreign.id]
    identity = format_enrollment_id(fingerprint(90))
    assert world.ids(**every, filter=f"enrollment_identity = {identity}") == [world.foreign.id]
    assert world.ids(**every, filter="account_id = nonsense") == []
    assert world.total(**every) == DEVICES + 1


def test_operator_lists_the_enrollments_of_all_accounts(world: World) -> None:
    [foreign] = world.enrolled(parent=f"accounts/{world.other.id}")
    everywhere = [*sorted(world.enrollments), foreign]
    every = {"parent": "accounts/-"}

    for size in (1, 3, 50):
        assert world.enrolled(**every, page_size=size) == everywhere
        assert world.enrolled(**every, page_size=size, order_by="account_id desc") == everywhere[::-1]
        mine = world.enrolled(**every, page_size=size, filter=f"account_id = {world.account.id}")
        assert mine == sorted(world.enrollments)
    waiting = world.enrolled(**every, filter="state = WAITING")
    assert waiting == world.enrolled(filter="state = WAITING")
    identity = format_enrollment_id(fingerprint(90))
    assert world.enrolled(**every, filter=f"enrollment_identity = {identity}") == [foreign]
    assert world.enrolled(**every, filter="account_id = nonsense") == []
    request = ListDeviceEnrollmentsRequest(parent="accounts/-", include_total_size=True)
    answer = world.client.call(world.client.device_enrollments.ListDeviceEnrollments, request)
    assert answer.total_size == DEVICES + 3

    refused = ListDeviceEnrollmentsRequest(parent="accounts/-", order_by="claimed_at")
    stub = world.client.device_enrollments.ListDeviceEnrollments
    error = world.api.refused(world.client, stub, refused)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "order_by")

    reader = world.api.client(world.api.key(world.other.id, Role.READER))
    own = reader.call(reader.device_enrollments.ListDeviceEnrollments, request)
    assert [enrollment.id for enrollment in own.device_enrollments] == [foreign]


def test_all_accounts_are_his_own_to_any_other_caller(world: World) -> None:
    reader = world.api.client(world.api.key(world.other.id, Role.READER))
    request = ListDevicesRequest(parent="accounts/-", order_by="endpoint_name", include_total_size=True)
    answer = reader.call(reader.devices.ListDevices, request)

    assert ([device.id for device in answer.devices], answer.total_size) == ([world.foreign.id], 1)


@pytest.mark.parametrize("order", ["id", "endpoint_name", "last_seen_at desc"])
def test_all_accounts_have_one_order(world: World, order: str) -> None:
    request = ListDevicesRequest(parent="accounts/-", order_by=order)
    error = world.api.refused(world.client, world.client.devices.ListDevices, request)

    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "order_by")
    assert "account_id" in error.message


def test_token_is_good_for_its_order_and_parent_alone(world: World) -> None:
    stub = world.client.devices.ListDevices
    query = ListDevicesRequest(parent=world.parent, order_by="claimed_at", page_size=1)
    query.page_token = world.client.call(stub, query).next_page_token

    for changes in (
        {"order_by": "last_seen_at"},
        {"order_by": "claimed_at desc"},
        {"order_by": ""},
        {"parent": f"accounts/{world.other.id}"},
        {"parent": "accounts/-", "order_by": ""},
    ):
        other = ListDevicesRequest()
        other.CopyFrom(query)
        for field, value in changes.items():
            setattr(other, field, value)
        assert world.api.refused(world.client, stub, other).reason is Reason.PAGE_TOKEN_INVALID
    assert len(world.client.call(stub, query).devices) == 1
