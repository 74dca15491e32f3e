"""The claim decision: one pure function for the live path, for explanations and for the tests.

The checks and their order are PRODUCT §1's table. The store gathers `ClaimFacts` inside the transaction
that will write the claim, so what is decided here is decided on facts that cannot change underneath.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.block import unblocked_cas
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.claim_secret import proves
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError, Reason

__all__ = ["Check", "ClaimFacts", "ClaimRequest", "Decision", "Granted", "decide", "named_account"]


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a device said and proved in one Bootstrap-Request.

    `issuing_cas` are the SHA-256 fingerprints of the trusted CAs on the verified certificate path (any CA
    of a chain may be the trusted one), the nearest to it first; empty if none vouches. `common_name` is the
    certificate's, or "". `account_id` is the request's `aid`, or None. `claim_proof` is what it sent as
    such, or "", and `channel_binding` what that must be bound to (`domain.claim_secret`).
    """

    fingerprint: bytes
    common_name: str
    endpoint_name: str
    issuing_cas: tuple[bytes, ...]
    account_id: str | None = None
    client_version: str = ""
    address: str = ""
    claim_proof: str = ""
    channel_binding: bytes = b""


class ClaimFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows about one request.

    `enrollment` is the fingerprint's, whichever account holds it. `account` is the account that would own
    the device: the `named_account`, else the enrollment's. `certificates` are that account's trusted
    certificates whose fingerprint is in `request.issuing_cas`. `device` is the fingerprint's device,
    whichever account holds it. `endpoint_holder` is the fingerprint that holds the endpoint name in
    `account`, if any. `device_blocked`: the operator blocks the device's certificate, or its owner does.
    `blocked_cas` are those of `request.issuing_cas` that the operator or `account` blocks.
    """

    request: ClaimRequest
    enrollment: Enrollment | None
    account: Account | None
    certificates: tuple[TrustedCertificate, ...]
    device: Device | None
    endpoint_holder: bytes | None
    device_blocked: bool = False
    blocked_cas: frozenset[bytes] = frozenset()

    @property
    def vouching_cas(self) -> tuple[bytes, ...]:
        """The issuing CAs that no block keeps from vouching."""
        return unblocked_cas(self.request.issuing_cas, self.blocked_cas)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the explanation: the check's reason when it fails, whether it passed, and on what facts."""

    reason: Reason
    passed: bool
    detail: str


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The device may be claimed: by which account, on the strength of which certificate and enrollment.

    `device_id` is set if this very account owns the device already (a re-bootstrap counts once).
    """

    account_id: str
    trusted_certificate_id: str
    enrollment_id: str | None
    device_id: str | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, and every check in order up to the one that failed."""

    outcome: Granted | Reason
    checks: tuple[Check, ...]

    def granted(self) -> Granted:
        """The grant. Raises FtcError with the reason if refused."""
        if isinstance(self.outcome, Granted):
            return self.outcome
        raise FtcError(self.outcome)


def named_account(request: ClaimRequest, device: Device | None) -> str | None:
    """The account that the request names by `aid`; None if it names none. `device` is the fingerprint's.

    A device that was transferred since its last bootstrap still says the `aid` of a former owner: that names
    the present one (PRODUCT §4.2). After a release it names the former owner, who no longer waits for it.
    """
    if device is not None and request.account_id in device.former_account_ids:
        return device.account_id
    return request.account_id


def decide(facts: ClaimFacts, now: datetime) -> Decision:
    """Judge one Bootstrap-Request at `now` (aware, UTC). Total: it never raises."""
    checks: list[Check] = []
    for check in _checks(facts, now):
        checks.append(check)
        if not check.passed:
            return Decision(outcome=check.reason, checks=tuple(checks))
    return Decision(outcome=_grant(facts, now), checks=tuple(checks))


def _checks(facts: ClaimFacts, now: datetime) -> Iterator[Check]:
    request, enrollment, account = facts.request, facts.enrollment, facts.account

    vouched = len(request.issuing_cas) > 0
    yield Check(
        reason=Reason.CA_NOT_UPLOADED,
        passed=vouched,
        detail=f"{len(request.issuing_cas)} trusted CA(s) vouch for the certificate",
    )

    yield Check(
        reason=Reason.DEVICE_BLOCKED,
        passed=not facts.device_blocked,
        detail="the device certificate is blocked" if facts.device_blocked else "no block on the device",
    )
    yield _no_ca_blocked(facts)

    known_name = facts.device.endpoint_name if facts.device is not None else None
    yield Check(
        reason=Reason.ENDPOINT_NAME_MISMATCH,
        passed=request.endpoint_name in (request.common_name, known_name),
        detail=f"endpoint name {request.endpoint_name!r}, certificate common name {request.common_name!r}",
    )

    named = named_account(request, facts.device)
    if named is None:
        yield from _enrolled(enrollment, now, None)
        yield from _secret_proved(request, enrollment, now)
        yield _certificate_in_account(facts, enrollment_mode_only=True)
    else:
        # With aid the account is named by the device, so its certificate is judged first: whether an
        # enrollment is needed at all depends on that certificate's enrollment_mode.
        yield _certificate_in_account(facts, enrollment_mode_only=False)
        if not _pre_assigning(facts, named):
            yield from _enrolled(enrollment, now, named)
        if enrollment is not None and enrollment.account_id == named and not enrollment.is_expired(now):
            yield from _secret_proved(request, enrollment, now)

    active = account is not None and account.status is AccountStatus.ACTIVE
    yield Check(
        reason=Reason.ACCOUNT_SUSPENDED,
        passed=active,
        detail=f"account status {account.status.value if account else 'unknown'}",
    )

    holder = facts.endpoint_holder
    yield Check(
        reason=Reason.DUPLICATE_ENDPOINT,
        passed=holder is None or holder == request.fingerprint,
        detail="endpoint name is free or held by this certificate"
        if holder is None or holder == request.fingerprint
        else "endpoint name is held by another certificate",
    )

    if account is not None:
        owned = facts.device is not None and facts.device.account_id == account.id
        quota = account.device_quota
        yield Check(
            reason=Reason.QUOTA_REACHED,
            passed=owned or quota is None or account.device_count < quota,
            detail=f"{account.device_count} device(s) of {'unlimited' if quota is None else quota}"
            + (", this one counted already" if owned else ""),
        )


def _enrolled(enrollment: Enrollment | None, now: datetime, account_id: str | None) -> Iterator[Check]:
    if enrollment is None:
        detail = "the fingerprint is on no enrollment list"
    elif enrollment.is_expired(now):
        detail = "the enrollment has expired"
    elif account_id is not None and enrollment.account_id != account_id:
        detail = "the fingerprint is not on this account's enrollment list"
    else:
        yield Check(reason=Reason.ENROLLMENT_NOT_FOUND, passed=True, detail=f"enrollment {enrollment.id}")
        return
    yield Check(reason=Reason.ENROLLMENT_NOT_FOUND, passed=False, detail=detail)


def _secret_proved(request: ClaimRequest, enrollment: Enrollment | None, now: datetime) -> Iterator[Check]:
    """The window and the proof of an enrollment's claim secret; once claimed, the certificate suffices."""
    waiting = enrollment if enrollment is not None and enrollment.claimed_at is None else None
    opens = None if waiting is None else waiting.claim_not_before
    yield Check(
        reason=Reason.CLAIM_TOO_EARLY,
        passed=opens is None or opens <= now,
        detail="the enrollment is open" if opens is None else f"the enrollment is open from {opens:%FT%TZ}",
    )
    refusal, detail = _judge_proof(request, waiting)
    yield Check(reason=refusal or Reason.CLAIM_PROOF_REQUIRED, passed=refusal is None, detail=detail)


def _judge_proof(request: ClaimRequest, waiting: Enrollment | None) -> tuple[Reason | None, str]:
    """What is wrong with the proof for an enrollment that waits, if anything is, and on what facts."""
    if waiting is None:
        return None, "the enrollment is claimed already"
    verifier, proof = waiting.claim_verifier, request.claim_proof
    if verifier is None and not proof:
        return None, "there is no claim secret"
    if verifier is None:
        return Reason.CLAIM_SECRET_MISSING, "the device proves a claim secret, the enrollment has none"
    if not proof:
        return Reason.CLAIM_PROOF_REQUIRED, "the enrollment has a claim secret, the device proves none"
    if not proves(proof, verifier, request.fingerprint, request.channel_binding):
        return Reason.CLAIM_PROOF_INVALID, "the device does not prove the enrollment's claim secret"
    return None, "the device proves the enrollment's claim secret"


def _no_ca_blocked(facts: ClaimFacts) -> Check:
    """Whether a CA vouches in spite of all blocks; one of the account's, if that has any that vouches."""
    vouching = set(facts.vouching_cas)
    in_account = {one.fingerprint for one in facts.certificates}.intersection(facts.request.issuing_cas)
    return Check(
        reason=Reason.CERTIFICATE_BLOCKED,
        passed=bool(vouching & (in_account or vouching)),
        detail=f"{len(facts.blocked_cas)} of the CAs that vouch for the certificate are blocked",
    )


def _certificate_in_account(facts: ClaimFacts, *, enrollment_mode_only: bool) -> Check:
    usable = _usable(facts, enrollment_mode_only=enrollment_mode_only)
    return Check(
        reason=Reason.CA_NOT_IN_ACCOUNT,
        passed=bool(usable),
        detail=f"trusted certificate {usable[0].id}"
        if usable
        else "no ACTIVE BOOTSTRAP certificate of the account vouches for the device",
    )


def _usable(facts: ClaimFacts, *, enrollment_mode_only: bool) -> list[TrustedCertificate]:
    return [
        certificate
        for certificate in facts.certificates
        if certificate.status is CertificateStatus.ACTIVE
        and certificate.service is CertificateService.BOOTSTRAP
        and certificate.fingerprint in facts.vouching_cas
        and (certificate.enrollment_mode or not enrollment_mode_only)
    ]


def _pre_assigning(facts: ClaimFacts, named: str) -> bool:
    """Whether a certificate without enrollment_mode lets the device in without an enrollment.

    An enrollment that stands on another account's list outranks that: each fingerprint has one owner. One of
    a former owner, who gave the device away by a transfer, does not.
    """
    enrollment, device = facts.enrollment, facts.device
    if device is not None and device.account_id != named:
        return False
    givers = () if device is None else device.former_account_ids
    if enrollment is not None and enrollment.account_id not in (named, *givers):
        return False
    return any(not c.enrollment_mode for c in _usable(facts, enrollment_mode_only=False))


def _grant(facts: ClaimFacts, now: datetime) -> Granted:
    account = facts.account
    assert account is not None  # noqa: S101 - the ACCOUNT_SUSPENDED check passed
    usable = _usable(facts, enrollment_mode_only=facts.request.account_id is None)
    enrollment = facts.enrollment
    if enrollment is not None and (enrollment.account_id != account.id or enrollment.is_expired(now)):
        enrollment = None  # a pre-assigned device needs none, and must not bring an expired one back
    device = facts.device
    return Granted(
        account_id=account.id,
        trusted_certificate_id=usable[0].id,
        enrollment_id=enrollment.id if enrollment else None,
        device_id=device.id if device is not None and device.account_id == account.id else None,
    )
