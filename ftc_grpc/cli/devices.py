"""`ftc device show` and `ftc device list`."""

from __future__ import annotations

import click

from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import DEVICE

__all__ = ["list_", "show"]

COLUMNS = ("id", "endpoint_name", "state", "claimed_at", "registered_at", "last_seen_at")


@click.command("show")
@click.argument("name")
@api_command
def show(connection: Connection, name: str) -> None:
    """Show the claimed device NAME (an ID or a resource name).

    \b
    Example:
      ftc device show 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, DEVICE)
    api = connection.api
    found = api.call(api.devices.GetDevice, GetDeviceRequest(name=full))
    print_resource(found, as_json=connection.json)


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
