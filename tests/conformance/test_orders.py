"""Lists in every order: pages follow each other, whatever is written in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from ftc_core.domain.device import Device, DeviceTime, name_position, time_position
from ftc_core.domain.enrollment import Enrollment, claim_position
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import DeregisterDevice, MarkBootstrapped, UpdateRegistration
from ftc_core.storage.port import View
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint

MINUTE = timedelta(minutes=1)
Pages = Callable[[View, str | None, int, bool], list[Device]]


def by_time(account_id: str, which: DeviceTime) -> Pages:
    return lambda view, after, limit, descending: view.list_devices_by_time(
        account_id, which, after=after, limit=limit, descending=descending
    )


def by_name(account_id: str, prefix: str = "") -> Pages:
    return lambda view, after, limit, descending: view.list_devices_by_name(
        account_id, after=after, limit=limit, descending=descending, prefix=prefix
    )


def all_of(
    scene: Scene, pages: Pages, position: Callable[[Device], str], *, descending: bool = False, size: int = 2
) -> list[str]:
    """The endpoint names on all pages of `size` rows."""
    found: list[Device] = []
    while True:
        after = position(found[-1]) if found else None
        with scene.store.view() as view:
            page = pages(view, after, size, descending)
        found += page
        if len(page) < size:
            return [device.endpoint_name for device in found]


def both_ways(scene: Scene, pages: Pages, position: Callable[[Device], str]) -> list[str]:
    upwards = all_of(scene, pages, position)
    assert all_of(scene, pages, position, descending=True) == upwards[::-1]
    return upwards


def names(*numbers: int) -> list[str]:
    return [f"device-{number}" for number in numbers]


def claimed(scene: Scene, account_id: str, *, waiting: bool = True, descending: bool = False) -> list[str]:
    def pages() -> Iterator[Enrollment]:
        after = None
        while True:
            with scene.store.view() as view:
                page = view.list_enrollments_by_claim(
                    account_id, after=after, limit=2, descending=descending, with_waiting=waiting
                )
            yield from page
            if len(page) < 2:
                return
            after = claim_position(page[-1])

    return [enrollment.id for enrollment in pages()]


def waiting(
    scene: Scene, account_id: str, *, after: str | None = None, descending: bool = False
) -> list[str]:
    with scene.store.view() as view:
        page = view.list_waiting_enrollments(account_id, after=after, limit=9, descending=descending)
    return [enrollment.id for enrollment in page]


def test_enrollments_are_listed_by_the_time_of_their_claim(scene: Scene) -> None:
    account, other = scene.trusting_account(), scene.account()
    ids = {number: scene.enrollment(account, number).id for number in range(6)}
    scene.enrollment(other, 9)
    for place, number in enumerate((4, 0, 3)):
        scene.claim(number, now=NOW + place * MINUTE)

    order = [ids[number] for number in (1, 2, 5, 4, 0, 3)]
    assert claimed(scene, account.id) == order
    assert claimed(scene, account.id, descending=True) == order[::-1]
    assert claimed(scene, account.id, waiting=False) == order[3:]
    assert claimed(scene, account.id, waiting=False, descending=True) == order[:2:-1]
    assert waiting(scene, account.id) == order[:3]
    assert waiting(scene, account.id, descending=True) == order[2::-1]
    assert waiting(scene, account.id, after=ids[1]) == order[1:3]


def test_enrollment_leaves_the_order_of_claims_when_it_is_deleted_or_expires(scene: Scene) -> None:
    account = scene.trusting_account()
    kept, released, deleted, expired = (
        scene.enrollment(account, number, expires_at=NOW if number == 3 else None) for number in range(4)
    )
    scene.claim(1)
    for gone in (released, deleted):
        scene.release(gone)
    scene.enrollment(scene.account(), 3)  # takes the identity of the expired one

    assert claimed(scene, account.id) == waiting(scene, account.id) == [kept.id]
    assert expired.id not in claimed(scene, account.id)


def test_devices_are_listed_by_endpoint_name(scene: Scene) -> None:
    account, other = scene.trusting_account(), scene.trusting_account()
    for number, name in enumerate(("lamp-2", "ünï", "Lamp", "lamp", "a", "lamp-10")):
        scene.enrollment(account, number)
        scene.claim(number, endpoint_name=name)
    scene.enrollment(other, 9)
    scene.claim(9, endpoint_name="lamp-3")

    listed = both_ways(scene, by_name(account.id), name_position)
    assert listed == ["Lamp", "a", "lamp", "lamp-10", "lamp-2", "ünï"]
    assert both_ways(scene, by_name(account.id, "lamp-"), name_position) == ["lamp-10", "lamp-2"]
    assert both_ways(scene, by_name(account.id, "no"), name_position) == []
    assert both_ways(scene, by_name(account.id, "x" * 600), name_position) == []


def test_devices_are_listed_by_each_of_their_times(scene: Scene) -> None:
    account, other = scene.trusting_account(), scene.trusting_account()
    devices = []
    for number, later in enumerate((3, 1, 2)):
        scene.enrollment(account, number)
        devices.append(scene.claim(number, now=NOW + later * MINUTE).device)
    scene.enrollment(other, 9)
    scene.claim(9)

    def order(which: DeviceTime) -> list[str]:
        return both_ways(scene, by_time(account.id, which), lambda device: time_position(device, which))

    assert order(DeviceTime.CLAIMED_AT) == order(DeviceTime.LAST_SEEN_AT) == names(1, 2, 0)
    assert order(DeviceTime.REGISTERED_AT) == names(0, 1, 2), "those that never registered by ID"

    scene.run(scene.register_command(devices[1], now=NOW + HOUR))
    scene.run(scene.register_command(devices[0], now=NOW + 2 * HOUR))
    scene.run(MarkBootstrapped(account.id, devices[2].id, NOW + 3 * HOUR))
    assert order(DeviceTime.REGISTERED_AT) == names(2, 1, 0)
    assert order(DeviceTime.LAST_SEEN_AT) == names(2, 1, 0)

    scene.run(UpdateRegistration(account.id, devices[1].id, "", NOW + 4 * HOUR))
    assert order(DeviceTime.LAST_SEEN_AT) == names(2, 0, 1)
    scene.run(DeregisterDevice(account.id, devices[0].id, NOW + 5 * HOUR))
    assert order(DeviceTime.LAST_SEEN_AT) == names(2, 1, 0)
    scene.claim(2, now=NOW + 6 * HOUR)
    assert order(DeviceTime.LAST_SEEN_AT) == names(1, 0, 2)
    assert order(DeviceTime.REGISTERED_AT) == names(2, 1, 0)
    assert order(DeviceTime.CLAIMED_AT) == names(1, 2, 0), "a repeated bootstrap is no claim"


def test_released_device_is_in_no_list(scene: Scene) -> None:
    account = scene.trusting_account()
    enrollment = scene.enrollment(account, 1)
    scene.registered(1)
    scene.release(enrollment)

    assert both_ways(scene, by_name(account.id), name_position) == []
    for which in DeviceTime:
        assert all_of(scene, by_time(account.id, which), lambda device: device.id) == []
    with scene.store.view() as view:
        assert view.list_all_devices(after=None, limit=9) == []
        assert view.count_all_devices() == 0


def test_devices_of_all_accounts_are_listed_account_by_account(scene: Scene) -> None:
    one, other = scene.trusting_account(), scene.trusting_account()
    for number, account in enumerate((other, one, other, one, one)):
        scene.enrollment(account, number)
        scene.claim(number)

    def pages(view: View, after: str | None, limit: int, descending: bool) -> list[Device]:
        return view.list_all_devices(after=after, limit=limit, descending=descending)

    assert both_ways(scene, pages, lambda device: device.account_id + device.id) == names(1, 3, 4, 0, 2)
    with scene.store.view() as view:
        assert view.count_all_devices() == 5


def test_enrollments_of_all_accounts_are_listed_account_by_account(scene: Scene) -> None:
    one, other = scene.trusting_account(), scene.trusting_account()
    for number, account in enumerate((other, one, other, one, one)):
        scene.enrollment(account, number)

    def pages(*, descending: bool) -> Iterator[bytes]:
        after = None
        while True:
            with scene.store.view() as view:
                page = view.list_all_enrollments(after=after, limit=2, descending=descending)
            yield from (enrollment.fingerprint for enrollment in page)
            if len(page) < 2:
                return
            after = page[-1].account_id + page[-1].id

    expected = [fingerprint(number) for number in (1, 3, 4, 0, 2)]
    assert list(pages(descending=False)) == expected
    assert list(pages(descending=True)) == expected[::-1]
    with scene.store.view() as view:
        assert view.count_all_enrollments() == 5


@pytest.mark.parametrize("after", ["", "f" * 32, "0" * 46, "0" * 47, "0" * 50, "G" * 48, " " + "0" * 47])
def test_position_of_another_form_is_refused(scene: Scene, after: str) -> None:
    account = scene.account()
    with scene.store.view() as view:
        for listed in (
            lambda: view.list_enrollments_by_claim(account.id, after=after, limit=1),
            lambda: view.list_devices_by_time(account.id, DeviceTime.CLAIMED_AT, after=after, limit=1),
            lambda: view.list_all_devices(after=after, limit=1),
            lambda: view.list_all_enrollments(after=after, limit=1),
        ):
            with pytest.raises(FtcError) as caught:
                listed()
            assert caught.value.reason is Reason.PAGE_TOKEN_INVALID
        with pytest.raises(FtcError):
            view.list_devices_by_name(account.id, after="0" * 2 * (257 + 16), limit=1)


def test_list_of_what_is_no_account_is_empty(scene: Scene) -> None:
    with scene.store.view() as view:
        assert view.list_enrollments_by_claim("x", after=None, limit=1) == []
        assert view.list_waiting_enrollments("x", after=None, limit=1) == []
        assert view.list_devices_by_name("x", after=None, limit=1) == []
        assert view.list_devices_by_time("x", DeviceTime.LAST_SEEN_AT, after=None, limit=1) == []
