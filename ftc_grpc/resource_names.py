"""Resource names (AIP-122): `accounts/{account}` and the collections below it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ftc_core.domain.identity import is_enrollment_id, is_resource_id
from ftc_core.errors import FtcError, Reason

__all__ = [
    "ACCOUNT",
    "API_KEY",
    "DEVICE",
    "DEVICE_ENROLLMENT",
    "DEVICE_ENROLLMENT_DENIAL",
    "DEVICE_TRANSFER",
    "OPERATION",
    "ORPHAN_DENIAL",
    "TRUSTED_CERTIFICATE",
    "NamePattern",
    "resource_type",
]

_SHOWN_MAX_CHARS = 200
"""Characters of a malformed name that its refusal repeats."""


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One kind of name: the resource's type and its pattern of fixed and `{variable}` segments."""

    type: str
    pattern: str

    def format(self, *ids: str) -> str:
        """The name with `ids` in the places of the variables, in order."""
        return _template(self.pattern).format(*ids)

    def parse(self, name: str, *, field: str) -> tuple[str, ...]:
        """The IDs in `name`, in order.

        Raises FtcError RESOURCE_NAME_INVALID, showing the form, or FIELD_REQUIRED if it is empty.
        """
        if not name:
            raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required: {self.pattern}", field=field)
        ids = self.match(name)
        if ids is None:
            shown = name if len(name) <= _SHOWN_MAX_CHARS else name[:_SHOWN_MAX_CHARS] + "…"
            raise FtcError(
                Reason.RESOURCE_NAME_INVALID,
                f"resource name {shown!r} is malformed; the form is {self.pattern},"
                " each ID 32 lower-case hex characters",
                field=field,
            )
        return ids

    def match(self, name: str) -> tuple[str, ...] | None:
        """The IDs in `name`, or None if it is not of this kind."""
        parts, expected = name.split("/"), self.pattern.split("/")
        if len(parts) != len(expected):
            return None
        ids = []
        for part, wanted in zip(parts, expected, strict=True):
            if _is_variable(wanted):
                if not is_resource_id(part):
                    return None
                ids.append(part)
            elif part != wanted:
                return None
        return tuple(ids)


@functools.cache
def _template(pattern: str) -> str:
    """`pattern` for `str.format`, its variables by position."""
    return "/".join("{}" if _is_variable(part) else part for part in pattern.split("/"))


def _is_variable(part: str) -> bool:
    return part.startswith("{")


ACCOUNT = NamePattern("ftc.dev/Account", "accounts/{account}")
API_KEY = NamePattern("ftc.dev/ApiKey", "accounts/{account}/apiKeys/{api_key}")
TRUSTED_CERTIFICATE = NamePattern(
    "ftc.dev/TrustedCertificate", "accounts/{account}/trustedCertificates/{trusted_certificate}"
)
DEVICE_ENROLLMENT = NamePattern(
    "ftc.dev/DeviceEnrollment", "accounts/{account}/deviceEnrollments/{device_enrollment}"
)
DEVICE_ENROLLMENT_DENIAL = NamePattern(
    "ftc.dev/DeviceEnrollmentDenial", "accounts/{account}/deviceEnrollmentDenials/{device_enrollment_denial}"
)
ORPHAN_DENIAL = NamePattern(
    DEVICE_ENROLLMENT_DENIAL.type, "accounts/-/deviceEnrollmentDenials/{device_enrollment_denial}"
)
"""Of a denial that concerns no account, and is the operator's."""
DEVICE = NamePattern("ftc.dev/Device", "accounts/{account}/devices/{device}")
DEVICE_TRANSFER = NamePattern(
    "ftc.dev/DeviceTransfer", "accounts/{account}/deviceTransfers/{device_transfer}"
)
OPERATION = NamePattern("ftc.dev/Operation", "operations/{operation}")

_PATTERNS = (
    ACCOUNT,
    API_KEY,
    TRUSTED_CERTIFICATE,
    DEVICE_ENROLLMENT,
    DEVICE_ENROLLMENT_DENIAL,
    ORPHAN_DENIAL,
    DEVICE,
    DEVICE_TRANSFER,
    OPERATION,
)


def resource_type(name: str) -> str:
    """The type of the resource that `name` names, for `google.rpc.ResourceInfo`; "" if it is no name.

    An enrollment ID stands for the enrollment that has it.
    """
    if is_enrollment_id(name):
        return DEVICE_ENROLLMENT.type
    return next((pattern.type for pattern in _PATTERNS if pattern.match(name) is not None), "")
