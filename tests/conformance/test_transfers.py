"""Two-party transfers in the store: offers, acceptance as one step, and what may come in between."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ftc_core.domain.account import Account, AccountChanges, AccountStatus
from ftc_core.domain.certificate import CertificateService, CertificateStatus
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import Event, EventKind
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.domain.ledger import LedgerKind, first_broken
from ftc_core.domain.transfer import DeviceTransfer, OfferedDevice, TransferState
from ftc_core.errors import Reason
from ftc_core.storage.commands import (
    Claimed,
    Command,
    CreateEnrollments,
    DeleteAccount,
    DeleteEnrollment,
    DeleteTrustedCertificate,
    Done,
    ExpireRegistrations,
    MarkBootstrapped,
    Swept,
    UpdateAccount,
    UpdateRegistration,
)
from ftc_core.storage.transfer_commands import (
    AcceptTransfer,
    CancelTransfer,
    CreateTransfer,
    ExpireTransfers,
    ForgetTransfers,
    RejectTransfer,
    TransferWritten,
)
from tests.conformance.scene import CA, HOUR, NOW, OTHER_CA, Scene, fingerprint, reasons

CODE = hashlib.sha256(b"the code").digest()
LATER = NOW + timedelta(minutes=5)


def offer(
    scene: Scene,
    owner: Account,
    *devices: Device,
    to: Account | None = None,
    kept_max: int = 10,
    **changes: Any,
) -> CreateTransfer:
    fields: dict[str, Any] = {
        "id": scene.new_id(),
        "account_id": owner.id,
        "receiver_account_id": to.id if to else None,
        "code_hash": None if to else CODE,
        "devices": (),
        "created_at": NOW,
        "expires_at": NOW + HOUR,
    }
    return CreateTransfer(
        DeviceTransfer(**(fields | changes)), tuple(device.id for device in devices), kept_max
    )


def offered(scene: Scene, owner: Account, *devices: Device, **options: Any) -> DeviceTransfer:
    outcome = scene.run(offer(scene, owner, *devices, **options))
    assert isinstance(outcome, TransferWritten)
    return outcome.transfer


def accept(transfer: DeviceTransfer, receiver: Account, **options: Any) -> AcceptTransfer:
    return AcceptTransfer(receiver.id, transfer.id, options.pop("now", LATER), **options)


def accepted(scene: Scene, transfer: DeviceTransfer, receiver: Account, **options: Any) -> DeviceTransfer:
    outcome = scene.run(accept(transfer, receiver, **options))
    assert isinstance(outcome, TransferWritten)
    return outcome.transfer


def seen(scene: Scene, account: Account, transfer: DeviceTransfer) -> DeviceTransfer | None:
    with scene.store.view() as view:
        found = view.get_transfer(account.id, transfer.id)
        listed = view.list_transfers(account.id, after=None, limit=10)
        assert view.count_transfers(account.id) == len(listed)
    assert [t for t in listed if t.id == transfer.id] == ([] if found is None else [found])
    return found


def claimed(scene: Scene, owner: Account, number: int) -> Device:
    scene.enrollment(owner, number)
    return scene.claim(number).device


@pytest.fixture
def owner(scene: Scene) -> Account:
    return scene.trusting_account()


@pytest.fixture
def receiver(scene: Scene) -> Account:
    return scene.trusting_account()


@pytest.fixture
def device(scene: Scene, owner: Account) -> Device:
    return claimed(scene, owner, 1)


def owners(scene: Scene, *numbers: int) -> list[str | None]:
    """Of each device: its owner, and nobody else's list or name index may have it."""
    found = []
    with scene.store.view() as view:
        accounts = view.list_accounts(after=None, limit=100)
        for number in numbers:
            [device] = view.find_devices([fingerprint(number)])
            holders = [
                account.id
                for account in accounts
                if any(
                    d.fingerprint == fingerprint(number)
                    for d in view.list_devices(account.id, after=None, limit=100)
                )
            ]
            assert holders == ([] if device is None else [device.account_id])
            found.append(device.account_id if device else None)
    return found


# --- offering --------------------------------------------------------------------------------------


def test_an_offer_leaves_the_device_with_its_owner(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    before = scene.revision()
    command = offer(scene, owner, device, to=receiver, note="As agreed")
    outcome = scene.run(command)

    assert isinstance(outcome, TransferWritten)
    transfer = outcome.transfer
    assert transfer == msgspec.structs.replace(
        command.transfer,
        devices=(OfferedDevice(fingerprint(1), device.id, "device-1"),),
        revision=before + 1,
    )
    assert scene.find_device(1) == device
    assert scene.events(before) == []
    for account in (owner, receiver):
        assert seen(scene, account, transfer) == transfer
    assert seen(scene, scene.account(), transfer) is None
    with scene.store.view() as view:
        assert view.find_offers([fingerprint(1), fingerprint(2)]) == [transfer.id, None]


def test_an_offer_by_code_is_seen_by_its_owner_alone_until_it_is_accepted(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device)

    assert seen(scene, owner, transfer) == transfer
    assert seen(scene, receiver, transfer) is None
    done = accepted(scene, transfer, receiver, code_hash=CODE)
    assert seen(scene, receiver, transfer) == seen(scene, owner, transfer) == done
    assert done.receiver_account_id == receiver.id


def test_what_one_does_not_own_cannot_be_offered(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    refusal = scene.refused(offer(scene, receiver, device, to=owner))

    assert (refusal.reason, refusal.metadata) == (Reason.RESOURCE_NOT_FOUND, {"index": "0"})
    assert refusal.resource == f"accounts/{receiver.id}/devices/{device.id}"


def test_an_offer_of_nothing_is_refused(scene: Scene, owner: Account, receiver: Account) -> None:
    assert scene.refused(offer(scene, owner, to=receiver)).reason is Reason.RESOURCE_NOT_FOUND


def test_an_offer_needs_two_accounts_that_exist(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    nobody = msgspec.structs.replace(receiver, id=scene.new_id())

    assert scene.refused(offer(scene, owner, device, to=owner)).reason is Reason.TRANSFER_TO_SELF
    refusal = scene.refused(offer(scene, owner, device, to=nobody))
    assert (refusal.reason, refusal.resource) == (Reason.RESOURCE_NOT_FOUND, f"accounts/{nobody.id}")
    refusal = scene.refused(offer(scene, nobody, device, to=receiver))
    assert (refusal.reason, refusal.resource) == (Reason.RESOURCE_NOT_FOUND, f"accounts/{nobody.id}")


def test_a_device_stands_in_one_open_offer_at_most(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    other = claimed(scene, owner, 2)
    first = offered(scene, owner, device, to=receiver)

    refusal = scene.refused(offer(scene, owner, other, device, to=receiver))
    assert refusal.reason is Reason.TRANSFER_DEVICE_OFFERED
    assert refusal.metadata == {"index": "1", "endpoint_name": "device-1"}
    assert first.id in refusal.message
    twice = scene.refused(offer(scene, owner, other, other, to=receiver))
    assert (twice.reason, twice.metadata["index"]) == (Reason.TRANSFER_DEVICE_OFFERED, "1")

    scene.run(CancelTransfer(owner.id, first.id, LATER))
    assert offered(scene, owner, other, device, to=receiver).state is TransferState.OFFERED


def test_an_offer_that_expired_unswept_is_in_nobodys_way(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    first = offered(scene, owner, device, to=receiver)

    again = offered(scene, owner, device, to=receiver, created_at=NOW + HOUR, expires_at=NOW + 2 * HOUR)

    old = seen(scene, owner, first)
    assert old is not None
    assert (old.state, old.decided_at) == (TransferState.EXPIRED, NOW + HOUR)
    assert scene.run(ExpireTransfers(NOW + HOUR, 10)) == Swept(0, more=False)
    assert accepted(scene, again, receiver, now=NOW + HOUR).state is TransferState.ACCEPTED


def test_an_account_offers_no_more_transfers_than_are_kept(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    other, theirs = claimed(scene, owner, 2), claimed(scene, receiver, 3)
    offered(scene, receiver, theirs, to=owner)  # does not count: it is the other's
    offered(scene, owner, device, to=receiver, kept_max=1)

    refusal = scene.refused(offer(scene, owner, other, to=receiver, kept_max=1))

    assert refusal.reason is Reason.TRANSFER_LIMIT_REACHED


# --- accepting -------------------------------------------------------------------------------------


def test_acceptance_moves_device_and_enrollment_in_one_step(
    scene: Scene, owner: Account, receiver: Account
) -> None:
    enrollment = scene.enrollment(owner, 1)
    registered = scene.registered(1)
    scene.run(MarkBootstrapped(owner.id, registered.id, NOW, LastBootstrap(steps=(), ended_at=NOW)))
    transfer = offered(scene, owner, registered, to=receiver)
    before = scene.revision()

    done = accepted(scene, transfer, receiver)

    assert done == msgspec.structs.replace(
        transfer, state=TransferState.ACCEPTED, decided_at=LATER, revision=before + 3
    )
    with scene.store.view() as view:
        [certificate] = view.list_trusted_certificates(receiver.id, after=None, limit=10)
        moved = view.get_device(receiver.id, registered.id)
        assert view.get_device(owner.id, registered.id) is None
        assert view.get_enrollment(owner.id, enrollment.id) is None
        assert view.get_enrollment(receiver.id, enrollment.id) == msgspec.structs.replace(
            enrollment,
            account_id=receiver.id,
            claimed_at=LATER,
            enrolled_device_id=registered.id,
            revision=before + 1,
        )
        assert view.get_last_bootstrap(receiver.id, registered.id) is None
        for account, count in ((owner, 0), (receiver, 1)):
            assert view.count_devices(account.id) == view.count_enrollments(account.id) == count
            assert len(view.list_devices(account.id, after=None, limit=9)) == count
            assert len(view.list_devices_by_name(account.id, after=None, limit=9)) == count
            assert len(view.list_enrollments(account.id, after=None, limit=9)) == count
            assert len(view.list_enrollments_by_claim(account.id, after=None, limit=9)) == count
        assert view.find_offers([fingerprint(1)]) == [None]
    assert moved == Device(
        id=registered.id,
        account_id=receiver.id,
        endpoint_name="device-1",
        fingerprint=fingerprint(1),
        trusted_certificate_id=certificate.id,
        enrollment_id=enrollment.id,
        state=DeviceState.CLOUD_ENROLLING,
        created_at=registered.created_at,
        claimed_at=LATER,
        issuing_cas=(CA,),
        former_account_ids=(owner.id,),
        revision=before + 2,
    )
    assert scene.events(before) == [
        Event(
            revision=revision,
            at=LATER,
            kind=kind,
            account_id=receiver.id,
            from_account_id=owner.id,
            enrollment_id=enrollment.id,
            device_id=registered.id,
            fingerprint=fingerprint(1),
        )
        for revision, kind in (
            (before + 1, EventKind.ENROLLMENT_TRANSFERRED),
            (before + 2, EventKind.DEVICE_TRANSFERRED),
        )
    ]


def test_the_ledger_has_who_gave_to_whom_by_which_transfer(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    accepted(scene, transfer, receiver)

    with scene.store.view() as view:
        entries = view.ledger(fingerprint(1))
    assert first_broken(entries) is None
    assert [(e.kind, e.account_id, e.from_account_id, e.transfer_id) for e in entries] == [
        (LedgerKind.CLAIMED, owner.id, None, None),
        (LedgerKind.TRANSFERRED, receiver.id, owner.id, transfer.id),
    ]


def test_old_credentials_are_worth_nothing_after_the_transfer(
    scene: Scene, owner: Account, receiver: Account
) -> None:
    scene.enrollment(owner, 1)
    registered = scene.registered(1, lifetime=60)
    accepted(scene, offered(scene, owner, registered, to=receiver), receiver)

    for command in (
        scene.register_command(registered),
        UpdateRegistration(owner.id, registered.id, "", LATER),
    ):
        assert scene.refused(command).reason is Reason.CREDENTIALS_RELEASED
    update = UpdateRegistration(receiver.id, registered.id, "", LATER)
    assert scene.refused(update).reason is Reason.REGISTRATION_NOT_FOUND
    assert scene.run(ExpireRegistrations(NOW + HOUR)) == Swept(0, more=False)


@pytest.mark.parametrize("says", ["old aid", "new aid", "no aid"])
def test_the_device_bootstraps_to_its_new_owner_whatever_aid_it_says(
    scene: Scene, owner: Account, receiver: Account, device: Device, says: str
) -> None:
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)
    aid = {"old aid": owner.id, "new aid": receiver.id, "no aid": None}[says]

    again = scene.claim(1, account_id=aid)

    assert not again.first_claim
    assert (again.device.id, again.device.account_id) == (device.id, receiver.id)
    assert again.grant.account_id == receiver.id


def test_an_aid_of_any_former_owner_will_do_and_one_of_nobody_will_not(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    third, stranger = scene.trusting_account(), scene.trusting_account()
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)
    moved = scene.find_device(1)
    assert moved is not None
    accepted(scene, offered(scene, receiver, moved, to=third), third)

    for former in (owner, receiver):
        assert scene.claim(1, account_id=former.id).device.account_id == third.id
    refusal = scene.refused(scene.claim_command(1, account_id=stranger.id))
    assert refusal.reason is Reason.ENROLLMENT_NOT_FOUND


def test_a_device_that_comes_back_names_its_owner_again(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)
    moved = scene.find_device(1)
    assert moved is not None
    accepted(scene, offered(scene, receiver, moved, to=owner), owner)

    back = scene.find_device(1)
    assert back is not None
    assert (back.account_id, back.former_account_ids) == (owner.id, (receiver.id,))
    assert scene.claim(1, account_id=receiver.id).device.account_id == owner.id


def test_a_release_ends_what_a_former_owners_aid_is_worth(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)
    third = scene.trusting_account()
    scene.enrollment(third, 1)

    for former in (owner, receiver):
        refusal = scene.refused(scene.claim_command(1, account_id=former.id))
        assert refusal.reason is Reason.ENROLLMENT_NOT_FOUND
    factory_reset = scene.claim(1)
    assert (factory_reset.device.account_id, factory_reset.first_claim) == (third.id, True)
    assert factory_reset.device.former_account_ids == ()


def test_a_pre_assigned_device_moves_to_an_account_that_pre_assigns(scene: Scene) -> None:
    owner, receiver = (scene.trusting_account(enrollment_mode=False) for _ in range(2))
    device = scene.claim(1, account_id=owner.id).device
    before = scene.revision()

    accepted(scene, offered(scene, owner, device, to=receiver), receiver)

    assert [event.kind for event in scene.events(before)] == [EventKind.DEVICE_TRANSFERRED]
    again = scene.claim(1, account_id=owner.id)
    assert (again.device.account_id, again.device.enrollment_id) == (receiver.id, None)


def test_a_giver_cannot_enroll_a_pre_assigned_device_back(scene: Scene) -> None:
    owner, receiver = (scene.trusting_account(enrollment_mode=False) for _ in range(2))
    device = scene.claim(1, account_id=owner.id).device
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)
    scene.enrollment(owner, 1)

    for aid in (owner.id, receiver.id):
        assert scene.claim(1, account_id=aid).device.account_id == receiver.id


def test_an_enrollment_that_still_waits_moves_with_its_pre_assigned_device(scene: Scene) -> None:
    owner = scene.trusting_account(enrollment_mode=False)
    receiver = scene.trusting_account()
    device = scene.claim(1, account_id=owner.id).device
    scene.enrollment(owner, 1, expires_at=NOW + HOUR)

    accepted(scene, offered(scene, owner, device, to=receiver), receiver)

    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    assert (enrollment.account_id, enrollment.claimed_at) == (receiver.id, None)
    assert scene.claim(1, account_id=owner.id).device.enrollment_id == enrollment.id


# --- refusals --------------------------------------------------------------------------------------


def test_every_refusal_of_an_acceptance_moves_nothing(scene: Scene, owner: Account) -> None:
    devices = [claimed(scene, owner, number) for number in (1, 2)]
    receiver = scene.trusting_account(quota=1)
    transfer = offered(scene, owner, *devices, to=receiver)

    quota = scene.refused(accept(transfer, receiver))
    assert quota.reason is Reason.QUOTA_REACHED

    def change(**changes: Any) -> None:
        scene.run(UpdateAccount(receiver.id, AccountChanges(**changes), NOW))

    change(device_quota=None, status=AccountStatus.SUSPENDED)
    assert scene.refused(accept(transfer, receiver)).reason is Reason.ACCOUNT_SUSPENDED
    change(status=AccountStatus.ACTIVE)

    scene.enrollment(receiver, 3)
    rival = scene.claim(3, endpoint_name="device-2").device
    duplicate = scene.refused(accept(transfer, receiver))
    assert duplicate.reason is Reason.DUPLICATE_ENDPOINT
    assert duplicate.metadata == {"endpoint_name": "device-2"}
    assert owners(scene, 1, 2, 3) == [owner.id, owner.id, rival.account_id]

    listed = scene.find_enrollment(3)
    assert listed is not None
    scene.release(listed)
    accepted(scene, transfer, receiver)
    assert owners(scene, 1, 2) == [receiver.id, receiver.id]


@pytest.mark.parametrize(
    "certificate",
    [
        None,
        {"ca": OTHER_CA},
        {"enrollment_mode": False},
        {"status": CertificateStatus.INACTIVE},
        {"service": CertificateService.LWM2M},
    ],
)
def test_a_receiver_without_the_ca_is_refused(
    scene: Scene, owner: Account, device: Device, certificate: dict[str, Any] | None
) -> None:
    receiver = scene.account()
    if certificate is not None:
        scene.certificate(receiver, **certificate)
    transfer = offered(scene, owner, device, to=receiver)

    refusal = scene.refused(accept(transfer, receiver))

    assert (refusal.reason, refusal.metadata) == (
        Reason.CA_NOT_IN_ACCOUNT,
        {"endpoint_name": "device-1", "issuing_cas": CA.hex()},
    )


def test_a_pre_assigned_device_is_refused_where_it_would_need_an_enrollment(scene: Scene) -> None:
    owner, receiver = scene.trusting_account(enrollment_mode=False), scene.trusting_account()
    device = scene.claim(1, account_id=owner.id).device
    transfer = offered(scene, owner, device, to=receiver)

    assert scene.refused(accept(transfer, receiver)).reason is Reason.CA_NOT_IN_ACCOUNT


def test_any_trusted_ca_of_the_devices_path_will_do(scene: Scene, owner: Account) -> None:
    scene.enrollment(owner, 1)
    device = scene.claim(1, issuing_cas=(CA, OTHER_CA)).device
    receiver = scene.trusting_account(ca=OTHER_CA)

    accepted(scene, offered(scene, owner, device, to=receiver), receiver)

    assert scene.claim(1, issuing_cas=(CA, OTHER_CA), account_id=owner.id).grant.account_id == receiver.id


def test_each_side_decides_what_is_its_own(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    stranger = scene.trusting_account()

    wrong_sides: list[Command] = [
        accept(transfer, owner),
        RejectTransfer(owner.id, transfer.id, LATER),
        CancelTransfer(receiver.id, transfer.id, LATER),
    ]
    for command in wrong_sides:
        assert scene.refused(command).reason is Reason.TRANSFER_WRONG_SIDE
    for command in (
        accept(transfer, stranger),
        RejectTransfer(stranger.id, transfer.id, LATER),
        CancelTransfer(stranger.id, transfer.id, LATER),
        AcceptTransfer(receiver.id, scene.new_id(), LATER),
        AcceptTransfer(receiver.id, "nonsense", LATER),
    ):
        assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


def test_whatever_is_wrong_with_a_code_is_answered_alike(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    by_code = offered(scene, owner, device)
    by_name = offered(scene, owner, claimed(scene, owner, 2), to=receiver)

    answers = [
        scene.refused(command)
        for command in (
            accept(by_code, receiver, code_hash=bytes(32)),
            accept(by_name, receiver, code_hash=CODE),
            AcceptTransfer(receiver.id, scene.new_id(), LATER, CODE),
        )
    ]

    assert {(a.reason, a.message, str(a.metadata), a.resource) for a in answers} == {
        (Reason.TRANSFER_CODE_INVALID, "no open transfer has this code", "{}", "")
    }
    assert scene.refused(accept(by_code, receiver)).reason is Reason.RESOURCE_NOT_FOUND
    own = scene.refused(accept(by_code, owner, code_hash=CODE))
    assert own.reason is Reason.TRANSFER_TO_SELF


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("accept", TransferState.ACCEPTED),
        ("reject", TransferState.REJECTED),
        ("cancel", TransferState.CANCELLED),
    ],
)
def test_what_is_decided_is_decided_once(
    scene: Scene, owner: Account, receiver: Account, device: Device, end: str, state: TransferState
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    decisions: dict[str, Command] = {
        "accept": accept(transfer, receiver),
        "reject": RejectTransfer(receiver.id, transfer.id, LATER),
        "cancel": CancelTransfer(owner.id, transfer.id, LATER),
    }
    scene.run(decisions[end])

    for command in decisions.values():
        refusal = scene.refused(command)
        assert (refusal.reason, refusal.metadata) == (Reason.TRANSFER_DECIDED, {"state": state.value})
    assert owners(scene, 1) == [receiver.id if state is TransferState.ACCEPTED else owner.id]


@pytest.mark.parametrize("swept", [False, True])
def test_an_expired_transfer_is_refused_to_both_sides(
    scene: Scene, owner: Account, receiver: Account, device: Device, swept: bool
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    at = transfer.expires_at
    if swept:
        assert scene.run(ExpireTransfers(at, 10)) == Swept(1, more=False)

    for command in (
        accept(transfer, receiver, now=at),
        RejectTransfer(receiver.id, transfer.id, at),
        CancelTransfer(owner.id, transfer.id, at),
    ):
        assert scene.refused(command).reason is Reason.TRANSFER_EXPIRED
    assert owners(scene, 1) == [owner.id]


def test_a_decision_may_ask_that_nothing_has_changed(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    stale = transfer.revision - 1

    for command in (
        accept(transfer, receiver, revision=stale),
        RejectTransfer(receiver.id, transfer.id, LATER, stale),
        CancelTransfer(owner.id, transfer.id, LATER, stale),
    ):
        assert scene.refused(command).reason is Reason.ETAG_MISMATCH
    accepted(scene, transfer, receiver, revision=transfer.revision)


# --- what may come in between ----------------------------------------------------------------------


def test_a_released_device_leaves_its_offer_even_if_it_is_claimed_again(
    scene: Scene, owner: Account, receiver: Account
) -> None:
    devices = [claimed(scene, owner, number) for number in (1, 2)]
    transfer = offered(scene, owner, *devices, to=receiver)
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)

    gone = scene.refused(accept(transfer, receiver))
    assert (gone.reason, gone.metadata) == (Reason.TRANSFER_OUTDATED, {"endpoint_name": "device-1"})

    again = claimed(scene, owner, 1)
    assert scene.refused(accept(transfer, receiver)).reason is Reason.TRANSFER_OUTDATED
    offered(scene, owner, again, to=receiver)  # a new ownership, a new offer
    assert owners(scene, 1, 2) == [owner.id, owner.id]


def test_a_release_and_an_acceptance_in_one_batch_have_one_winner(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None

    answers = scene.try_all(
        accept(transfer, receiver),
        DeleteEnrollment(owner.id, enrollment.id, LATER),
        accept(transfer, receiver),
    )

    assert reasons(answers) == [None, Reason.RESOURCE_NOT_FOUND, Reason.TRANSFER_DECIDED]
    assert owners(scene, 1) == [receiver.id]


def test_a_transfer_during_a_running_bootstrap_leaves_the_old_session_without_effect(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    assert device.state is DeviceState.CLOUD_ENROLLING
    accepted(scene, offered(scene, owner, device, to=receiver), receiver)

    finish = scene.refused(MarkBootstrapped(owner.id, device.id, LATER))

    assert finish.reason is Reason.RESOURCE_NOT_FOUND
    assert scene.refused(scene.register_command(device)).reason is Reason.CREDENTIALS_RELEASED
    assert scene.claim(1, account_id=owner.id).device.account_id == receiver.id


def test_an_offered_device_may_bootstrap_register_and_change_its_name(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    transfer = offered(scene, owner, device, to=receiver)
    renamed = scene.claim(1, endpoint_name="renamed", common_name="renamed").device
    scene.run(scene.register_command(renamed))

    accepted(scene, transfer, receiver)

    moved = scene.find_device(1)
    assert moved is not None
    assert (moved.account_id, moved.endpoint_name) == (receiver.id, "renamed")


def test_a_receiver_that_is_deleted_takes_nothing(scene: Scene, owner: Account, device: Device) -> None:
    receiver = scene.account()
    transfer = offered(scene, owner, device, to=receiver)
    assert isinstance(scene.run(DeleteAccount(receiver.id)), Done)

    refusal = scene.refused(accept(transfer, receiver))

    assert refusal.reason is Reason.RESOURCE_NOT_FOUND
    assert owners(scene, 1) == [owner.id]
    scene.run(CancelTransfer(owner.id, transfer.id, LATER))


def test_an_owner_that_is_deleted_gives_nothing(scene: Scene, receiver: Account) -> None:
    owner = scene.account()
    certificate = scene.certificate(owner)
    device = claimed(scene, owner, 1)
    transfer = offered(scene, owner, device, to=receiver)
    assert scene.refused(DeleteAccount(owner.id)).reason is Reason.ACCOUNT_NOT_EMPTY
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)

    scene.run(DeleteTrustedCertificate(owner.id, certificate.id))
    scene.run(DeleteAccount(owner.id))

    assert scene.refused(accept(transfer, receiver)).reason is Reason.TRANSFER_OUTDATED
    assert owners(scene, 1) == [None]


def test_another_account_that_claims_an_offered_device_takes_it_out_of_the_offer(scene: Scene) -> None:
    """A pre-assigned device is claimed by whoever enrolls it; its owner's offer then has nothing to give."""
    owner = scene.trusting_account(enrollment_mode=False)
    receiver, claimant = scene.trusting_account(enrollment_mode=False), scene.trusting_account()
    device = scene.claim(1, account_id=owner.id).device
    transfer = offered(scene, owner, device, to=receiver)
    scene.enrollment(claimant, 1)
    scene.claim(1)

    assert scene.refused(accept(transfer, receiver)).reason is Reason.TRANSFER_OUTDATED
    assert owners(scene, 1) == [claimant.id]


# --- keeping house ---------------------------------------------------------------------------------


def test_transfers_expire_in_order_of_time_and_free_their_devices(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    other = claimed(scene, owner, 2)
    soon = offered(scene, owner, device, to=receiver, expires_at=NOW + HOUR)
    late = offered(scene, owner, other, expires_at=NOW + 2 * HOUR)

    assert scene.run(ExpireTransfers(NOW + HOUR - timedelta(seconds=1), 10)) == Swept(0, more=False)
    assert scene.run(ExpireTransfers(NOW + 3 * HOUR, 1)) == Swept(1, more=True)

    states = [seen(scene, owner, transfer) for transfer in (soon, late)]
    assert [t.state for t in states if t] == [TransferState.EXPIRED, TransferState.OFFERED]
    with scene.store.view() as view:
        assert view.find_offers([fingerprint(1), fingerprint(2)]) == [None, late.id]


def test_decided_transfers_are_forgotten_after_their_time_and_open_ones_are_not(
    scene: Scene, owner: Account, receiver: Account, device: Device
) -> None:
    done = offered(scene, owner, device, to=receiver)
    accepted(scene, done, receiver)
    standing = offered(scene, owner, claimed(scene, owner, 2), to=receiver)

    assert scene.run(ForgetTransfers(LATER - timedelta(seconds=1), 10)) == Swept(0, more=False)
    assert scene.run(ForgetTransfers(LATER, 10)) == Swept(1, more=False)

    for account in (owner, receiver):
        assert seen(scene, account, done) is None
        assert seen(scene, account, standing) == standing
    assert owners(scene, 1) == [receiver.id]


def test_a_thousand_devices_move_together(scene: Scene, owner: Account, receiver: Account) -> None:
    rows = tuple(scene.new_enrollment(owner.id, number) for number in range(1_000))
    scene.run(CreateEnrollments(rows, NOW))
    answers = scene.try_all(*(scene.claim_command(number) for number in range(1_000)))
    devices = [answer.device for answer in answers if isinstance(answer, Claimed)]
    assert len(devices) == 1_000

    accepted(scene, offered(scene, owner, *devices, to=receiver), receiver)

    with scene.store.view() as view:
        assert (view.count_devices(owner.id), view.count_devices(receiver.id)) == (0, 1_000)
        assert len(view.list_devices_by_name(receiver.id, after=None, limit=2_000)) == 1_000


def test_transfers_are_listed_in_order_of_creation_both_ways(
    scene: Scene, owner: Account, receiver: Account
) -> None:
    mine = [offered(scene, owner, claimed(scene, owner, number), to=receiver) for number in (1, 2)]
    theirs = offered(scene, receiver, claimed(scene, receiver, 3), to=owner)
    expected = [*mine, theirs]

    with scene.store.view() as view:
        for account in (owner, receiver):
            assert view.list_transfers(account.id, after=None, limit=9) == expected
            assert view.list_transfers(account.id, after=mine[0].id, limit=1) == [mine[1]]
            assert view.list_transfers(account.id, after=None, limit=9, descending=True) == expected[::-1]
        assert view.list_transfers("nonsense", after=None, limit=9) == []
        assert view.count_transfers("nonsense") == 0
