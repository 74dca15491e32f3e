"""Trusted certificates and the index of trust anchors."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from ftc_core.domain.certificate import (
    CertificateService,
    CertificateStatus,
    TrustAnchor,
    TrustedCertificateChanges,
)
from ftc_core.errors import Reason
from ftc_core.limits import TRUST_CANDIDATES_MAX
from ftc_core.storage.commands import (
    Created,
    CreateTrustedCertificate,
    DeleteTrustedCertificate,
    UpdateTrustedCertificate,
)
from tests.conformance.scene import CA, CA_DER, HOUR, NOW, OTHER_CA, Scene, fingerprint, reasons

SUBJECT = b"subject"


def test_a_certificate_reads_back_as_it_was_answered(scene: Scene) -> None:
    account = scene.account()
    certificate = scene.certificate(account)
    with scene.store.view() as view:
        assert view.get_trusted_certificate(account.id, certificate.id) == certificate
        assert view.get_trusted_certificate(scene.new_id(), certificate.id) is None
        assert view.count_trusted_certificates(account.id) == 1
    assert certificate.revision == scene.revision()


def test_one_account_holds_a_ca_once_per_service(scene: Scene) -> None:
    account = scene.account()
    scene.certificate(account)
    again = CreateTrustedCertificate(scene.new_certificate(account.id))
    assert scene.refused(again).reason is Reason.CERTIFICATE_ALREADY_EXISTS
    scene.certificate(account, service=CertificateService.LWM2M)
    with scene.store.view() as view:
        assert view.count_trusted_certificates(account.id) == 2


def test_a_certificate_needs_its_account(scene: Scene) -> None:
    command = CreateTrustedCertificate(scene.new_certificate("f" * 32))
    assert scene.refused(command).reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.made_up
def test_certificates_are_listed_per_account_in_pages(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    ids = [scene.certificate(one, ca=hashlib.sha256(bytes([n])).digest()).id for n in range(3)]
    scene.certificate(other)
    with scene.store.view() as view:
        assert [c.id for c in view.list_trusted_certificates(one.id, after=None, limit=2)] == ids[:2]
        assert [c.id for c in view.list_trusted_certificates(one.id, after=ids[1], limit=2)] == ids[2:]


def test_an_anchor_is_found_by_subject_and_by_fingerprint(scene: Scene) -> None:
    scene.certificate(scene.account())
    anchor = TrustAnchor(fingerprint=CA, certificate_der=CA_DER)
    with scene.store.view() as view:
        assert view.find_trust_anchors([SUBJECT], []) == [anchor]
        assert view.find_trust_anchors([], [CA]) == [anchor]
        assert view.find_trust_anchors([b"unknown"], [OTHER_CA, b"", b"short"]) == []


def test_an_anchor_is_found_once_however_many_accounts_hold_it(scene: Scene) -> None:
    for _ in range(3):
        scene.certificate(scene.account())
    with scene.store.view() as view:
        assert len(view.find_trust_anchors([SUBJECT, SUBJECT], [CA, CA])) == 1


def test_cas_with_one_subject_are_all_candidates(scene: Scene) -> None:
    account = scene.account()
    scene.certificate(account)
    scene.certificate(account, ca=OTHER_CA)
    with scene.store.view() as view:
        assert {a.fingerprint for a in view.find_trust_anchors([SUBJECT], [])} == {CA, OTHER_CA}


@pytest.mark.parametrize(
    "untrusted",
    [{"status": CertificateStatus.INACTIVE}, {"service": CertificateService.LWM2M}],
    ids=["inactive", "lwm2m"],
)
def test_only_active_bootstrap_certificates_are_anchors(scene: Scene, untrusted: dict[str, object]) -> None:
    scene.certificate(scene.account(), **untrusted)
    with scene.store.view() as view:
        assert view.find_trust_anchors([SUBJECT], [CA]) == []


@pytest.mark.made_up
def test_look_alikes_cannot_crowd_out_the_ca_named_by_fingerprint(scene: Scene) -> None:
    account = scene.account()
    for number in range(TRUST_CANDIDATES_MAX + 5):
        scene.certificate(account, ca=hashlib.sha256(b"look-alike %d" % number).digest())
    scene.certificate(account)
    with scene.store.view() as view:
        anchors = view.find_trust_anchors([SUBJECT], [CA])
    assert len(anchors) == TRUST_CANDIDATES_MAX
    assert anchors[0].fingerprint == CA


INACTIVE = TrustedCertificateChanges(status=CertificateStatus.INACTIVE)
ACTIVE = TrustedCertificateChanges(status=CertificateStatus.ACTIVE)


@pytest.mark.made_up
def test_later_look_alikes_do_not_crowd_out_a_ca(scene: Scene) -> None:
    account, attacker = scene.account(), scene.account()
    first = scene.certificate(account, ca=b"\xff" * 32, subject=SUBJECT)
    for number in range(TRUST_CANDIDATES_MAX + 5):
        scene.certificate(attacker, ca=fingerprint(number), subject=SUBJECT)
    scene.certificate(attacker, ca=first.fingerprint, subject=SUBJECT)

    with scene.store.view() as view:
        anchors = [anchor.fingerprint for anchor in view.find_trust_anchors([SUBJECT], [])]
    assert anchors[0] == first.fingerprint
    assert anchors[1:] == [fingerprint(number) for number in range(TRUST_CANDIDATES_MAX - 1)]


def test_ca_that_nobody_trusts_any_more_leaves_no_trace_in_the_index(scene: Scene) -> None:
    held = [scene.certificate(scene.account(), ca=CA, subject=SUBJECT) for _ in range(2)]
    for certificate in held:
        scene.run(DeleteTrustedCertificate(certificate.account_id, certificate.id))
    later = scene.certificate(scene.account(), ca=OTHER_CA, subject=SUBJECT)
    scene.certificate(scene.account(), ca=CA, subject=SUBJECT)

    with scene.store.view() as view:
        anchors = [anchor.fingerprint for anchor in view.find_trust_anchors([SUBJECT], [])]
    assert anchors == [later.fingerprint, CA]


def is_anchor(scene: Scene) -> bool:
    """Whether the index has the CA, by fingerprint and by subject alike."""
    with scene.store.view() as view:
        found = [view.find_trust_anchors([], [CA]), view.find_trust_anchors([SUBJECT], [])]
    assert found[0] == found[1]
    return found[0] != []


@pytest.mark.parametrize(
    "changes",
    [
        TrustedCertificateChanges(display_name="New", description="Line 4"),
        TrustedCertificateChanges(enrollment_mode=False),
        INACTIVE,
        TrustedCertificateChanges(),
    ],
)
def test_an_update_changes_the_given_fields_and_no_others(
    scene: Scene, changes: TrustedCertificateChanges
) -> None:
    certificate = scene.certificate(scene.account())

    outcome = scene.run(UpdateTrustedCertificate(certificate.account_id, certificate.id, changes, NOW + HOUR))

    assert isinstance(outcome, Created)
    expected = msgspec.structs.replace(
        changes.applied_to(certificate), updated_at=NOW + HOUR, revision=scene.revision()
    )
    assert outcome.certificate == expected
    with scene.store.view() as view:
        assert view.get_trusted_certificate(certificate.account_id, certificate.id) == expected
        assert view.count_trusted_certificates(certificate.account_id) == 1


def test_trust_in_a_ca_ends_with_the_last_account_that_holds_it_active(scene: Scene) -> None:
    one, two = (scene.certificate(scene.account()) for _ in range(2))

    scene.run(UpdateTrustedCertificate(one.account_id, one.id, INACTIVE, NOW))
    scene.run(UpdateTrustedCertificate(one.account_id, one.id, INACTIVE, NOW))
    assert is_anchor(scene)
    scene.run(DeleteTrustedCertificate(two.account_id, two.id))
    assert not is_anchor(scene)
    scene.run(UpdateTrustedCertificate(one.account_id, one.id, ACTIVE, NOW))
    scene.run(UpdateTrustedCertificate(one.account_id, one.id, ACTIVE, NOW))
    assert is_anchor(scene)
    scene.run(DeleteTrustedCertificate(one.account_id, one.id))
    assert not is_anchor(scene)


def test_a_certificate_that_was_no_anchor_takes_no_trust_with_it(scene: Scene) -> None:
    scene.certificate(scene.account())
    inactive = scene.certificate(scene.account(), status=CertificateStatus.INACTIVE)
    lwm2m = scene.certificate(scene.account(), service=CertificateService.LWM2M)

    for certificate in (inactive, lwm2m):
        scene.run(DeleteTrustedCertificate(certificate.account_id, certificate.id))

    assert is_anchor(scene)


def test_the_next_claim_in_the_same_batch_is_judged_by_the_update(scene: Scene) -> None:
    account = scene.account()
    certificate = scene.certificate(account)
    scene.enrollment(account, 1)
    off = TrustedCertificateChanges(enrollment_mode=False)
    on = TrustedCertificateChanges(enrollment_mode=True)

    answers = scene.try_all(
        UpdateTrustedCertificate(account.id, certificate.id, off, NOW),
        scene.claim_command(1),
        UpdateTrustedCertificate(account.id, certificate.id, on, NOW),
        scene.claim_command(1),
        DeleteTrustedCertificate(account.id, certificate.id),
        scene.claim_command(1),
    )

    assert reasons(answers) == [
        None,
        Reason.CA_NOT_IN_ACCOUNT,
        None,
        None,
        None,
        Reason.CA_NOT_IN_ACCOUNT,
    ]


def test_a_ca_in_use_is_deleted_and_its_devices_stay(scene: Scene) -> None:
    account = scene.account()
    certificate = scene.certificate(account)
    scene.enrollment(account, 1)
    device = scene.claim(1).device

    scene.run(DeleteTrustedCertificate(account.id, certificate.id, certificate.revision))

    assert scene.find_device(1) == device
    with scene.store.view() as view:
        assert view.get_trusted_certificate(account.id, certificate.id) is None
        assert view.count_trusted_certificates(account.id) == 0
    scene.certificate(account)  # and it may come again


def test_a_stale_or_unknown_certificate_is_neither_changed_nor_deleted(scene: Scene) -> None:
    certificate = scene.certificate(scene.account())
    elsewhere = scene.account().id
    stale = certificate.revision + 1

    refusals = [
        scene.refused(command)
        for command in (
            UpdateTrustedCertificate(certificate.account_id, certificate.id, INACTIVE, NOW, stale),
            DeleteTrustedCertificate(certificate.account_id, certificate.id, stale),
            UpdateTrustedCertificate(elsewhere, certificate.id, INACTIVE, NOW),
            DeleteTrustedCertificate(elsewhere, certificate.id),
        )
    ]

    assert [refusal.reason for refusal in refusals] == [Reason.ETAG_MISMATCH] * 2 + [
        Reason.RESOURCE_NOT_FOUND
    ] * 2
    assert is_anchor(scene)


# --- CAs that were withdrawn -------------------------------------------------------------------------


def inactive_holders(scene: Scene, *subjects: bytes, limit: int = 10) -> list[str]:
    with scene.store.view() as view:
        return view.find_inactive_holders(subjects, limit=limit)


def test_whoever_holds_an_inactive_ca_is_found_by_its_subject(scene: Scene) -> None:
    accounts = [scene.account() for _ in range(3)]
    for account in accounts:
        scene.certificate(account, status=CertificateStatus.INACTIVE)
    scene.certificate(accounts[0], ca=OTHER_CA, status=CertificateStatus.INACTIVE)
    scene.certificate(scene.account())
    scene.certificate(scene.account(), status=CertificateStatus.INACTIVE, service=CertificateService.LWM2M)

    holders = [account.id for account in accounts]
    assert inactive_holders(scene, SUBJECT) == holders
    assert inactive_holders(scene, b"nobody", SUBJECT, SUBJECT) == holders
    assert inactive_holders(scene, SUBJECT, limit=2) == holders[:2]
    assert inactive_holders(scene, SUBJECT, limit=0) == []
    assert inactive_holders(scene, b"nobody") == inactive_holders(scene) == []


def test_a_ca_that_is_activated_or_deleted_is_inactive_no_more(scene: Scene) -> None:
    account = scene.account()
    active, inactive = CertificateStatus.ACTIVE, CertificateStatus.INACTIVE
    certificate = scene.certificate(account)

    def becomes(status: CertificateStatus) -> list[str]:
        changes = TrustedCertificateChanges(status=status)
        scene.run(UpdateTrustedCertificate(account.id, certificate.id, changes, NOW))
        return inactive_holders(scene, SUBJECT)

    assert inactive_holders(scene, SUBJECT) == []
    assert becomes(inactive) == [account.id]
    assert becomes(inactive) == [account.id]
    assert becomes(active) == []
    assert becomes(inactive) == [account.id]
    scene.run(DeleteTrustedCertificate(account.id, certificate.id))
    assert inactive_holders(scene, SUBJECT) == []
