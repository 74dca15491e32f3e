"""The claim decision, row by row: the order of PRODUCT §1, without and with `aid`."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest, Decision, Granted, decide
from ftc_core.domain.claim_secret import claim_proof, claim_verifier
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError, Reason

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINE, THEIRS = "a" * 32, "b" * 32
FINGERPRINT = hashlib.sha256(b"device").digest()
RIVAL = hashlib.sha256(b"rival").digest()
CA = hashlib.sha256(b"CA").digest()
OTHER_CA = hashlib.sha256(b"other CA").digest()

REQUEST = ClaimRequest(
    fingerprint=FINGERPRINT, common_name="sensor", endpoint_name="sensor", issuing_cas=(CA,)
)
ENROLLMENT = Enrollment(id="e" * 32, account_id=MINE, fingerprint=FINGERPRINT, created_at=NOW)
SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VERIFIER = claim_verifier(SECRET, FINGERPRINT)
BINDING = bytes(range(32))
PROOF = claim_proof(VERIFIER, FINGERPRINT, BINDING)
PROVING = {"claim_proof": PROOF, "channel_binding": BINDING}
GUARDED = replace(ENROLLMENT, claim_verifier=VERIFIER)
ACCOUNT = Account(id=MINE, display_name="Mine", created_at=NOW, updated_at=NOW)
CERTIFICATE = TrustedCertificate(
    id="c" * 32,
    account_id=MINE,
    display_name="CA",
    enrollment_mode=True,
    certificate="",
    certificate_der=b"",
    fingerprint=CA,
    subject="",
    subject_der=b"",
    issuer="",
    not_before=NOW,
    not_after=NOW,
    created_at=NOW,
    updated_at=NOW,
)
DEVICE = Device(
    id="d" * 32,
    account_id=MINE,
    endpoint_name="sensor",
    fingerprint=FINGERPRINT,
    trusted_certificate_id=CERTIFICATE.id,
    enrollment_id=ENROLLMENT.id,
    created_at=NOW,
    claimed_at=NOW,
)
FACTS = ClaimFacts(
    request=REQUEST,
    enrollment=ENROLLMENT,
    account=ACCOUNT,
    certificates=(CERTIFICATE,),
    device=None,
    endpoint_holder=None,
)
"""A device that may be claimed."""
PRE_ASSIGNING = replace(CERTIFICATE, enrollment_mode=False)
WITHOUT_AID = [
    Reason.CA_NOT_UPLOADED,
    Reason.DEVICE_BLOCKED,
    Reason.CERTIFICATE_BLOCKED,
    Reason.ENDPOINT_NAME_MISMATCH,
    Reason.ENROLLMENT_NOT_FOUND,
    Reason.CLAIM_TOO_EARLY,
    Reason.CLAIM_PROOF_REQUIRED,
    Reason.CA_NOT_IN_ACCOUNT,
    Reason.ACCOUNT_SUSPENDED,
    Reason.DUPLICATE_ENDPOINT,
    Reason.QUOTA_REACHED,
]
WITH_AID = [
    Reason.CA_NOT_UPLOADED,
    Reason.DEVICE_BLOCKED,
    Reason.CERTIFICATE_BLOCKED,
    Reason.ENDPOINT_NAME_MISMATCH,
    Reason.CA_NOT_IN_ACCOUNT,
    Reason.ENROLLMENT_NOT_FOUND,
    Reason.CLAIM_TOO_EARLY,
    Reason.CLAIM_PROOF_REQUIRED,
    Reason.ACCOUNT_SUSPENDED,
    Reason.DUPLICATE_ENDPOINT,
    Reason.QUOTA_REACHED,
]


def facts(*, request: dict[str, Any] | None = None, **changes: Any) -> ClaimFacts:
    changed = replace(FACTS.request, **(request or {}))
    return replace(FACTS, request=changed, **changes)


def certificate(**changes: Any) -> tuple[TrustedCertificate]:
    return (replace(CERTIFICATE, **changes),)


def checked(decision: Decision) -> list[Reason]:
    """The checks' reasons in order; all but the last have passed."""
    assert all(check.passed for check in decision.checks[:-1])
    return [check.reason for check in decision.checks]


BREAKING: dict[Reason, dict[str, Any]] = {
    Reason.CA_NOT_UPLOADED: {"request": {"issuing_cas": ()}},
    Reason.DEVICE_BLOCKED: {"device_blocked": True},
    Reason.CERTIFICATE_BLOCKED: {"blocked_cas": frozenset({CA})},
    Reason.ENDPOINT_NAME_MISMATCH: {"request": {"common_name": "another"}},
    Reason.ENROLLMENT_NOT_FOUND: {"enrollment": None},
    Reason.CLAIM_TOO_EARLY: {
        "enrollment": replace(ENROLLMENT, claim_verifier=VERIFIER, claim_not_before=NOW + SECOND)
    },
    Reason.CLAIM_PROOF_REQUIRED: {"enrollment": replace(ENROLLMENT, claim_verifier=VERIFIER)},
    Reason.CA_NOT_IN_ACCOUNT: {"certificates": ()},
    Reason.ACCOUNT_SUSPENDED: {"account": replace(ACCOUNT, status=AccountStatus.SUSPENDED, device_quota=0)},
    Reason.DUPLICATE_ENDPOINT: {"endpoint_holder": RIVAL},
    Reason.QUOTA_REACHED: {"account": replace(ACCOUNT, device_quota=0)},
}
"""What breaks each check. A suspended account is over its quota as well, so that the two can be combined."""


def broken(reasons: list[Reason], **request: Any) -> ClaimFacts:
    """Facts that fail each of `reasons`."""
    changes: dict[str, Any] = {}
    for reason in reversed(reasons):
        for name, value in BREAKING[reason].items():
            changes[name] = {**changes.get(name, {}), **value} if name == "request" else value
    return facts(request={**changes.pop("request", {}), **request}, **changes)


# --- the order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(len(WITHOUT_AID)), ids=WITHOUT_AID)
def test_the_first_check_that_fails_decides(position: int) -> None:
    decision = decide(broken(WITHOUT_AID[position:]), NOW)
    assert decision.outcome is WITHOUT_AID[position]
    assert checked(decision) == WITHOUT_AID[: position + 1]
    assert not decision.checks[-1].passed


@pytest.mark.parametrize("position", range(len(WITH_AID)), ids=WITH_AID)
def test_with_aid_the_named_accounts_certificate_is_judged_before_the_enrollment(position: int) -> None:
    decision = decide(broken(WITH_AID[position:], account_id=MINE), NOW)
    assert decision.outcome is WITH_AID[position]
    assert checked(decision) == WITH_AID[: position + 1]


@pytest.mark.parametrize(("aid", "order"), [(None, WITHOUT_AID), (MINE, WITH_AID)], ids=["no aid", "aid"])
def test_a_device_that_passes_every_check_is_granted(aid: str | None, order: list[Reason]) -> None:
    decision = decide(facts(request={"account_id": aid}), NOW)
    assert decision.granted() == Granted(
        account_id=MINE,
        trusted_certificate_id=CERTIFICATE.id,
        enrollment_id=ENROLLMENT.id,
        device_id=None,
    )
    assert checked(decision) == order
    assert decision.checks[-1].passed


def test_a_refusal_is_raised_with_its_reason() -> None:
    with pytest.raises(FtcError) as refusal:
        decide(broken([Reason.ENROLLMENT_NOT_FOUND]), NOW).granted()
    assert refusal.value.reason is Reason.ENROLLMENT_NOT_FOUND
    assert refusal.value.message == "Enrollment ID not registered"


# --- each check ------------------------------------------------------------------------------------

CASES: dict[str, tuple[ClaimFacts, Reason | None]] = {
    # endpoint name: the certificate's common name, or the one known for this fingerprint
    "name of the device as it is known": (
        facts(request={"common_name": "another"}, device=DEVICE, endpoint_holder=FINGERPRINT),
        None,
    ),
    "name neither in the certificate nor known": (
        facts(request={"endpoint_name": "x"}, device=DEVICE),
        Reason.ENDPOINT_NAME_MISMATCH,
    ),
    "certificate without common name": (
        facts(request={"common_name": ""}),
        Reason.ENDPOINT_NAME_MISMATCH,
    ),
    # enrollment
    "enrollment expires this very moment": (
        facts(enrollment=replace(ENROLLMENT, expires_at=NOW)),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "enrollment expires later": (facts(enrollment=replace(ENROLLMENT, expires_at=NOW + SECOND)), None),
    "claimed enrollment does not expire": (
        facts(
            enrollment=replace(
                ENROLLMENT, expires_at=NOW - SECOND, claimed_at=NOW - 2 * SECOND, enrolled_device_id=DEVICE.id
            ),
            device=DEVICE,
            endpoint_holder=FINGERPRINT,
        ),
        None,
    ),
    # certificate in the account
    "certificate inactive": (
        facts(certificates=certificate(status=CertificateStatus.INACTIVE)),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "certificate of the LwM2M service": (
        facts(certificates=certificate(service=CertificateService.LWM2M)),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "certificate without enrollment_mode": (
        facts(certificates=certificate(enrollment_mode=False)),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "certificate of a CA that does not vouch": (
        facts(certificates=certificate(fingerprint=OTHER_CA)),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "any CA of the path may be the trusted one": (facts(request={"issuing_cas": (OTHER_CA, CA)}), None),
    # blocks
    "the CA beyond the account's own is blocked": (
        facts(request={"issuing_cas": (CA, OTHER_CA)}, blocked_cas=frozenset({OTHER_CA})),
        None,
    ),
    "a CA between the device and the account's own is blocked": (
        facts(request={"issuing_cas": (OTHER_CA, CA)}, blocked_cas=frozenset({OTHER_CA})),
        Reason.CERTIFICATE_BLOCKED,
    ),
    "one of the account's CAs is blocked, the nearer one is not": (
        facts(
            request={"issuing_cas": (CA, OTHER_CA)},
            certificates=(CERTIFICATE, replace(CERTIFICATE, fingerprint=OTHER_CA)),
            blocked_cas=frozenset({OTHER_CA}),
        ),
        None,
    ),
    "the account's own CA is blocked, one that it lacks is not": (
        facts(request={"issuing_cas": (OTHER_CA, CA)}, blocked_cas=frozenset({CA})),
        Reason.CERTIFICATE_BLOCKED,
    ),
    "a pre-assigned device that is blocked": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=None,
            device_blocked=True,
        ),
        Reason.DEVICE_BLOCKED,
    ),
    # claim secret
    "claim secret proved": (facts(request=PROVING, enrollment=GUARDED), None),
    "claim secret proved, with aid": (
        facts(request={"account_id": MINE, **PROVING}, enrollment=GUARDED),
        None,
    ),
    "claim secret proved over another association": (
        facts(request={**PROVING, "channel_binding": bytes(32)}, enrollment=GUARDED),
        Reason.CLAIM_PROOF_INVALID,
    ),
    "claim secret proved over no association": (
        facts(request={"claim_proof": claim_proof(VERIFIER, FINGERPRINT, b"")}, enrollment=GUARDED),
        Reason.CLAIM_PROOF_INVALID,
    ),
    "another claim secret proved": (
        facts(
            request=PROVING,
            enrollment=replace(ENROLLMENT, claim_verifier=claim_verifier(SECRET[::-1], FINGERPRINT)),
        ),
        Reason.CLAIM_PROOF_INVALID,
    ),
    "proof of a version that we do not know": (
        facts(request={**PROVING, "claim_proof": "2" + PROOF[1:]}, enrollment=GUARDED),
        Reason.CLAIM_PROOF_INVALID,
    ),
    "proof that is not ASCII": (
        facts(request={**PROVING, "claim_proof": "é\udc80"}, enrollment=GUARDED),
        Reason.CLAIM_PROOF_INVALID,
    ),
    "claim secret proved to an enrollment without": (facts(request=PROVING), Reason.CLAIM_SECRET_MISSING),
    "claimed already: the certificate suffices": (
        facts(enrollment=replace(GUARDED, claimed_at=NOW, claim_not_before=NOW + SECOND), device=DEVICE),
        None,
    ),
    "claimed already, though the device proves a secret that the enrollment lacks": (
        facts(request=PROVING, enrollment=replace(ENROLLMENT, claimed_at=NOW), device=DEVICE),
        None,
    ),
    "the window opens this very moment": (
        facts(request=PROVING, enrollment=replace(GUARDED, claim_not_before=NOW)),
        None,
    ),
    "pre-assigned, and its enrollment has a claim secret": (
        facts(request={"account_id": MINE}, certificates=(PRE_ASSIGNING,), enrollment=GUARDED),
        Reason.CLAIM_PROOF_REQUIRED,
    ),
    "pre-assigned without enrollment: there is nothing to prove": (
        facts(request={"account_id": MINE, **PROVING}, certificates=(PRE_ASSIGNING,), enrollment=None),
        None,
    ),
    # aid of a former owner, after a transfer
    "former owner named, enrolled by the present one": (
        facts(request={"account_id": THEIRS}, device=replace(DEVICE, former_account_ids=(THEIRS,))),
        None,
    ),
    "former owner named, the device was released and is waited for elsewhere": (
        facts(request={"account_id": THEIRS}),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "one who never owned it named": (
        facts(request={"account_id": THEIRS}, device=DEVICE),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "a pre-assigned device that its former owner has enrolled since": (
        facts(
            request={"account_id": THEIRS},
            certificates=(PRE_ASSIGNING,),
            device=replace(DEVICE, former_account_ids=(THEIRS,), enrollment_id=None),
            enrollment=replace(ENROLLMENT, account_id=THEIRS),
        ),
        None,
    ),
    "a pre-assigned device that a third account has enrolled": (
        facts(
            request={"account_id": THEIRS},
            certificates=(PRE_ASSIGNING,),
            device=replace(DEVICE, former_account_ids=(THEIRS,), enrollment_id=None),
            enrollment=replace(ENROLLMENT, account_id="f" * 32),
        ),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    # account
    "account unknown": (facts(account=None), Reason.ACCOUNT_SUSPENDED),
    # endpoint name in the account
    "name held by this certificate": (facts(endpoint_holder=FINGERPRINT), None),
    # quota
    "one place left": (facts(account=replace(ACCOUNT, device_quota=3, device_count=2)), None),
    "no place left": (
        facts(account=replace(ACCOUNT, device_quota=3, device_count=3)),
        Reason.QUOTA_REACHED,
    ),
    "quota lowered below the count": (
        facts(account=replace(ACCOUNT, device_quota=1, device_count=3)),
        Reason.QUOTA_REACHED,
    ),
    "a device that is claimed already does not count twice": (
        facts(account=replace(ACCOUNT, device_quota=1, device_count=1), device=DEVICE),
        None,
    ),
    "a device of another account counts": (
        facts(
            account=replace(ACCOUNT, device_quota=1, device_count=1),
            device=replace(DEVICE, account_id=THEIRS),
        ),
        Reason.QUOTA_REACHED,
    ),
    "no quota": (facts(account=replace(ACCOUNT, device_count=10**9)), None),
    # with aid
    "aid: account unknown": (
        facts(request={"account_id": THEIRS}, account=None, certificates=()),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "aid: enrolled in another account": (
        facts(request={"account_id": MINE}, enrollment=replace(ENROLLMENT, account_id=THEIRS)),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "aid: enrollment expired": (
        facts(request={"account_id": MINE}, enrollment=replace(ENROLLMENT, expires_at=NOW)),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "aid: certificate inactive": (
        facts(request={"account_id": MINE}, certificates=certificate(status=CertificateStatus.INACTIVE)),
        Reason.CA_NOT_IN_ACCOUNT,
    ),
    "pre-assigned: no enrollment needed": (
        facts(request={"account_id": MINE}, certificates=(PRE_ASSIGNING,), enrollment=None),
        None,
    ),
    "pre-assigned: account suspended": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=None,
            account=replace(ACCOUNT, status=AccountStatus.SUSPENDED),
        ),
        Reason.ACCOUNT_SUSPENDED,
    ),
    "pre-assigned: name held by another": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=None,
            endpoint_holder=RIVAL,
        ),
        Reason.DUPLICATE_ENDPOINT,
    ),
    "pre-assigned: quota reached": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=None,
            account=replace(ACCOUNT, device_quota=0),
        ),
        Reason.QUOTA_REACHED,
    ),
    "pre-assigned: an enrollment elsewhere outranks it": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=replace(ENROLLMENT, account_id=THEIRS),
        ),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "pre-assigned: an owner elsewhere outranks it": (
        facts(
            request={"account_id": MINE},
            certificates=(PRE_ASSIGNING,),
            enrollment=None,
            device=replace(DEVICE, account_id=THEIRS),
        ),
        Reason.ENROLLMENT_NOT_FOUND,
    ),
    "pre-assigned by one of two certificates": (
        facts(request={"account_id": MINE}, certificates=(CERTIFICATE, PRE_ASSIGNING), enrollment=None),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    given, refusal = CASES[case]
    decision = decide(given, NOW)
    assert (None if isinstance(decision.outcome, Granted) else decision.outcome) is refusal
    assert checked(decision)[-1] is (refusal or Reason.QUOTA_REACHED)
    assert decision.checks[-1].passed is (refusal is None)


# --- the grant -------------------------------------------------------------------------------------


def test_a_device_that_the_account_owns_is_granted_again() -> None:
    assert decide(facts(device=DEVICE), NOW).granted().device_id == DEVICE.id


def test_a_device_of_another_account_gets_a_new_id() -> None:
    given = facts(device=replace(DEVICE, account_id=THEIRS))
    assert decide(given, NOW).granted().device_id is None


def test_the_grant_names_the_certificate_that_counts() -> None:
    inactive = replace(CERTIFICATE, id="0" * 32, status=CertificateStatus.INACTIVE)
    assert (
        decide(facts(certificates=(inactive, CERTIFICATE)), NOW).granted().trusted_certificate_id == "c" * 32
    )


def test_a_pre_assigned_device_takes_its_enrollment_if_it_has_one() -> None:
    given = facts(request={"account_id": MINE}, certificates=(PRE_ASSIGNING,))
    assert decide(given, NOW).granted().enrollment_id == ENROLLMENT.id


def test_a_pre_assigned_device_does_not_bring_an_expired_enrollment_back() -> None:
    given = facts(
        request={"account_id": MINE},
        certificates=(PRE_ASSIGNING,),
        enrollment=replace(ENROLLMENT, expires_at=NOW),
    )
    assert decide(given, NOW).granted().enrollment_id is None
