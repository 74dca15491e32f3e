"""Denials in the store: whom they concern, what is one, how many are kept, for how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ftc_core.domain.account import Account
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificateChanges
from ftc_core.domain.denial import Denial, Sighting, position_among_all, seen_position
from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DENIAL_ACCOUNTS_MAX
from ftc_core.storage.commands import DeleteAccount, DeleteTrustedCertificate, Swept, UpdateTrustedCertificate
from ftc_core.storage.denial_commands import DenialsRecorded, ForgetDenials, RecordDenials
from ftc_core.storage.engines import open_store
from tests.conformance.scene import CA, HOUR, NOW, OTHER_CA, Scene, fingerprint

SECOND = timedelta(seconds=1)


def sighting(scene: Scene, number: int | None = 1, **changes: Any) -> Sighting:
    """Of the device `number` of `CA`; without one, of somebody who presented no certificate."""
    at: datetime = changes.pop("at", NOW)
    more = {name: changes.pop(name) for name in ("issuing_cas", "named_account_id") if name in changes}
    fields: dict[str, Any] = {
        "id": scene.new_id(),
        "reason": Reason.ENROLLMENT_NOT_FOUND,
        "fingerprint": None if number is None else fingerprint(number),
        "address": "192.0.2.1:40000",
        "first_seen_at": at,
        "last_seen_at": at,
        "count": 1,
    }
    return Sighting(denial=Denial(**(fields | changes)), **({"issuing_cas": (CA,)} | more))


def record(scene: Scene, *sightings: Sighting, now: datetime = NOW, **bounds: int) -> int:
    outcome = scene.run(RecordDenials(sightings, now, **bounds))
    assert isinstance(outcome, DenialsRecorded)
    return outcome.new


def denials(scene: Scene, account: Account | None) -> list[Denial]:
    with scene.store.view() as view:
        found = view.list_denials(account and account.id, after=None, limit=1_000)
        assert view.count_denials(account and account.id) == len(found)
        return found


def everything(scene: Scene) -> list[Denial]:
    with scene.store.view() as view:
        found = view.list_all_denials(after=None, limit=1_000)
        assert view.count_all_denials() == len(found)
        return found


# --- whom it concerns --------------------------------------------------------------------------------


def test_device_on_a_list_concerns_its_account_alone(scene: Scene) -> None:
    owner, other = scene.trusting_account(), scene.trusting_account()
    scene.enrollment(owner, 1)

    record(scene, sighting(scene, reason=Reason.QUOTA_REACHED))

    [denial] = denials(scene, owner)
    assert denial.account_id == owner.id
    assert denials(scene, other) == denials(scene, None) == []
    assert everything(scene) == [denial]


def test_device_on_a_list_concerns_its_account_whoever_issued_its_certificate(scene: Scene) -> None:
    owner = scene.account()
    scene.enrollment(owner, 1)

    record(scene, sighting(scene, reason=Reason.CA_NOT_UPLOADED, issuing_cas=()))

    [denial] = denials(scene, owner)
    assert denial.trusted_certificate_id is None


def test_expired_enrollment_makes_nobody_concerned(scene: Scene) -> None:
    enrolled, holder = scene.account(), scene.trusting_account()
    scene.enrollment(enrolled, 1, expires_at=NOW + SECOND)

    record(scene, sighting(scene), now=NOW + SECOND)

    assert denials(scene, enrolled) == []
    assert len(denials(scene, holder)) == 1


def test_device_that_is_claimed_concerns_its_owner(scene: Scene) -> None:
    owner, other = scene.trusting_account(), scene.trusting_account()
    scene.certificate(owner, ca=OTHER_CA, enrollment_mode=False)
    scene.claim(1, account_id=owner.id, issuing_cas=(OTHER_CA,))  # pre-assigned: on no list

    record(scene, sighting(scene, reason=Reason.DEVICE_BLOCKED))

    assert len(denials(scene, owner)) == 1
    assert denials(scene, other) == []


@pytest.mark.parametrize("status", CertificateStatus)
def test_device_on_no_list_concerns_every_account_that_holds_its_ca(
    scene: Scene, status: CertificateStatus
) -> None:
    first, second, stranger = scene.account(), scene.account(), scene.trusting_account(ca=OTHER_CA)
    held = [scene.certificate(account, status=status) for account in (first, second)]

    assert record(scene, sighting(scene)) == 1

    found = [*denials(scene, first), *denials(scene, second)]
    assert [(denial.account_id, denial.trusted_certificate_id) for denial in found] == [
        (certificate.account_id, certificate.id) for certificate in held
    ]
    assert found[0].id == found[1].id
    assert denials(scene, stranger) == denials(scene, None) == []


def test_ca_of_servers_concerns_nobody(scene: Scene) -> None:
    account = scene.account()
    scene.certificate(account, service=CertificateService.LWM2M)
    record(scene, sighting(scene))
    assert denials(scene, account) == []
    assert len(denials(scene, None)) == 1


def test_ca_that_changed_its_status_is_held_and_a_deleted_one_is_not(scene: Scene) -> None:
    account = scene.account()
    certificate = scene.certificate(account)
    changes = TrustedCertificateChanges(status=CertificateStatus.INACTIVE)
    scene.run(UpdateTrustedCertificate(account.id, certificate.id, changes, NOW))
    record(scene, sighting(scene, 1))
    scene.run(DeleteTrustedCertificate(account.id, certificate.id))
    record(scene, sighting(scene, 2))

    assert [denial.fingerprint for denial in denials(scene, account)] == [fingerprint(1)]
    assert [denial.fingerprint for denial in denials(scene, None)] == [fingerprint(2)]


def test_account_that_the_device_names_is_concerned_if_it_holds_the_ca(scene: Scene) -> None:
    enrolled, named, stranger = scene.trusting_account(), scene.trusting_account(), scene.account()
    scene.enrollment(enrolled, 1)

    record(scene, sighting(scene, 1, named_account_id=named.id))
    record(scene, sighting(scene, 2, named_account_id=named.id))
    record(scene, sighting(scene, 3, named_account_id=stranger.id))
    record(scene, sighting(scene, 4, named_account_id="no account"))

    def numbers(account: Account | None) -> list[bytes | None]:
        return sorted(denial.fingerprint or b"" for denial in denials(scene, account))

    def of(*devices: int) -> list[bytes]:
        return sorted(map(fingerprint, devices))

    assert numbers(enrolled) == of(1, 3, 4)
    assert numbers(named) == of(1, 2, 3, 4)
    assert numbers(stranger) == numbers(None) == []


def test_what_concerns_nobody_is_the_operators(scene: Scene) -> None:
    holder = scene.trusting_account()
    record(scene, sighting(scene, None), sighting(scene, 2, issuing_cas=(OTHER_CA,)), sighting(scene, 3))

    orphans = denials(scene, None)

    assert [denial.fingerprint for denial in orphans] == [None, fingerprint(2)]
    assert {denial.account_id for denial in orphans} == {None}
    assert len(denials(scene, holder)) == 1
    with scene.store.view() as view:
        assert view.get_denial(None, orphans[0].id) == orphans[0]
        assert view.get_denial(holder.id, orphans[0].id) is None
        assert view.get_denial(None, "no ID") is None


def test_ca_that_everybody_holds_concerns_a_few(scene: Scene) -> None:
    holders = [scene.trusting_account() for _ in range(DENIAL_ACCOUNTS_MAX + 3)]
    record(scene, sighting(scene))
    assert len(everything(scene)) == DENIAL_ACCOUNTS_MAX
    assert denials(scene, holders[-1]) == []


# --- what is one -------------------------------------------------------------------------------------


def test_device_that_comes_again_adds_to_its_denial(scene: Scene) -> None:
    account = scene.trusting_account()
    assert record(scene, sighting(scene)) == 1
    [first] = denials(scene, account)

    again = sighting(scene, at=NOW + HOUR / 2, count=4, address="[2001:db8::1]:9", endpoint_name="device-1")
    assert record(scene, again, again) == 0

    [denial] = denials(scene, account)
    assert (denial.id, denial.count, denial.first_seen_at) == (first.id, 9, NOW)
    assert denial.last_seen_at == NOW + HOUR / 2
    assert (denial.address, denial.endpoint_name) == ("[2001:db8::1]:9", "device-1")
    assert denial.revision > first.revision
    assert everything(scene) == [denial]


def test_another_cause_is_another_denial(scene: Scene) -> None:
    account = scene.trusting_account()
    record(
        scene,
        sighting(scene),
        sighting(scene, reason=Reason.CA_NOT_UPLOADED, alert="certificate_expired"),
        sighting(scene, reason=Reason.CA_NOT_UPLOADED, alert="unknown_ca"),
    )
    assert len(denials(scene, account)) == 3


def test_denials_survive_a_restart(scene: Scene, url: str) -> None:
    account = scene.trusting_account()
    record(scene, sighting(scene))
    before = denials(scene, account)
    scene.store.close()
    store = open_store(url)
    assert denials(Scene(store), account) == before
    store.close()


# --- who is told -------------------------------------------------------------------------------------


def test_account_is_told_of_the_first_time_and_after_an_hour_of_silence(scene: Scene) -> None:
    account = scene.trusting_account()
    enrollment = scene.enrollment(account, 1)
    before = scene.revision()
    for after in (0 * SECOND, HOUR - SECOND, 2 * HOUR - SECOND):
        record(scene, sighting(scene, at=NOW + after, reason=Reason.DUPLICATE_ENDPOINT), now=NOW + after)
    [denial] = denials(scene, account)

    assert [
        (event.kind, event.account_id, event.enrollment_id, event.fingerprint, event.denial_id, event.at)
        for event in scene.events(before)
    ] == [
        (EventKind.ENROLLMENT_DENIED, account.id, enrollment.id, fingerprint(1), denial.id, NOW + after)
        for after in (0 * SECOND, 2 * HOUR - SECOND)
    ]
    assert scene.revision() == before + 3
    assert denial.revision == before + 3


def test_event_of_a_device_on_no_list_names_no_enrollment(scene: Scene) -> None:
    scene.trusting_account()
    before = scene.revision()
    record(scene, sighting(scene))
    [event] = scene.events(before)
    assert event.enrollment_id is None


def test_operator_is_not_told_of_each_stranger(scene: Scene) -> None:
    before = scene.revision()
    record(scene, sighting(scene, None), sighting(scene, 1))
    assert scene.events(before) == []
    assert scene.revision() == before + 2


# --- how many, for how long --------------------------------------------------------------------------


def test_beyond_the_bound_those_go_that_were_last_seen_the_longest_ago(scene: Scene) -> None:
    account, other = scene.trusting_account(), scene.trusting_account(ca=OTHER_CA)
    record(scene, sighting(scene, 9, issuing_cas=(OTHER_CA,)))
    record(scene, *(sighting(scene, number, at=NOW + number * SECOND) for number in (1, 2, 3)), kept_max=3)
    record(scene, sighting(scene, 1, at=NOW + 10 * SECOND), kept_max=3)  # seen again: not the oldest any more

    record(scene, sighting(scene, 4, at=NOW + 11 * SECOND), kept_max=3)

    assert [denial.fingerprint for denial in denials(scene, account)] == [
        fingerprint(number) for number in (3, 1, 4)
    ]
    assert len(denials(scene, other)) == 1
    assert record(scene, sighting(scene, 2, at=NOW + 12 * SECOND)) == 1  # forgotten: new again


def test_denials_are_forgotten_by_their_last_time_the_oldest_first(scene: Scene) -> None:
    account = scene.trusting_account()
    for number in range(1, 5):
        issuers = (CA,) if number % 2 else ()
        record(scene, sighting(scene, number, at=NOW + number * SECOND, issuing_cas=issuers))

    assert scene.run(ForgetDenials(NOW + 3 * SECOND, 2)) == Swept(2, more=True)
    assert scene.run(ForgetDenials(NOW + 3 * SECOND, 2)) == Swept(1, more=False)
    assert [denial.fingerprint for denial in everything(scene)] == [fingerprint(4)]
    assert denials(scene, account) == []
    assert len(denials(scene, None)) == 1


def test_denials_go_with_their_account(scene: Scene) -> None:
    account, other = scene.account(), scene.trusting_account()
    certificate = scene.certificate(account)
    record(scene, sighting(scene, 1), sighting(scene, 2))
    scene.run(DeleteTrustedCertificate(account.id, certificate.id))

    scene.run(DeleteAccount(account.id))

    assert denials(scene, account) == []
    assert len(denials(scene, other)) == len(everything(scene)) == 2


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
def test_pages_are_in_order_of_the_last_time_one_after_the_other(scene: Scene, descending: bool) -> None:
    account, other = scene.trusting_account(), scene.trusting_account()
    for number in range(1, 6):
        record(scene, sighting(scene, number, at=NOW + (7 * number % 5) * SECOND))
    record(scene, sighting(scene, None, at=NOW + 2 * SECOND))
    own = sorted(denials(scene, account), key=seen_position, reverse=descending)
    all_of_them = sorted(everything(scene), key=position_among_all, reverse=descending)
    assert len(own) == len(denials(scene, other)) == 5
    assert len(all_of_them) == 11

    with scene.store.view() as view:
        after = None
        for expected in own:
            [denial] = view.list_denials(account.id, after=after, limit=1, descending=descending)
            assert denial == expected
            after = seen_position(denial)
        assert view.list_denials(account.id, after=after, limit=1, descending=descending) == []
        after = None
        for expected in all_of_them:
            [denial] = view.list_all_denials(after=after, limit=1, descending=descending)
            assert denial == expected
            after = position_among_all(denial)
        assert view.list_all_denials(after=after, limit=1, descending=descending) == []


def test_position_that_is_none_is_refused(scene: Scene) -> None:
    account = scene.trusting_account()
    with scene.store.view() as view:
        for read in (
            lambda: view.list_denials(account.id, after="0" * 32, limit=1),
            lambda: view.list_all_denials(after="x", limit=1),
        ):
            with pytest.raises(FtcError) as refusal:
                read()
            assert refusal.value.reason is Reason.PAGE_TOKEN_INVALID
        assert view.list_denials("no account", after=None, limit=1) == []
        assert view.count_denials("no account") == 0
