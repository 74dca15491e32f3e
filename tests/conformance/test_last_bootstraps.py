"""The last bootstrap of a device: kept with its end, replaced by the next, gone with the device."""

from __future__ import annotations

import msgspec

from ftc_core.domain.device import Device
from ftc_core.domain.last_bootstrap import BootstrapStep, LastBootstrap
from ftc_core.errors import Reason
from ftc_core.storage.commands import Done, MarkBootstrapped, RecordBootstrap
from tests.conformance.scene import HOUR, NOW, Scene

GOOD = LastBootstrap(
    steps=(
        BootstrapStep("Bootstrap-Request", NOW, NOW, "2.04"),
        BootstrapStep("Bootstrap-Finish", NOW, NOW + HOUR, "2.04"),
    ),
    ended_at=NOW + HOUR,
    address="[2001:db8::1]:40000",
)
BAD = LastBootstrap(
    steps=(BootstrapStep("Bootstrap-Delete /0", NOW),),
    ended_at=NOW + HOUR,
    reason="INTERNAL_9",
    error="Bootstrap-Delete /0: the device did not answer",
)


def claimed(scene: Scene, number: int = 1) -> Device:
    scene.enrollment(scene.trusting_account(), number)
    return scene.claim(number).device


def last_of(scene: Scene, device: Device) -> LastBootstrap | None:
    with scene.store.view() as view:
        return view.get_last_bootstrap(device.account_id, device.id)


def test_a_claim_alone_has_none(scene: Scene) -> None:
    assert last_of(scene, claimed(scene)) is None


def test_it_is_kept_with_the_finish_and_stays_through_a_registration(scene: Scene) -> None:
    device = claimed(scene)

    scene.run(MarkBootstrapped(device.account_id, device.id, NOW, GOOD))
    scene.run(scene.register_command(device))

    assert last_of(scene, device) == GOOD
    assert GOOD.completed


def test_a_finish_without_one_leaves_what_is_kept(scene: Scene) -> None:
    device = claimed(scene)
    scene.run(MarkBootstrapped(device.account_id, device.id, NOW, GOOD))

    scene.run(MarkBootstrapped(device.account_id, device.id, NOW))

    assert last_of(scene, device) == GOOD


def test_a_failed_one_takes_its_place_and_changes_nothing_of_the_device_but_its_etag(scene: Scene) -> None:
    device = claimed(scene)
    scene.run(MarkBootstrapped(device.account_id, device.id, NOW, GOOD))
    before, kept = scene.revision(), scene.find_device(1)
    assert kept is not None

    outcome = scene.run(RecordBootstrap(device.account_id, device.id, BAD))

    assert outcome == Done(before + 1)
    assert last_of(scene, device) == BAD
    assert not BAD.completed
    assert scene.find_device(1) == msgspec.structs.replace(kept, revision=before + 1)
    assert scene.events(before) == []


def test_a_claim_again_keeps_it_until_the_next_ends(scene: Scene) -> None:
    device = claimed(scene)
    scene.run(RecordBootstrap(device.account_id, device.id, BAD))

    scene.claim(1)

    assert last_of(scene, device) == BAD


def test_of_a_device_that_left_none_is_recorded_and_none_is_left(scene: Scene) -> None:
    account = scene.trusting_account()
    enrollment = scene.enrollment(account, 1)
    device = scene.claim(1).device
    scene.run(MarkBootstrapped(account.id, device.id, NOW, GOOD))

    scene.release(enrollment)

    assert last_of(scene, device) is None
    refusal = scene.refused(RecordBootstrap(account.id, device.id, BAD))
    assert refusal.reason is Reason.RESOURCE_NOT_FOUND
    assert last_of(scene, device) is None


def test_another_account_sees_nothing(scene: Scene) -> None:
    device, stranger = claimed(scene), scene.trusting_account()
    scene.run(MarkBootstrapped(device.account_id, device.id, NOW, GOOD))

    with scene.store.view() as view:
        assert view.get_last_bootstrap(stranger.id, device.id) is None
        assert view.get_last_bootstrap(device.account_id, stranger.id) is None
        assert view.get_last_bootstrap("x", "y") is None
