"""Naming a device: by its resource, while somebody owns it, or by its certificate, whoever does."""

from __future__ import annotations

import msgspec

from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import View

__all__ = ["NamedDevice", "find_fingerprint"]


class NamedDevice(msgspec.Struct, frozen=True):
    """A device: by account and ID, or by its enrollment ID, and then these two are empty."""

    account_id: str = ""
    device_id: str = ""
    enrollment_identity: str = ""


def find_fingerprint(view: View, target: NamedDevice) -> bytes:
    """Of its certificate; whether there is such a device is not asked if it is named by that.

    Raises FtcError RESOURCE_NOT_FOUND, ENROLLMENT_ID_INVALID, ENROLLMENT_ID_VERSION_UNSUPPORTED.
    """
    if target.enrollment_identity:
        return parse_enrollment_id(target.enrollment_identity, field="enrollment_identity")
    device = view.get_device(target.account_id, target.device_id)
    if device is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
    return device.fingerprint
