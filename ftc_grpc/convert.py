"""Between protobuf messages and domain values: the only place that knows both."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.application.context import WriteOptions
from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc import resource_names as names
from ftc_grpc._gen.ftc.v1 import account_pb2, device_enrollment_pb2, device_pb2, trusted_certificate_pb2

__all__ = [
    "account_to_proto",
    "api_key_to_proto",
    "certificate_to_proto",
    "device_to_proto",
    "enrollment_to_proto",
    "enum_field",
    "etag_of",
    "optional_duration",
    "optional_time",
    "required_message",
    "revision_of_etag",
    "revision_of_update",
    "timestamp",
    "write_options",
]

E = TypeVar("E", bound=StrEnum)

_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_ETAG = re.compile(r'"([0-9]{1,18})"')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION_MAX_S = 315_576_000_000
_NANOS_MAX = 999_999_999
_NO_REVISION = -1
"""Stands for an etag that we never gave out: it differs from every revision."""


class WriteRequest(Protocol):
    """The fields that every request has that changes something."""

    request_id: str
    validate_only: bool


# --- requests ----------------------------------------------------------------------------------------


def write_options(request: WriteRequest) -> WriteOptions:
    """How to write. Raises FtcError FIELD_INVALID if `request_id` is not a UUID (RFC 9562 §4)."""
    if request.request_id and _UUID.fullmatch(request.request_id) is None:
        raise FtcError(Reason.FIELD_INVALID, "request_id is not a UUID", field="request_id")
    return WriteOptions(request.request_id.lower(), request.validate_only)


def required_message(request: Message, field: str) -> None:
    """Raises FtcError FIELD_REQUIRED if the message field is not set."""
    if not request.HasField(field):
        raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)


def optional_time(message: Message, name: str, *, field: str) -> datetime | None:
    """A Timestamp field as aware UTC, None if absent. Raises FtcError FIELD_INVALID if out of range."""
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise FtcError(Reason.FIELD_INVALID, f"{field} is not a valid timestamp", field=field) from error


def optional_duration(message: Message, name: str, *, field: str) -> float | None:
    """A Duration field in seconds, None if absent.

    Raises FtcError FIELD_INVALID unless it is as google/protobuf/duration.proto has it: at most 10,000 years
    either way, nanos below a second and of the sign of the seconds.
    """
    if not message.HasField(name):
        return None
    duration: Duration = getattr(message, name)
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _DURATION_MAX_S or abs(nanos) > _NANOS_MAX or seconds * nanos < 0:
        raise FtcError(Reason.FIELD_INVALID, f"{field} is not a valid duration", field=field)
    return seconds + nanos / 1e9


def revision_of_etag(etag: str) -> int | None:
    """The revision that an etag stands for, None if none is given; one we never made matches nothing."""
    if not etag:
        return None
    shape = _ETAG.fullmatch(etag)
    return int(shape[1]) if shape else _NO_REVISION


def revision_of_update(etag: str, held: str, *, field: str) -> int | None:
    """As `revision_of_etag`, of an update: its own `etag`, or the one `held` in its resource (AIP-154).

    So whoever sends back a resource as he read it overwrites nobody's change. Raises FtcError FIELD_INVALID,
    naming `field`, which is that of `held`, if both are given and differ.
    """
    if etag and held and etag != held:
        raise FtcError(Reason.FIELD_INVALID, f"{field} and etag differ", field=field)
    return revision_of_etag(etag or held)


def enum_field(message: Message, name: str, kind: type[E], *, field: str, default: E | None = None) -> E:
    """An enum field as the domain's enum, whose members bear the same names; `default` if it is not set.

    Raises FtcError FIELD_REQUIRED if it is not set and there is no default, FIELD_INVALID for a number that
    this version does not know.
    """
    number: int = getattr(message, name)
    if number == 0:
        if default is None:
            raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
        return default
    enum_type = message.DESCRIPTOR.fields_by_name[name].enum_type
    known = enum_type.values_by_number.get(number) if enum_type is not None else None
    if known is None:
        raise FtcError(Reason.FIELD_INVALID, f"{field} has the unknown value {number}", field=field)
    return kind(known.name)


# --- resources ---------------------------------------------------------------------------------------


def account_to_proto(account: Account) -> account_pb2.Account:
    """The resource of an account."""
    return account_pb2.Account(
        name=names.ACCOUNT.format(account.id),
        id=account.id,
        display_name=account.display_name,
        device_quota=account.device_quota,
        status=account_pb2.Account.Status.Value(account.status.value),
        device_count=account.device_count,
        created_at=timestamp(account.created_at),
        updated_at=timestamp(account.updated_at),
        etag=etag_of(account.revision),
    )


def api_key_to_proto(key: ApiKey) -> account_pb2.ApiKey:
    """The resource of an API key, without any secret."""
    return account_pb2.ApiKey(
        name=names.API_KEY.format(key.account_id, key.id),
        id=key.id,
        account_id=key.account_id,
        display_name=key.display_name,
        role=account_pb2.ApiKey.Role.Value(key.role.value),
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        last_used_at=timestamp(key.last_used_at),
        etag=etag_of(key.revision),
    )


def certificate_to_proto(
    certificate: TrustedCertificate, now: datetime
) -> trusted_certificate_pb2.TrustedCertificate:
    """The resource of a trusted certificate, as of `now`."""
    kind = trusted_certificate_pb2.TrustedCertificate
    return kind(
        name=names.TRUSTED_CERTIFICATE.format(certificate.account_id, certificate.id),
        id=certificate.id,
        account_id=certificate.account_id,
        display_name=certificate.display_name,
        description=certificate.description,
        service=kind.Service.Value(certificate.service.value),
        status=kind.Status.Value(certificate.status.value),
        enrollment_mode=certificate.enrollment_mode,
        certificate=certificate.certificate,
        certificate_fingerprint=certificate.fingerprint.hex(),
        subject=certificate.subject,
        issuer=certificate.issuer,
        validity=timestamp(certificate.not_after),
        valid_from=timestamp(certificate.not_before),
        valid=certificate.not_before <= now <= certificate.not_after,
        owner_id=certificate.owner_id,
        device_execution_mode=certificate.device_execution_mode,
        created_at=timestamp(certificate.created_at),
        updated_at=timestamp(certificate.updated_at),
        etag=etag_of(certificate.revision),
    )


def enrollment_to_proto(enrollment: Enrollment) -> device_enrollment_pb2.DeviceEnrollment:
    """The resource of an enrollment."""
    return device_enrollment_pb2.DeviceEnrollment(
        name=names.DEVICE_ENROLLMENT.format(enrollment.account_id, enrollment.id),
        id=enrollment.id,
        account_id=enrollment.account_id,
        enrollment_identity=format_enrollment_id(enrollment.fingerprint),
        created_at=timestamp(enrollment.created_at),
        expires_at=timestamp(enrollment.expires_at),
        claimed_at=timestamp(enrollment.claimed_at),
        enrolled_device_id=enrollment.enrolled_device_id or "",
        etag=etag_of(enrollment.revision),
        has_claim_secret=enrollment.claim_verifier is not None,
        claim_not_before=timestamp(enrollment.claim_not_before),
    )


def device_to_proto(device: Device) -> device_pb2.Device:
    """The resource of a device."""
    return device_pb2.Device(
        name=names.DEVICE.format(device.account_id, device.id),
        id=device.id,
        account_id=device.account_id,
        endpoint_name=device.endpoint_name,
        enrollment_identity=format_enrollment_id(device.fingerprint),
        enrollment_id=device.enrollment_id or "",
        trusted_certificate_id=device.trusted_certificate_id,
        state=device_pb2.Device.State.Value(device.state.value),
        created_at=timestamp(device.created_at),
        claimed_at=timestamp(device.claimed_at),
        bootstrapped_at=timestamp(device.bootstrapped_at),
        registered_at=timestamp(device.registered_at),
        last_seen_at=timestamp(device.last_seen_at),
        lifetime=Duration(seconds=device.lifetime) if device.lifetime is not None else None,
        registration_expires_at=timestamp(device.registration_expires_at()),
        lwm2m_version=device.lwm2m_version,
        binding=device.binding,
        object_links=device.object_links,
        client_version=device.client_version,
        last_address=device.last_address,
        etag=etag_of(device.revision),
    )


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment as protobuf has it."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def etag_of(revision: int) -> str:
    """The etag of a record of that revision."""
    return f'"{revision}"'  # quoted, as RFC 9110 §8.8.3 and AIP-154 write them
