"""The LwM2M registration interface in the store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.errors import Reason
from ftc_core.storage.commands import (
    Command,
    Created,
    DeregisterDevice,
    Done,
    ExpireRegistrations,
    Swept,
    UpdateRegistration,
)
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint

ADDRESS = "[2001:db8::2]:5683"


@pytest.fixture
def claimed(scene: Scene) -> Device:
    scene.enrollment(scene.trusting_account(), 1)
    return scene.claim(1, client_version="4.12").device


def update(device: Device, **fields: object) -> UpdateRegistration:
    given = {"address": ADDRESS, "now": NOW + HOUR} | fields
    return UpdateRegistration(device.account_id, device.id, **given)  # type: ignore[arg-type]


def test_a_registration_is_recorded(scene: Scene, claimed: Device) -> None:
    before = scene.revision()
    outcome = scene.run(scene.register_command(claimed, lifetime=300, now=NOW + HOUR))
    expected = msgspec.structs.replace(
        claimed,
        state=DeviceState.REGISTERED,
        registered_at=NOW + HOUR,
        last_seen_at=NOW + HOUR,
        lifetime=300,
        lwm2m_version="1.1",
        binding="U",
        object_links="</1/0>,</3/0>",
        client_version="4.13",
        last_address="[2001:db8::1]:5683",
        revision=before + 1,
    )
    assert outcome == Created(device=expected)
    assert scene.find_device(1) == expected
    assert [(e.kind, e.fingerprint) for e in scene.events(before)] == [
        (EventKind.DEVICE_REGISTERED, fingerprint(1))
    ]


def test_a_registration_without_client_version_keeps_the_known_one(scene: Scene, claimed: Device) -> None:
    outcome = scene.run(scene.register_command(claimed, client_version=""))
    assert isinstance(outcome, Created)
    assert outcome.device is not None
    assert outcome.device.client_version == "4.12"


def test_an_update_keeps_what_it_does_not_say(scene: Scene, claimed: Device) -> None:
    registered = scene.registered(1)
    before = scene.revision()
    outcome = scene.run(update(claimed))
    kept = msgspec.structs.replace(
        registered, last_seen_at=NOW + HOUR, last_address=ADDRESS, revision=before + 1
    )
    assert outcome == Created(device=kept)
    assert scene.events(before) == []
    outcome = scene.run(update(claimed, lifetime=60, binding="UQ", object_links="</5/0>"))
    assert outcome == Created(
        device=msgspec.structs.replace(
            kept, lifetime=60, binding="UQ", object_links="</5/0>", revision=before + 2
        )
    )


def test_a_deregistration_is_recorded(scene: Scene, claimed: Device) -> None:
    scene.registered(1)
    before = scene.revision()
    assert scene.run(DeregisterDevice(claimed.account_id, claimed.id, NOW + HOUR)) == Done(before + 1)
    device = scene.find_device(1)
    assert device is not None
    assert (device.state, device.last_seen_at) == (DeviceState.DEREGISTERED, NOW + HOUR)
    assert [e.kind for e in scene.events(before)] == [EventKind.DEVICE_DEREGISTERED]
    assert scene.run(ExpireRegistrations(NOW + 24 * HOUR)) == Swept(0, more=False)


def test_only_a_registered_device_can_update_or_deregister(scene: Scene, claimed: Device) -> None:
    leave = DeregisterDevice(claimed.account_id, claimed.id, NOW)
    for command in (update(claimed), leave):
        assert scene.refused(command).reason is Reason.REGISTRATION_NOT_FOUND
    scene.run(scene.register_command(claimed))
    scene.run(leave)
    for command in (update(claimed), leave):
        assert scene.refused(command).reason is Reason.REGISTRATION_NOT_FOUND


def test_a_released_device_is_told_that_its_credentials_are(scene: Scene, claimed: Device) -> None:
    registered = scene.registered(1)
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)
    commands: list[Command] = [
        scene.register_command(registered),
        update(registered),
        DeregisterDevice(registered.account_id, registered.id, NOW),
    ]
    for command in commands:
        assert scene.refused(command).reason is Reason.CREDENTIALS_RELEASED


def test_a_device_cannot_register_under_another_name_or_account(scene: Scene, claimed: Device) -> None:
    other = scene.account()
    mismatches: list[dict[str, Any]] = [
        {"endpoint_name": "another"},
        {"account_id": other.id},
        {"account_id": "nonsense"},
    ]
    for changes in mismatches:
        command = scene.register_command(claimed, **changes)
        assert scene.refused(command).reason is Reason.CREDENTIALS_RELEASED


def test_a_registration_lapses_with_its_lifetime(scene: Scene, claimed: Device) -> None:
    scene.registered(1, lifetime=300)
    end = NOW + timedelta(seconds=300)
    assert scene.run(ExpireRegistrations(end - timedelta(microseconds=1))) == Swept(0, more=False)
    before = scene.revision()
    assert scene.run(ExpireRegistrations(end)) == Swept(1, more=False)
    device = scene.find_device(1)
    assert device is not None
    assert (device.state, device.last_seen_at) == (DeviceState.DEREGISTERED, NOW)
    assert [e.kind for e in scene.events(before)] == [EventKind.DEVICE_DEREGISTERED]
    assert scene.run(ExpireRegistrations(end)) == Swept(0, more=False)


def test_an_update_puts_the_end_off(scene: Scene, claimed: Device) -> None:
    scene.registered(1, lifetime=300)
    scene.run(update(claimed, now=NOW + timedelta(seconds=200)))
    assert scene.run(ExpireRegistrations(NOW + timedelta(seconds=499))) == Swept(0, more=False)
    assert scene.run(ExpireRegistrations(NOW + timedelta(seconds=500))) == Swept(1, more=False)


@pytest.mark.parametrize("ending", ["claim", "release"])
def test_a_registration_that_ended_otherwise_does_not_lapse(
    scene: Scene, claimed: Device, ending: str
) -> None:
    scene.registered(1)
    if ending == "claim":
        scene.claim(1)
    else:
        enrollment = scene.find_enrollment(1)
        assert enrollment is not None
        scene.release(enrollment)
    assert scene.run(ExpireRegistrations(NOW + 24 * HOUR)) == Swept(0, more=False)


def test_the_greatest_lifetime_can_be_registered(scene: Scene, claimed: Device) -> None:
    scene.registered(1, lifetime=2**32 - 1)
    assert scene.run(ExpireRegistrations(NOW + 24 * HOUR)) == Swept(0, more=False)


def test_a_sweep_of_registrations_stops_at_its_limit(scene: Scene) -> None:
    account = scene.trusting_account()
    for number in range(3):
        scene.enrollment(account, number)
        scene.registered(number, lifetime=60 + number)
    assert scene.run(ExpireRegistrations(NOW + HOUR, limit=2)) == Swept(2, more=True)
    assert scene.run(ExpireRegistrations(NOW + HOUR, limit=2)) == Swept(1, more=False)
