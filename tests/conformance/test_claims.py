"""The claim in the store: facts, effects, re-claims, releases, competition."""

from __future__ import annotations

import msgspec
import pytest

from ftc_core.domain.account import AccountStatus
from ftc_core.domain.certificate import CertificateService
from ftc_core.domain.claim import ClaimFacts
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.domain.ledger import LedgerKind, first_broken
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import ENDPOINT_NAME_MAX_BYTES
from ftc_core.storage.commands import ClaimDevice, Claimed, Done, MarkBootstrapped
from tests.conformance.scene import (
    CA,
    HOUR,
    NOW,
    OTHER_CA,
    Scene,
    claim_request,
    fingerprint,
    reasons,
)


def ledger_of(scene: Scene, number: int) -> list[tuple[LedgerKind, str, str]]:
    """Kind, account and device of each entry; the chain must hold."""
    with scene.store.view() as view:
        entries = view.ledger(fingerprint(number))
    assert first_broken(entries) is None
    assert [e.sequence for e in entries] == list(range(1, len(entries) + 1))
    return [(e.kind, e.account_id, e.device_id) for e in entries]


# --- facts -----------------------------------------------------------------------------------------


def test_facts_of_an_unknown_device_are_empty(scene: Scene) -> None:
    request = claim_request(1)
    with scene.store.view() as view:
        facts = view.claim_facts(request)
    assert facts == ClaimFacts(
        request=request, enrollment=None, account=None, certificates=(), device=None, endpoint_holder=None
    )


def test_facts_follow_the_enrollment_to_its_account(scene: Scene) -> None:
    scene.trusting_account()
    account = scene.account()
    certificate = scene.certificate(account)
    also = scene.certificate(account, service=CertificateService.LWM2M)
    scene.certificate(account, ca=OTHER_CA)
    enrollment = scene.enrollment(account, 1)
    with scene.store.view() as view:
        facts = view.claim_facts(claim_request(1))
    assert (facts.enrollment, facts.account) == (enrollment, account)
    assert set(facts.certificates) == {certificate, also}
    assert (facts.device, facts.endpoint_holder) == (None, None)


def test_facts_follow_the_account_that_the_device_names(scene: Scene) -> None:
    enrolled, named = scene.trusting_account(), scene.trusting_account()
    enrollment = scene.enrollment(enrolled, 1)
    with scene.store.view() as view:
        facts = view.claim_facts(claim_request(1, account_id=named.id))
        unknown = view.claim_facts(claim_request(1, account_id="nonsense"))
    assert facts.account == named
    assert facts.enrollment == enrollment
    assert [c.account_id for c in facts.certificates] == [named.id]
    assert unknown.account is None


def test_facts_show_the_device_and_who_holds_the_endpoint_name(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    scene.enrollment(account, 2)
    device = scene.claim(1).device
    with scene.store.view() as view:
        same = view.claim_facts(claim_request(1))
        rival = view.claim_facts(claim_request(2, endpoint_name="device-1"))
    assert same.device == device
    assert same.endpoint_holder == rival.endpoint_holder == fingerprint(1)
    assert rival.device is None


def test_facts_as_if_one_account_were_alone_show_nothing_of_another(scene: Scene) -> None:
    owner, alone = scene.trusting_account(), scene.trusting_account()
    scene.enrollment(owner, 1)
    scene.claim(1)
    scene.enrollment(alone, 2)
    with scene.store.view() as view:
        nobodys = view.claim_facts(claim_request(3, account_id=alone.id), alone=alone.id)
        theirs = view.claim_facts(claim_request(1, account_id=alone.id), alone=alone.id)
        naming = view.claim_facts(claim_request(1, account_id=owner.id), alone=alone.id)
        own = view.claim_facts(claim_request(2), alone=alone.id)
        assert own == view.claim_facts(claim_request(2))
    assert nobodys.account == alone
    assert theirs == msgspec.structs.replace(nobodys, request=theirs.request)
    assert naming == msgspec.structs.replace(nobodys, request=naming.request, account=None, certificates=())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("n" * 257, Reason.ENDPOINT_NAME_TOO_LONG), ("\udc80", Reason.ENDPOINT_NAME_INVALID)],
)
def test_a_name_that_cannot_be_held_is_refused(scene: Scene, name: str, reason: Reason) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    assert scene.refused(scene.claim_command(1, endpoint_name=name)).reason is reason


def test_a_name_of_the_greatest_length_is_held(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    name = "é" * (ENDPOINT_NAME_MAX_BYTES // 2)
    assert scene.claim(1, endpoint_name=name).device.endpoint_name == name


# --- first claim -----------------------------------------------------------------------------------


def test_a_claim_writes_all_of_its_effects(scene: Scene) -> None:
    account = scene.account()
    certificate = scene.certificate(account)
    enrollment = scene.enrollment(account, 1)
    before = scene.revision()
    command = scene.claim_command(1, client_version="4.13")
    outcome = scene.run(command)
    assert isinstance(outcome, Claimed)
    assert outcome.first_claim
    assert outcome.device == Device(
        id=command.device_id,
        account_id=account.id,
        endpoint_name="device-1",
        fingerprint=fingerprint(1),
        trusted_certificate_id=certificate.id,
        enrollment_id=enrollment.id,
        state=DeviceState.CLOUD_ENROLLING,
        created_at=NOW,
        claimed_at=NOW,
        last_seen_at=NOW,
        client_version="4.13",
        last_address="192.0.2.1:40000",
        issuing_cas=(CA,),
        revision=before + 2,
    )
    with scene.store.view() as view:
        assert view.get_device(account.id, command.device_id) == outcome.device
        assert view.find_devices([fingerprint(1), fingerprint(2)]) == [outcome.device, None]
        assert view.count_devices(account.id) == 1
        stored = view.get_account(account.id)
        assert stored is not None
        assert stored.device_count == 1
        assert stored.revision == account.revision, "counting is not a change of the account"
    assert scene.find_enrollment(1) == msgspec.structs.replace(
        enrollment, claimed_at=NOW, enrolled_device_id=command.device_id, revision=before + 1
    )
    assert [(e.kind, e.device_id, e.enrollment_id, e.at) for e in scene.events(before)] == [
        (EventKind.ENROLLMENT_CLAIMED, command.device_id, enrollment.id, NOW),
        (EventKind.DEVICE_CLAIMED, command.device_id, enrollment.id, NOW),
    ]
    assert ledger_of(scene, 1) == [(LedgerKind.CLAIMED, account.id, command.device_id)]


def test_each_refusal_of_the_decision_reaches_the_caller_and_changes_nothing(scene: Scene) -> None:
    trusting, full, bare = scene.trusting_account(), scene.trusting_account(quota=0), scene.account()
    suspended = scene.account(status=AccountStatus.SUSPENDED)
    scene.certificate(suspended)
    scene.enrollment(trusting, 1)
    scene.claim(1)
    scene.enrollment(trusting, 2)
    scene.enrollment(trusting, 3, expires_at=NOW)
    scene.enrollment(bare, 4)
    scene.enrollment(suspended, 5)
    scene.enrollment(full, 6)
    cases = [
        (scene.claim_command(2, issuing_cas=()), Reason.CA_NOT_UPLOADED),
        (scene.claim_command(2, common_name="another"), Reason.ENDPOINT_NAME_MISMATCH),
        (scene.claim_command(9), Reason.ENROLLMENT_NOT_FOUND),
        (scene.claim_command(3), Reason.ENROLLMENT_NOT_FOUND),
        (scene.claim_command(4), Reason.CA_NOT_IN_ACCOUNT),
        (scene.claim_command(5), Reason.ACCOUNT_SUSPENDED),
        (scene.claim_command(2, endpoint_name="device-1"), Reason.DUPLICATE_ENDPOINT),
        (scene.claim_command(6), Reason.QUOTA_REACHED),
    ]
    for command, reason in cases:
        assert scene.refused(command).reason is reason


def test_one_endpoint_name_may_be_used_in_two_accounts(scene: Scene) -> None:
    for number in (1, 2):
        scene.enrollment(scene.trusting_account(), number)
        assert scene.claim(number, endpoint_name="sensor").first_claim


def test_a_device_id_that_is_taken_is_refused(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    scene.enrollment(account, 2)
    taken = scene.claim(1).device.id
    assert scene.refused(ClaimDevice(claim_request(2), taken, NOW)).reason is Reason.RESOURCE_ALREADY_EXISTS


# --- claiming again --------------------------------------------------------------------------------


def test_a_claim_again_keeps_device_and_counts_once(scene: Scene) -> None:
    account = scene.trusting_account(quota=1)
    scene.enrollment(account, 1)
    first = scene.claim(1)
    scene.run(MarkBootstrapped(account.id, first.device.id, NOW + HOUR))
    before, enrollment = scene.revision(), scene.find_enrollment(1)
    again = scene.claim(1, now=NOW + 2 * HOUR)
    assert not again.first_claim
    assert again.grant.device_id == first.device.id
    assert again.device == msgspec.structs.replace(
        first.device, bootstrapped_at=NOW + HOUR, last_seen_at=NOW + 2 * HOUR, revision=before + 1
    )
    assert scene.events(before) == []
    assert scene.find_enrollment(1) == enrollment
    assert len(ledger_of(scene, 1)) == 1
    with scene.store.view() as view:
        assert view.count_devices(account.id) == 1


def test_a_claim_again_may_change_the_endpoint_name_and_frees_the_old_one(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.enrollment(account, 1)
    scene.enrollment(account, 2)
    scene.claim(1, endpoint_name="old")
    assert scene.claim(1, endpoint_name="new").device.endpoint_name == "new"
    assert scene.claim(2, endpoint_name="old").first_claim


def test_a_claim_again_ends_the_registration_until_the_device_registers(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    registered = scene.registered(1)
    again = scene.claim(1).device
    assert again.state is DeviceState.CLOUD_ENROLLING
    assert again.registered_at == registered.registered_at


# --- release and ownership -------------------------------------------------------------------------


def test_release_takes_the_device_with_all_that_it_held(scene: Scene) -> None:
    account = scene.trusting_account(quota=1)
    enrollment = scene.enrollment(account, 1)
    device = scene.claim(1).device
    before = scene.revision()
    assert scene.release(enrollment, now=NOW + HOUR) == Done(before + 2)
    assert [(e.kind, e.device_id) for e in scene.events(before)] == [
        (EventKind.ENROLLMENT_DELETED, device.id),
        (EventKind.DEVICE_RELEASED, device.id),
    ]
    assert scene.find_device(1) is None
    with scene.store.view() as view:
        assert view.get_device(account.id, device.id) is None
        assert view.count_devices(account.id) == view.count_enrollments(account.id) == 0
    assert ledger_of(scene, 1) == [
        (LedgerKind.CLAIMED, account.id, device.id),
        (LedgerKind.RELEASED, account.id, device.id),
    ]
    # Quota and endpoint name are free again.
    scene.enrollment(account, 2)
    assert scene.claim(2, endpoint_name="device-1").first_claim


def test_a_released_device_is_claimed_by_whoever_enrolls_it_next(scene: Scene) -> None:
    old, new = scene.trusting_account(), scene.trusting_account()
    enrollment = scene.enrollment(old, 1)
    first = scene.claim(1).device
    scene.release(enrollment)
    assert scene.refused(scene.claim_command(1)).reason is Reason.ENROLLMENT_NOT_FOUND
    scene.enrollment(new, 1)
    assert scene.refused(scene.claim_command(1, account_id=old.id)).reason is Reason.ENROLLMENT_NOT_FOUND
    second = scene.claim(1)
    assert second.first_claim
    assert (second.device.account_id, second.device.id != first.id) == (new.id, True)
    assert [kind for kind, _, _ in ledger_of(scene, 1)] == [
        LedgerKind.CLAIMED,
        LedgerKind.RELEASED,
        LedgerKind.CLAIMED,
    ]


def test_a_pre_assigned_device_needs_no_enrollment(scene: Scene) -> None:
    account = scene.trusting_account(enrollment_mode=False)
    claimed = scene.claim(1, account_id=account.id)
    assert claimed.first_claim
    assert claimed.device.enrollment_id is None
    assert [e.kind for e in scene.events()] == [EventKind.DEVICE_CLAIMED]
    assert not scene.claim(1, account_id=account.id).first_claim


def test_a_pre_assigned_device_that_is_enrolled_later_claims_its_enrollment(scene: Scene) -> None:
    account = scene.trusting_account(enrollment_mode=False)
    device = scene.claim(1, account_id=account.id).device
    enrollment = scene.enrollment(account, 1, expires_at=NOW + HOUR)
    before = scene.revision()
    again = scene.claim(1, account_id=account.id)
    assert not again.first_claim
    assert (again.device.id, again.device.enrollment_id) == (device.id, enrollment.id)
    assert [e.kind for e in scene.events(before)] == [EventKind.ENROLLMENT_CLAIMED]
    scene.release(enrollment)
    assert scene.find_device(1) is None


def test_a_device_leaves_its_owner_in_the_step_that_gives_it_to_another(scene: Scene) -> None:
    old, new = scene.trusting_account(enrollment_mode=False), scene.trusting_account()
    first = scene.claim(1, account_id=old.id).device
    scene.enrollment(new, 1)
    before = scene.revision()
    second = scene.claim(1)
    assert second.first_claim
    assert second.device.account_id == new.id
    assert [(e.kind, e.account_id) for e in scene.events(before)] == [
        (EventKind.DEVICE_RELEASED, old.id),
        (EventKind.ENROLLMENT_CLAIMED, new.id),
        (EventKind.DEVICE_CLAIMED, new.id),
    ]
    assert ledger_of(scene, 1) == [
        (LedgerKind.CLAIMED, old.id, first.id),
        (LedgerKind.RELEASED, old.id, first.id),
        (LedgerKind.CLAIMED, new.id, second.device.id),
    ]
    with scene.store.view() as view:
        assert (view.count_devices(old.id), view.count_devices(new.id)) == (0, 1)
        assert view.get_device(old.id, first.id) is None


# --- competition inside one batch ------------------------------------------------------------------


def test_quota_is_exact_under_competing_claims(scene: Scene) -> None:
    account = scene.trusting_account(quota=3)
    for number in range(10):
        scene.enrollment(account, number)
    answers = scene.try_all(*(scene.claim_command(number) for number in range(10)))
    assert reasons(answers) == [None] * 3 + [Reason.QUOTA_REACHED] * 7
    with scene.store.view() as view:
        assert view.count_devices(account.id) == 3


def test_one_endpoint_name_has_one_winner(scene: Scene) -> None:
    account = scene.trusting_account()
    for number in range(3):
        scene.enrollment(account, number)
    answers = scene.try_all(*(scene.claim_command(n, endpoint_name="sensor") for n in range(3)))
    assert reasons(answers) == [None] + [Reason.DUPLICATE_ENDPOINT] * 2


def test_one_certificate_claims_one_device_however_often_it_asks(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    answers = scene.try_all(*(scene.claim_command(1) for _ in range(4)))
    claims = [answer for answer in answers if isinstance(answer, Claimed)]
    assert [claim.first_claim for claim in claims] == [True, False, False, False]
    assert len({claim.device.id for claim in claims}) == 1


# --- bootstrap finished ----------------------------------------------------------------------------


def test_bootstrap_finish_is_recorded(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    device = scene.claim(1).device
    before = scene.revision()
    outcome = scene.run(MarkBootstrapped(device.account_id, device.id, NOW + HOUR))
    assert outcome == Done(before + 1)
    assert scene.find_device(1) == msgspec.structs.replace(
        device, state=DeviceState.BOOTSTRAPPED, bootstrapped_at=NOW + HOUR, revision=before + 1
    )
    assert [e.kind for e in scene.events(before)] == [EventKind.DEVICE_BOOTSTRAPPED]


def test_bootstrap_finish_that_is_recorded_late_does_not_undo_the_registration(scene: Scene) -> None:
    scene.enrollment(scene.trusting_account(), 1)
    device = scene.registered(1)
    scene.run(MarkBootstrapped(device.account_id, device.id, NOW))
    found = scene.find_device(1)
    assert found is not None
    assert (found.state, found.bootstrapped_at) == (DeviceState.REGISTERED, NOW)


def test_bootstrap_finish_of_a_device_that_left_is_not_found(scene: Scene) -> None:
    account = scene.trusting_account()
    enrollment = scene.enrollment(account, 1)
    device = scene.claim(1).device
    scene.release(enrollment)
    command = MarkBootstrapped(account.id, device.id, NOW)
    assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


def test_devices_are_listed_per_account_in_pages(scene: Scene) -> None:
    one, other = scene.trusting_account(), scene.trusting_account()
    for number in range(4):
        scene.enrollment(one, number)
    scene.enrollment(other, 9)
    ids = [scene.claim(number).device.id for number in range(4)]
    scene.claim(9)
    with scene.store.view() as view:
        assert [d.id for d in view.list_devices(one.id, after=None, limit=3)] == ids[:3]
        assert [d.id for d in view.list_devices(one.id, after=ids[2], limit=3)] == ids[3:]
        with pytest.raises(FtcError):
            view.list_devices(one.id, after="x", limit=1)


def test_the_ca_of_the_claim_is_one_that_vouches(scene: Scene) -> None:
    account = scene.account()
    scene.certificate(account, ca=OTHER_CA)
    certificate = scene.certificate(account, ca=CA)
    scene.enrollment(account, 1)
    assert scene.claim(1).grant.trusted_certificate_id == certificate.id
