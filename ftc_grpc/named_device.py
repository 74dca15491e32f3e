"""The device that a request means: by its resource name, or by its enrollment ID."""

from __future__ import annotations

from typing import Protocol

from ftc_core.application.named_device import NamedDevice
from ftc_core.errors import FtcError, Reason
from ftc_grpc.caller import named_resource
from ftc_grpc.resource_names import DEVICE

__all__ = ["check_alone", "named_device"]


class DeviceRequest(Protocol):
    """The fields of every request that means a device in either way."""

    name: str
    enrollment_identity: str


def named_device(request: DeviceRequest) -> NamedDevice:
    """The device. Raises FtcError FIELD_INVALID if it is named twice; else as `named_resource`."""
    if request.enrollment_identity:
        check_alone(request.name, "enrollment_identity")
        return NamedDevice(enrollment_identity=request.enrollment_identity)
    return NamedDevice(*named_resource(request.name, DEVICE))


def check_alone(name: str, field: str) -> None:
    """Raises FtcError FIELD_INVALID if a `name` is given beside `field`."""
    if name:
        raise FtcError(Reason.FIELD_INVALID, f"name and {field} exclude each other", field=field)
