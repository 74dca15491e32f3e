"""Blocked certificates in the store: whom they keep out, whose they are, and when they end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ftc_core.domain.account import Account
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.block_commands import BlockWritten, LiftBlock, PlaceBlock
from ftc_core.storage.commands import DeleteAccount, DeregisterDevice, UpdateRegistration
from tests.conformance.scene import CA, HOUR, NOW, OTHER_CA, Scene, fingerprint
from tests.conformance.test_transfers import accept, offer

LATER = NOW + HOUR


@pytest.fixture
def owner(scene: Scene) -> Account:
    return scene.trusting_account()


@pytest.fixture
def device(scene: Scene, owner: Account) -> Device:
    scene.enrollment(owner, 1)
    return scene.registered(1)


def block(account: Account | None = None, number: int = 1, *, ca: bytes = b"", note: str = "") -> PlaceBlock:
    """By the operator, or by `account`: of the device `number`, or of `ca`."""
    return PlaceBlock(
        Block(
            fingerprint=ca or fingerprint(number),
            kind=BlockedKind.CERTIFICATE_AUTHORITY if ca else BlockedKind.DEVICE,
            account_id=None if account is None else account.id,
            note=note,
            blocked_at=LATER,
        )
    )


def lift(account: Account | None = None, number: int = 1, *, ca: bytes = b"") -> LiftBlock:
    return LiftBlock(ca or fingerprint(number), None if account is None else account.id, LATER)


def update(device: Device) -> UpdateRegistration:
    return UpdateRegistration(device.account_id, device.id, "192.0.2.1:1", LATER)


def claim_refusal(scene: Scene, number: int = 1, **request: Any) -> Reason | None:
    [answer] = scene.try_all(scene.claim_command(number, **request))
    return answer.reason if isinstance(answer, FtcError) else None


def written(scene: Scene, command: PlaceBlock | LiftBlock) -> Block:
    outcome = scene.run(command)
    assert isinstance(outcome, BlockWritten)
    return outcome.block


# --- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_operator", [True, False])
def test_a_blocked_device_can_neither_bootstrap_nor_register_nor_update(
    scene: Scene, owner: Account, device: Device, by_operator: bool
) -> None:
    party = None if by_operator else owner
    scene.run(block(party))
    assert claim_refusal(scene) is Reason.DEVICE_BLOCKED
    assert claim_refusal(scene, account_id=owner.id) is Reason.DEVICE_BLOCKED
    assert scene.refused(scene.register_command(device)).reason is Reason.DEVICE_BLOCKED
    assert scene.refused(update(device)).reason is Reason.DEVICE_BLOCKED
    scene.run(lift(party))
    assert claim_refusal(scene) is None
    scene.run(scene.register_command(device))
    scene.run(update(device))


def test_a_block_ends_the_registration_and_is_told(scene: Scene, owner: Account, device: Device) -> None:
    before = scene.revision()
    placed = written(scene, block(owner, note="stolen"))
    assert placed.revision == before + 1
    blocked = scene.find_device(1)
    assert blocked is not None
    assert (blocked.state, blocked.revision) == (DeviceState.DEREGISTERED, before + 1)
    assert blocked.registration_expires_at() is None
    scene.run(lift(owner))
    assert [(event.kind, event.revision, event.device_id) for event in scene.events(before)] == [
        (EventKind.DEVICE_BLOCKED, before + 1, device.id),
        (EventKind.DEVICE_UNBLOCKED, before + 2, device.id),
    ]


def test_a_blocked_device_may_say_good_bye(scene: Scene, owner: Account, device: Device) -> None:
    scene.run(block(owner))
    refusal = scene.refused(DeregisterDevice(owner.id, device.id, LATER))
    assert refusal.reason is Reason.REGISTRATION_NOT_FOUND  # the block has ended the registration


def test_a_second_block_by_the_same_party_changes_the_note_alone(
    scene: Scene, owner: Account, device: Device
) -> None:
    first = written(scene, block(owner, note="lost"))
    before = scene.revision()
    second = written(scene, block(owner, note="stolen"))
    assert (second.note, second.blocked_at) == ("stolen", first.blocked_at)
    assert written(scene, block(owner)).note == "stolen"
    assert second.revision == before + 1
    assert scene.events(before) == []


def test_each_party_lifts_its_own_block(scene: Scene, owner: Account, device: Device) -> None:
    scene.run(block(owner))
    scene.run(block())
    scene.run(lift(owner))
    assert claim_refusal(scene) is Reason.DEVICE_BLOCKED
    assert scene.refused(lift(owner)).reason is Reason.RESOURCE_NOT_FOUND
    scene.run(lift())
    assert claim_refusal(scene) is None


def test_an_account_blocks_no_device_but_its_own(scene: Scene, device: Device) -> None:
    stranger = scene.trusting_account(ca=OTHER_CA)
    assert scene.refused(block(stranger)).reason is Reason.RESOURCE_NOT_FOUND
    assert scene.refused(block(stranger, 2)).reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("by_operator", [True, False])
def test_a_device_that_was_named_is_meant_and_not_its_successor(
    scene: Scene, owner: Account, device: Device, by_operator: bool
) -> None:
    """Released and claimed anew between the reading of its name and the commit."""
    party = None if by_operator else owner
    named = msgspec.structs.replace(block(party), device_id=device.id)
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)
    scene.enrollment(owner, 1)
    successor = scene.claim(1).device
    assert successor.id != device.id

    [refused] = scene.try_all(named)
    assert isinstance(refused, FtcError)
    assert refused.reason is Reason.RESOURCE_NOT_FOUND
    assert claim_refusal(scene) is None

    written(scene, msgspec.structs.replace(named, device_id=successor.id))
    [refused] = scene.try_all(msgspec.structs.replace(lift(party), device_id=device.id))
    assert isinstance(refused, FtcError)
    assert refused.reason is Reason.RESOURCE_NOT_FOUND
    assert claim_refusal(scene) is Reason.DEVICE_BLOCKED
    written(scene, msgspec.structs.replace(lift(party), device_id=successor.id))
    assert claim_refusal(scene) is None


def test_the_operator_blocks_a_certificate_before_any_device_shows_it(scene: Scene, owner: Account) -> None:
    before = scene.revision()
    scene.run(block(None, 2))
    assert scene.events(before) == []
    scene.enrollment(owner, 2)
    assert claim_refusal(scene, 2) is Reason.DEVICE_BLOCKED


def test_the_owners_block_ends_with_its_ownership(scene: Scene, owner: Account, device: Device) -> None:
    scene.run(block(owner))
    scene.run(block())
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)
    with scene.store.view() as view:
        assert view.list_blocks(owner.id, after=None, limit=10) == []
    other = scene.trusting_account()
    scene.enrollment(other, 1)
    assert claim_refusal(scene) is Reason.DEVICE_BLOCKED  # the operator's stays
    scene.run(lift())
    assert claim_refusal(scene) is None


def test_nobody_takes_over_a_pre_assigned_device_that_its_owner_blocks(scene: Scene) -> None:
    owner = scene.account()
    scene.certificate(owner, enrollment_mode=False)
    scene.claim(1, account_id=owner.id)
    scene.run(block(owner))
    scene.enrollment(scene.trusting_account(), 1)
    assert claim_refusal(scene) is Reason.DEVICE_BLOCKED
    scene.run(lift(owner))
    assert claim_refusal(scene) is None


@pytest.mark.parametrize("by_operator", [True, False])
def test_a_blocked_device_changes_hands_by_no_transfer(
    scene: Scene, owner: Account, device: Device, by_operator: bool
) -> None:
    party = None if by_operator else owner
    receiver = scene.trusting_account()
    offering = offer(scene, owner, device, to=receiver)
    scene.run(block(party))
    refusal = scene.refused(offering)
    assert (refusal.reason, refusal.metadata["endpoint_name"]) == (Reason.DEVICE_BLOCKED, "device-1")
    scene.run(lift(party))
    scene.run(offering)
    scene.run(block(party))
    accepting = accept(offering.transfer, receiver)
    assert scene.refused(accepting).reason is Reason.DEVICE_BLOCKED
    scene.run(lift(party))
    scene.run(accepting)


# --- CAs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_operator", [True, False])
def test_nothing_passes_under_a_blocked_ca(
    scene: Scene, owner: Account, device: Device, by_operator: bool
) -> None:
    party = None if by_operator else owner
    scene.run(block(party, ca=CA))
    assert claim_refusal(scene) is Reason.CERTIFICATE_BLOCKED
    assert scene.refused(update(device)).reason is Reason.CERTIFICATE_BLOCKED
    assert scene.refused(scene.register_command(device)).reason is Reason.CERTIFICATE_BLOCKED
    scene.run(lift(party, ca=CA))
    assert claim_refusal(scene) is None


def test_an_accounts_block_of_a_ca_holds_in_that_account_alone(scene: Scene, owner: Account) -> None:
    other = scene.trusting_account()
    scene.run(block(other, ca=CA))
    scene.enrollment(owner, 1)
    scene.enrollment(other, 2)
    assert claim_refusal(scene, 1) is None
    assert claim_refusal(scene, 2) is Reason.CERTIFICATE_BLOCKED


def test_a_device_keeps_the_cas_that_vouch_in_spite_of_a_block(scene: Scene, owner: Account) -> None:
    scene.run(block(owner, ca=OTHER_CA))
    scene.enrollment(owner, 1)
    device = scene.claim(1, issuing_cas=(CA, OTHER_CA)).device
    assert device.issuing_cas == (CA,)
    scene.run(scene.register_command(device))
    again = scene.claim(1, issuing_cas=(CA, OTHER_CA)).device
    assert again.issuing_cas == (CA,)


def test_a_ca_that_the_operator_blocks_is_not_uploaded(scene: Scene) -> None:
    scene.run(block(ca=CA))
    account = scene.account()
    with pytest.raises(FtcError) as refusal:
        scene.certificate(account)
    assert refusal.value.reason is Reason.CERTIFICATE_BLOCKED


def test_the_blocks_of_an_account_go_with_it(scene: Scene) -> None:
    account = scene.account()
    scene.run(block(account, ca=CA))
    scene.run(DeleteAccount(account.id))
    with scene.store.view() as view:
        assert view.count_blocks(account.id) == 0
    assert scene.refused(block(account, ca=CA)).reason is Reason.RESOURCE_NOT_FOUND


# --- reading ---------------------------------------------------------------------------------------


def test_blocks_are_listed_by_party_in_pages(scene: Scene, owner: Account, device: Device) -> None:
    placed = sorted(
        [written(scene, block(None, number)) for number in (1, 2, 3)] + [written(scene, block(ca=CA))],
        key=lambda one: one.fingerprint,
    )
    mine = written(scene, block(owner))
    with scene.store.view() as view:
        assert view.list_blocks(None, after=None, limit=10) == placed
        assert view.list_blocks(None, after=None, limit=10, descending=True) == placed[::-1]
        second = view.list_blocks(None, after=placed[0].fingerprint.hex(), limit=2)
        assert second == placed[1:3]
        assert view.count_blocks(None) == 4
        assert view.list_blocks(owner.id, after=None, limit=10) == [mine]
        assert view.list_blocks("no ID", after=None, limit=10) == []
        assert [one.account_id for one in view.list_blocks_of(fingerprint(1), owner.id)] == [None, owner.id]
        assert view.list_blocks_of(fingerprint(1), None) == [
            one for one in placed if one.fingerprint == fingerprint(1)
        ]
        with pytest.raises(FtcError) as refusal:
            view.list_blocks(None, after="f" * 32, limit=1)
        assert refusal.value.reason is Reason.PAGE_TOKEN_INVALID


def test_blocked_certificates_are_found_among_others(scene: Scene, owner: Account, device: Device) -> None:
    scene.run(block(owner))
    scene.run(block(None, 2))
    asked = [fingerprint(number) for number in range(4)]
    with scene.store.view() as view:
        assert view.find_blocked(asked) == {fingerprint(2)}
        assert view.find_blocked(asked, owner.id) == {fingerprint(1), fingerprint(2)}
        assert view.find_blocked([]) == frozenset()
