"""`ftc device show`, `ftc device list` and `ftc device watch`."""

from __future__ import annotations

import click

from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDevicesRequest
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.device_page import print_device
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list
from ftc_grpc.cli.watching import print_events, watch_options
from ftc_grpc.resource_names import DEVICE

__all__ = ["list_", "show", "watch"]

COLUMNS = ("id", "endpoint_name", "state", "claimed_at", "registered_at", "last_seen_at")


@click.command("show")
@click.argument("name")
@api_command
def show(connection: Connection, name: str) -> None:
    """Show the claimed device NAME (an ID or a resource name): what it said, and how its last bootstrap went.

    \b
    Example:
      ftc device show 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, DEVICE)
    api = connection.api
    found = api.call(api.devices.GetDevice, GetDeviceRequest(name=full))
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
