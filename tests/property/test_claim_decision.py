"""The claim decision on any facts at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest, Granted, decide
from ftc_core.domain.claim_secret import claim_proof
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment

NOW = datetime(2026, 11, 23, tzinfo=UTC)

VERIFIER, BINDING = bytes(32), b"\x05" * 32
PROOF = claim_proof(VERIFIER, bytes(32), BINDING)

# Few values of each, so that they often meet.
ids = st.sampled_from(["a" * 32, "b" * 32])
fingerprints = st.sampled_from([bytes(32), b"\x01" * 32])
cas = st.sampled_from([b"\x02" * 32, b"\x03" * 32])
names = st.sampled_from(["", "sensor", "other"])
times = st.sampled_from([NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)])

requests = st.builds(
    ClaimRequest,
    fingerprint=fingerprints,
    common_name=names,
    endpoint_name=names,
    issuing_cas=st.lists(cas, max_size=2).map(tuple),
    account_id=st.none() | ids,
    claim_proof=st.sampled_from(["", PROOF, "1.x"]) | st.text(max_size=30),
    channel_binding=st.sampled_from([b"", BINDING]),
)
enrollments = st.builds(
    Enrollment,
    id=ids,
    account_id=ids,
    fingerprint=fingerprints,
    created_at=times,
    expires_at=st.none() | times,
    claimed_at=st.none() | times,
    claim_verifier=st.sampled_from([None, VERIFIER]),
    claim_not_before=st.none() | times,
)
accounts = st.builds(
    Account,
    id=ids,
    display_name=names,
    device_quota=st.none() | st.integers(0, 2),
    device_count=st.integers(0, 3),
    status=st.sampled_from(AccountStatus),
    created_at=times,
    updated_at=times,
)
certificates = st.builds(
    TrustedCertificate,
    id=ids,
    account_id=ids,
    display_name=names,
    service=st.sampled_from(CertificateService),
    status=st.sampled_from(CertificateStatus),
    enrollment_mode=st.booleans(),
    certificate=names,
    certificate_der=st.just(b""),
    fingerprint=cas,
    subject=names,
    subject_der=st.just(b""),
    issuer=names,
    not_before=times,
    not_after=times,
    created_at=times,
    updated_at=times,
)
devices = st.builds(
    Device,
    id=ids,
    account_id=ids,
    endpoint_name=names,
    fingerprint=fingerprints,
    trusted_certificate_id=ids,
    created_at=times,
    claimed_at=times,
    former_account_ids=st.lists(ids, max_size=2, unique=True).map(tuple),
)
any_facts = st.builds(
    ClaimFacts,
    request=requests,
    enrollment=st.none() | enrollments,
    account=st.none() | accounts,
    certificates=st.lists(certificates, max_size=3).map(tuple),
    device=st.none() | devices,
    endpoint_holder=st.none() | fingerprints,
    device_blocked=st.booleans(),
    blocked_cas=st.frozensets(cas),
)


@given(any_facts)
def test_the_decision_is_total_and_explained_by_its_last_check(facts: ClaimFacts) -> None:
    decision = decide(facts, NOW)
    assert decision.checks
    assert all(check.passed for check in decision.checks[:-1])
    last = decision.checks[-1]
    if isinstance(decision.outcome, Granted):
        assert last.passed
    else:
        assert (last.passed, last.reason) == (False, decision.outcome)


@given(any_facts)
def test_a_grant_is_to_the_account_and_on_its_own_terms(facts: ClaimFacts) -> None:
    decision = decide(facts, NOW)
    if not isinstance(decision.outcome, Granted):
        return
    account, granted = facts.account, decision.outcome
    assert account is not None
    assert granted.account_id == account.id
    assert account.status is AccountStatus.ACTIVE
    assert facts.endpoint_holder in (None, facts.request.fingerprint)
    assert not facts.device_blocked
    vouching: list[Any] = [c for c in facts.certificates if c.id == granted.trusted_certificate_id]
    assert any(
        c.status is CertificateStatus.ACTIVE
        and c.service is CertificateService.BOOTSTRAP
        and c.fingerprint in facts.request.issuing_cas
        and c.fingerprint not in facts.blocked_cas
        for c in vouching
    )
    if facts.request.account_id is None:
        assert facts.enrollment is not None
        assert not facts.enrollment.is_expired(NOW)
    if granted.device_id is None:
        assert account.device_quota is None or account.device_count < account.device_quota


@given(any_facts)
def test_a_former_owners_aid_is_as_good_as_the_present_ones(facts: ClaimFacts) -> None:
    device = facts.device
    if device is None or facts.request.account_id not in device.former_account_ids:
        return
    present = msgspec.structs.replace(facts.request, account_id=device.account_id)
    assert decide(facts, NOW) == decide(msgspec.structs.replace(facts, request=present), NOW)


@given(any_facts)
def test_an_outcome_without_aid_needs_an_enrollment_whatever_else_holds(facts: ClaimFacts) -> None:
    request = msgspec.structs.replace(facts.request, account_id=None)
    without = msgspec.structs.replace(facts, request=request, enrollment=None)
    assert not isinstance(decide(without, NOW).outcome, Granted)


@given(any_facts)
def test_nobody_without_the_secret_gets_what_waits_behind_one(facts: ClaimFacts) -> None:
    decision, enrollment, request = decide(facts, NOW), facts.enrollment, facts.request
    if not isinstance(decision.outcome, Granted) or decision.outcome.enrollment_id is None:
        return
    assert enrollment is not None
    if enrollment.claimed_at is not None:
        return
    assert enrollment.claim_not_before is None or enrollment.claim_not_before <= NOW
    if enrollment.claim_verifier is None:
        assert not request.claim_proof
    else:
        proof = (request.fingerprint, request.channel_binding, request.claim_proof)
        assert proof == (bytes(32), BINDING, PROOF)
