"""ExplainClaim: what a device's next Bootstrap-Request would get, check by check, without any effect.

The same code judges as on the live path: `dtls.trust` the certificate path, `domain.claim.decide` the claim,
both on one snapshot of the store. The explanation is thus as true as that snapshot: a device that comes later
is judged on the facts of then.

An account that asks sees what concerns itself alone (`account_sight`). Of a device that is not its own, it is
told what that would get if no other account were there: whether it is another's or nobody's makes no
difference. Where the device names an account that is not the one that asks, it is told no more than that the
device is not on its own list, whether there is such an account or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.account_sight import AccountSight, active_bootstrap_cas
from ftc_core.application.context import ApplicationContext
from ftc_core.application.presented import UNREADABLE
from ftc_core.domain.claim import Check, ClaimFacts, ClaimRequest, Granted, decide
from ftc_core.domain.claim_secret import CHANNEL_BINDING_BYTES, claim_proof
from ftc_core.domain.device import Device
from ftc_core.domain.identity import fingerprint_of, is_resource_id, parse_enrollment_id
from ftc_core.dtls.alert import alert_name
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, VerifiedPath
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CERTIFICATE_PEM_MAX_BYTES, ENDPOINT_NAME_MAX_BYTES, PRESENTED_CHAIN_MAX
from ftc_core.storage.port import View

__all__ = ["CheckResult", "ClaimQuestion", "ExplainedCheck", "Explanation", "explain_claim"]

_NEED_CERTIFICATE = frozenset(
    {
        Reason.CA_NOT_UPLOADED,
        Reason.CERTIFICATE_BLOCKED,
        Reason.ENDPOINT_NAME_MISMATCH,
        Reason.CA_NOT_IN_ACCOUNT,
    }
)
"""Checks that pass for an identity alone unless nothing could make them pass."""

_CERTIFICATE_NOT_GIVEN = "the device's certificate was not given"
_PROOF_NOT_GIVEN = "the enrollment has a claim secret; that the device proves it is taken for granted"

_NOT_ON_THE_LIST = "the fingerprint is not on this account's enrollment list"
_NOBODY_ELSE_HAS_IT = "none is needed; that no other account has the device is taken for granted"

_UNKNOWN_CA = bytes(32)
"""Stands for whatever CA issued the certificate where the account has none that could have."""


class CheckResult(StrEnum):
    """How a check ended. ASSUMED: it needs what was not given or may not be told, and is taken as passed.

    That is the certificate, if the question is about an identity; the proof of a claim secret; and that no
    other account has the device, if it needs no enrollment.
    """

    PASSED = "PASSED"
    FAILED = "FAILED"
    ASSUMED = "ASSUMED"


class ExplainedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what it is refused as, how it ended, and on what facts."""

    reason: Reason
    result: CheckResult
    detail: str


class ClaimQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The device to judge: its certificate (PEM; the chain as it presents it, leaf first) or its identity.

    `endpoint_name` "" means the certificate's common name. `named_account_id` is the `aid` of its bootstrap
    URI, if that has one. `seen_by` is the account that asks; None sees everything.
    """

    certificate: str = ""
    enrollment_identity: str = ""
    endpoint_name: str = ""
    named_account_id: str | None = None
    seen_by: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Every check in order, up to the one that failed; then the grant, or the refusal.

    `alert` is the DTLS alert ("unknown_ca") that a device gets whose handshake fails, else "".
    """

    fingerprint: bytes
    endpoint_name: str
    checks: tuple[ExplainedCheck, ...]
    granted: Granted | None = None
    refusal: Reason | None = None
    alert: str = ""


async def explain_claim(context: ApplicationContext, question: ClaimQuestion) -> Explanation:
    """Judge `question` as of now.

    Raises FtcError FIELD_REQUIRED or FIELD_INVALID (neither or both of certificate and identity, a chain that
    is too long), CERTIFICATE_UNPARSEABLE, the refusals of a malformed identity, ENDPOINT_NAME_TOO_LONG,
    ENDPOINT_NAME_INVALID or ACCOUNT_ID_MALFORMED: none of them depends on what the store holds.
    """
    chain = _presented(question)
    if question.named_account_id is not None and not is_resource_id(question.named_account_id):
        raise FtcError(Reason.ACCOUNT_ID_MALFORMED, field="device_account_id")
    fingerprint = fingerprint_of(chain[0]) if chain else parse_enrollment_id(question.enrollment_identity)
    now = context.now()
    with context.store.view() as view:
        sight = None if question.seen_by is None else AccountSight(view, question.seen_by, fingerprint)
        if not chain:
            return _by_identity(view, question, fingerprint, sight, now)
        find_anchors = view.find_trust_anchors if sight is None else sight.find_anchors
        path = TrustEvaluator(find_anchors, find_blocked=view.find_blocked).evaluate(chain, now)
        if isinstance(path, PathRefused):
            return _handshake_refused(chain, question, path)
        return _by_path(view, question, path, sight, now)


def _presented(question: ClaimQuestion) -> list[bytes]:
    if bool(question.certificate) == bool(question.enrollment_identity):
        reason = Reason.FIELD_INVALID if question.certificate else Reason.FIELD_REQUIRED
        raise FtcError(reason, "give either certificate or enrollment_identity", field="certificate")
    if not question.certificate:
        return []
    pem = question.certificate.encode()
    if len(pem) > CERTIFICATE_PEM_MAX_BYTES:
        raise FtcError(
            Reason.FIELD_INVALID,
            f"certificate has {len(pem)} bytes; at most {CERTIFICATE_PEM_MAX_BYTES} are allowed",
            field="certificate",
        )
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except UNREADABLE as error:
        raise FtcError(Reason.CERTIFICATE_UNPARSEABLE, field="certificate") from error
    if len(chain) > PRESENTED_CHAIN_MAX:
        raise FtcError(
            Reason.FIELD_INVALID,
            f"a chain of {len(chain)} certificates; devices may present {PRESENTED_CHAIN_MAX}",
            field="certificate",
        )
    return [certificate.public_bytes(Encoding.DER) for certificate in chain]


def _handshake_refused(chain: Sequence[bytes], question: ClaimQuestion, refused: PathRefused) -> Explanation:
    check = ExplainedCheck(reason=refused.reason, result=CheckResult.FAILED, detail=refused.detail)
    return Explanation(
        fingerprint=fingerprint_of(chain[0]),
        endpoint_name=question.endpoint_name,
        checks=(check,),
        refusal=refused.reason,
        alert=alert_name(refused.alert),
    )


def _by_path(
    view: View, question: ClaimQuestion, path: VerifiedPath, sight: AccountSight | None, now: datetime
) -> Explanation:
    request = ClaimRequest(
        fingerprint=path.leaf_fingerprint,
        common_name=path.common_name,
        endpoint_name=_checked_name(question.endpoint_name or path.common_name),
        issuing_cas=path.issuing_cas,
        account_id=question.named_account_id,
    )
    return _judged(_facts(view, request, sight), now, sight)


def _by_identity(
    view: View, question: ClaimQuestion, fingerprint: bytes, sight: AccountSight | None, now: datetime
) -> Explanation:
    device, holder = _device_and_holder(view, question, fingerprint, sight)
    if device is not None:
        endpoint_name, issuing_cas = question.endpoint_name or device.endpoint_name, device.issuing_cas
    else:
        endpoint_name, issuing_cas = question.endpoint_name, _bootstrap_cas(view, holder)
    if not endpoint_name:
        raise FtcError(
            Reason.FIELD_REQUIRED,
            "endpoint_name is required: there is no certificate that tells it",
            field="endpoint_name",
        )
    request = ClaimRequest(
        fingerprint=fingerprint,
        common_name=endpoint_name,
        endpoint_name=_checked_name(endpoint_name),
        issuing_cas=issuing_cas or (_UNKNOWN_CA,),
        account_id=question.named_account_id,
    )
    assumed = dict.fromkeys(_NEED_CERTIFICATE, _CERTIFICATE_NOT_GIVEN)
    return _judged(_facts(view, request, sight), now, sight, assumed=assumed)


def _device_and_holder(
    view: View, question: ClaimQuestion, fingerprint: bytes, sight: AccountSight | None
) -> tuple[Device | None, str | None]:
    """The device, and the account whose CAs might have issued it, as far as they may be known."""
    named = question.named_account_id
    if sight is not None:
        concerned = named == sight.account_id or (named is None and sight.enrolled)
        return sight.device, sight.account_id if concerned else None
    [enrollment], [device] = view.find_enrollments((fingerprint,)), view.find_devices((fingerprint,))
    return device, named or (enrollment.account_id if enrollment is not None else None)


def _checked_name(endpoint_name: str) -> str:
    try:
        encoded = endpoint_name.encode()
    except UnicodeEncodeError as error:
        raise FtcError(Reason.ENDPOINT_NAME_INVALID, field="endpoint_name") from error
    if len(encoded) > ENDPOINT_NAME_MAX_BYTES:
        raise FtcError(Reason.ENDPOINT_NAME_TOO_LONG, field="endpoint_name")
    return endpoint_name


def _bootstrap_cas(view: View, account_id: str | None) -> tuple[bytes, ...]:
    """The CAs by which a device could get into the account, whichever issued its certificate."""
    if account_id is None:
        return ()
    active = [certificate.fingerprint for certificate in active_bootstrap_cas(view, account_id)]
    # These are on no path together: a blocked one must not stand between the device and another.
    blocked = view.find_blocked(active, account_id)
    return tuple(sorted(active, key=lambda fingerprint: fingerprint in blocked))


def _facts(view: View, request: ClaimRequest, sight: AccountSight | None) -> ClaimFacts:
    return view.claim_facts(request) if sight is None else sight.facts(request)


def _proving(facts: ClaimFacts) -> ClaimFacts:
    """`facts` of a device that proves the claim secret of its enrollment."""
    enrollment, request = facts.enrollment, facts.request
    if enrollment is None or enrollment.claim_verifier is None:
        return facts
    binding = bytes(CHANNEL_BINDING_BYTES)
    proof = claim_proof(enrollment.claim_verifier, request.fingerprint, binding)
    return msgspec.structs.replace(
        facts, request=msgspec.structs.replace(request, claim_proof=proof, channel_binding=binding)
    )


def _judged(
    facts: ClaimFacts,
    now: datetime,
    sight: AccountSight | None,
    *,
    assumed: Mapping[Reason, str] = MappingProxyType({}),
) -> Explanation:
    proving = _proving(facts)
    if proving is not facts:
        assumed = {**assumed, Reason.CLAIM_PROOF_REQUIRED: _PROOF_NOT_GIVEN}
    decision = decide(proving, now)
    granted = decision.outcome if isinstance(decision.outcome, Granted) else None
    checks = [_explained(check, assumed) for check in decision.checks]
    return Explanation(
        fingerprint=facts.request.fingerprint,
        endpoint_name=facts.request.endpoint_name,
        checks=tuple(checks if sight is None else _as_seen(checks, sight)),
        granted=granted,
        refusal=None if granted is not None else decision.checks[-1].reason,
    )


def _as_seen(checks: Sequence[ExplainedCheck], sight: AccountSight) -> Iterator[ExplainedCheck]:
    """The checks in words that tell nothing of other accounts, and with what is taken for granted of them."""
    judged = {check.reason for check in checks}
    for check in checks:
        if check.reason is Reason.ENROLLMENT_NOT_FOUND and not sight.enrolled:
            yield msgspec.structs.replace(check, detail=_NOT_ON_THE_LIST)
        else:
            yield check
        needs_no_enrollment = (
            check.reason is Reason.CA_NOT_IN_ACCOUNT
            and check.result is not CheckResult.FAILED
            and Reason.ENROLLMENT_NOT_FOUND not in judged
        )
        if needs_no_enrollment and not sight.own:
            yield ExplainedCheck(
                reason=Reason.ENROLLMENT_NOT_FOUND, result=CheckResult.ASSUMED, detail=_NOBODY_ELSE_HAS_IT
            )


def _explained(check: Check, assumed: Mapping[Reason, str]) -> ExplainedCheck:
    if not check.passed:
        result, detail = CheckResult.FAILED, check.detail
    elif check.reason in assumed:
        result, detail = CheckResult.ASSUMED, assumed[check.reason]
    else:
        result, detail = CheckResult.PASSED, check.detail
    return ExplainedCheck(reason=check.reason, result=result, detail=detail)
