"""What the API says of a device while the demo powers it on: each state, and when it was first seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.device_pb2 import Device
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc.client import ApiClient

__all__ = ["device_of", "wait_for_state"]

POLL_INTERVAL_S = 0.01
PATIENCE_S = 30.0


def device_of(api: ApiClient, account: str, endpoint_name: str) -> Device | None:
    """The account's device of that name, or None. One call a page: meant for the demo's few devices."""
    for page in api.pages(api.devices.ListDevices, ListDevicesRequest(parent=account)):
        for device in page.devices:
            if device.endpoint_name == endpoint_name:
                return device
    return None


async def wait_for_state(
    api: ApiClient, account: str, endpoint_name: str, states: Sequence[Device.State.ValueType]
) -> Device:
    """Poll until the device is in one of `states`. Raises FtcError INTERNAL_9 if it does not get there."""
    deadline = monotonic() + PATIENCE_S
    found: Device | None = None
    while monotonic() < deadline:
        if found is None:
            found = await asyncio.to_thread(device_of, api, account, endpoint_name)
        else:
            request = GetDeviceRequest(name=found.name)
            found = await asyncio.to_thread(api.call, api.devices.GetDevice, request)
        if found is not None and found.state in states:
            return found
        await asyncio.sleep(POLL_INTERVAL_S)
    wanted = " or ".join(Device.State.Name(state) for state in states)
    seen = Device.State.Name(found.state) if found is not None else "not found"
    raise FtcError(Reason.INTERNAL_9, f"{endpoint_name} is {seen}, expected {wanted}")
