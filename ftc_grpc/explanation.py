"""An explanation of the claim decision, as the API tells it."""

from __future__ import annotations

from ftc_core.application.explain import Explanation
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import CATALOGUE
from ftc_grpc._gen.ftc.v1.explain_pb2 import ClaimCheck, ExplainClaimResponse
from ftc_grpc.resource_names import DEVICE, DEVICE_ENROLLMENT, TRUSTED_CERTIFICATE

__all__ = ["explanation_to_proto"]

_GRANTED_CODE = "2.04"


def explanation_to_proto(explanation: Explanation) -> ExplainClaimResponse:
    """The answer of ExplainClaim."""
    answer = ExplainClaimResponse(
        checks=[
            ClaimCheck(
                reason=check.reason.value,
                result=ClaimCheck.Result.Value(check.result.value),
                detail=check.detail,
            )
            for check in explanation.checks
        ],
        enrollment_identity=format_enrollment_id(explanation.fingerprint),
        endpoint_name=explanation.endpoint_name,
    )
    if explanation.refusal is not None:
        spec = CATALOGUE[explanation.refusal]
        answer.reason = explanation.refusal.value
        answer.message, answer.advice = spec.text, spec.action
        answer.dtls_alert = explanation.alert
        answer.coap_code = "" if explanation.alert else spec.coap
    if (grant := explanation.granted) is not None:
        answer.granted, answer.coap_code, answer.account_id = True, _GRANTED_CODE, grant.account_id
        answer.trusted_certificate = TRUSTED_CERTIFICATE.format(
            grant.account_id, grant.trusted_certificate_id
        )
        if grant.enrollment_id is not None:
            answer.device_enrollment = DEVICE_ENROLLMENT.format(grant.account_id, grant.enrollment_id)
        if grant.device_id is not None:
            answer.device = DEVICE.format(grant.account_id, grant.device_id)
    return answer
