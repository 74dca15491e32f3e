"""Trusted certificates and the index of trust anchors."""

from __future__ import annotations

import hashlib

import pytest

from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustAnchor
from ftc_core.errors import Reason
from ftc_core.limits import TRUST_CANDIDATES_MAX
from ftc_core.storage.port import CreateTrustedCertificate
from tests.conformance.scene import CA, OTHER_CA, Scene

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


def test_certificates_are_listed_per_account_in_pages(scene: Scene) -> None:
    one, other = scene.account(), scene.account()
    ids = [scene.certificate(one, ca=hashlib.sha256(bytes([n])).digest()).id for n in range(3)]
    scene.certificate(other)
    with scene.store.view() as view:
        assert [c.id for c in view.list_trusted_certificates(one.id, after=None, limit=2)] == ids[:2]
        assert [c.id for c in view.list_trusted_certificates(one.id, after=ids[1], limit=2)] == ids[2:]


def test_an_anchor_is_found_by_subject_and_by_fingerprint(scene: Scene) -> None:
    scene.certificate(scene.account())
    anchor = TrustAnchor(fingerprint=CA, certificate_der=b"DER of " + CA)
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


def test_look_alikes_cannot_crowd_out_the_ca_named_by_fingerprint(scene: Scene) -> None:
    account = scene.account()
    for number in range(TRUST_CANDIDATES_MAX + 5):
        scene.certificate(account, ca=hashlib.sha256(b"look-alike %d" % number).digest())
    scene.certificate(account)
    with scene.store.view() as view:
        anchors = view.find_trust_anchors([SUBJECT], [CA])
    assert len(anchors) == TRUST_CANDIDATES_MAX
    assert anchors[0].fingerprint == CA
