"""Denials as messages, and what the requests about them name."""

from __future__ import annotations

from ftc_core.domain.account import Role
from ftc_core.domain.denial import Denial
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_grpc._gen.ftc.v1.denial_pb2 import DeviceEnrollmentDenial
from ftc_grpc.caller import current_caller, named_resource
from ftc_grpc.convert import etag_of, timestamp
from ftc_grpc.resource_names import DEVICE_ENROLLMENT_DENIAL, ORPHAN_DENIAL

__all__ = ["denial_to_proto", "named_denial"]


def named_denial(name: str) -> tuple[str | None, str]:
    """The IDs of account, None if it concerns none, and denial. Raises FtcError as `named_resource`.

    What concerns no account is the operator's to see: for others there is nothing of that name.
    """
    orphan = ORPHAN_DENIAL.match(name)
    if orphan is None:
        account_id, denial_id = named_resource(name, DEVICE_ENROLLMENT_DENIAL)
        return account_id, denial_id
    if current_caller().role is not Role.OPERATOR:
        raise FtcError(Reason.RESOURCE_NOT_FOUND)
    (denial_id,) = orphan
    return None, denial_id


def denial_to_proto(denial: Denial) -> DeviceEnrollmentDenial:
    """The resource of a denial."""
    spec = CATALOGUE[denial.reason]
    return DeviceEnrollmentDenial(
        name=ORPHAN_DENIAL.format(denial.id)
        if denial.account_id is None
        else DEVICE_ENROLLMENT_DENIAL.format(denial.account_id, denial.id),
        id=denial.id,
        account_id=denial.account_id or "",
        reason=denial.reason.value,
        detail=denial.detail,
        dtls_alert=denial.alert,
        coap_code="" if denial.alert else spec.coap,
        advice=spec.action,
        enrollment_identity="" if denial.fingerprint is None else format_enrollment_id(denial.fingerprint),
        endpoint_name=denial.endpoint_name,
        common_name=denial.common_name,
        issuer=denial.issuer,
        issuer_key_id=denial.issuer_key_id.hex(),
        trusted_certificate_id=denial.trusted_certificate_id or "",
        proven=denial.proven,
        address=denial.address,
        first_seen_at=timestamp(denial.first_seen_at),
        last_seen_at=timestamp(denial.last_seen_at),
        count=denial.count,
        etag=etag_of(denial.revision),
    )
