"""`ftc device show`, `ftc device list` and `ftc device watch`."""

from __future__ import annotations

import re

import click

from ftc_core.domain.identity import is_resource_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.device_pb2 import Device
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDevicesRequest
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.device_page import print_device
from ftc_grpc.cli.listing import Selection, list_options, take, take_first
from ftc_grpc.cli.output import print_list
from ftc_grpc.cli.watching import print_events, watch_options
from ftc_grpc.resource_names import DEVICE

__all__ = ["list_", "show", "watch"]

COLUMNS = ("id", "endpoint_name", "state", "claimed_at", "registered_at", "last_seen_at")

_ENROLLMENT_ID = re.compile(r"[A-Z]-[0-9A-Fa-f]{2}:")
"""How an enrollment ID begins, of whatever version."""
_SHOWN_MAX_CHARS = 100


@click.command("show")
@click.argument("device")
@api_command
def show(connection: Connection, device: str) -> None:
    """Show the claimed DEVICE: what it said, and how its last bootstrap went.

    DEVICE is its ID, resource name, endpoint name, or enrollment ID A-… as on its label.

    \b
    Examples:
      ftc device show 019a0c5e7b1d7c2e8f00112233445566
      ftc device show lamp-17
      ftc device show "$(ftc enrollment-id device.pem)"
    """
    api = connection.api
    found = api.call(api.devices.GetDevice, GetDeviceRequest(name=_device_name(connection, device)))
    print_device(found, as_json=connection.json)


@click.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List the devices that an account has claimed.

    \b
    Example:
      ftc device list --filter "state != REGISTERED" --newest-first
    """
    method = connection.api.devices.ListDevices
    request = ListDevicesRequest(parent=connection.parent)
    found, more = take(connection, method, request, "devices", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@click.command("watch")
@watch_options
@api_command
def watch(connection: Connection, start_revision: int, limit: int | None) -> None:
    """Print what happens to an account's devices, a line for each event, until interrupted.

    \b
    Examples:
      ftc device watch
      ftc device watch --from 1207 --json
    """
    api = connection.api
    request = WatchDevicesRequest(parent=connection.parent, start_revision=start_revision)
    responses = api.stream(api.devices.WatchDevices, request)
    print_events(responses, ("device_name", "enrollment_identity"), limit=limit, as_json=connection.json)


def _device_name(connection: Connection, given: str) -> str:
    """The resource name of the device that is meant. Raises FtcError."""
    if "/" in given or is_resource_id(given):
        return connection.resource_name(given, DEVICE)
    field = "enrollment_identity" if _ENROLLMENT_ID.match(given) else "endpoint_name"
    quoted = re.sub(r'(["\\*])', r"\\\1", given)
    request = ListDevicesRequest(parent=connection.parent, filter=f'{field} = "{quoted}"')
    found, _ = take_first(connection, connection.api.devices.ListDevices, request, "devices", 1)
    for device in found:
        assert isinstance(device, Device)  # noqa: S101 - by the method
        if field == "enrollment_identity" or device.endpoint_name == given:  # not what "lamp-*" begins with
            return device.name
    raise FtcError(
        Reason.RESOURCE_NOT_FOUND, f"no claimed device has the {field} {given[:_SHOWN_MAX_CHARS]!r}"
    )
