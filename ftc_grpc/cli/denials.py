"""`ftc denial …`: the devices that were refused, and why."""

from __future__ import annotations

import click
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import PAGE_SIZE_DEFAULT
from ftc_grpc._gen.ftc.v1.denial_pb2 import (
    DeviceEnrollmentDenial,
    GetDeviceEnrollmentDenialRequest,
    ListDeviceEnrollmentDenialsRequest,
)
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.cli.times import MOMENT
from ftc_grpc.resource_names import DEVICE_ENROLLMENT_DENIAL

__all__ = ["denial"]

COLUMNS = (
    "name",
    "reason",
    "dtls_alert",
    "common_name",
    "issuer",
    "enrollment_identity",
    "address",
    "count",
    "last_seen_at",
)


@click.group()
def denial() -> None:
    """Look at devices that were refused, and let them in.

    \b
    Examples:
      ftc denial list --filter "reason = ENROLLMENT_NOT_FOUND"
      ftc denial enroll 019a0c5e7b1d7c2e8f00112233445566
    """


@denial.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=PAGE_SIZE_DEFAULT,
    show_default=True,
    help="How many to show at most.",
)
@click.option(
    "--filter",
    "filter_",
    default="",
    help="Show only these: comparisons joined by AND, such as 'reason = QUOTA_REACHED'.",
)
@click.option("--oldest-first", is_flag=True, help="Those first that were last seen the longest ago.")
@api_command
def list_(connection: Connection, limit: int, filter_: str, oldest_first: bool) -> None:
    """List the devices that were refused, the last seen first.

    With an account's key: those on its enrollment list, its own, and those of its CAs that nobody enrolled.
    With an operator's: all, also those that concern no account (--filter "orphan = true").

    \b
    Example:
      ftc denial list --filter "endpoint_name = device-0* AND last_seen_at > 2030-01-31" --limit 200
    """
    request = ListDeviceEnrollmentDenialsRequest(parent=connection.parent)
    selection = Selection(limit, filter_, "last_seen_at" if oldest_first else "")
    method = connection.api.device_enrollments.ListDeviceEnrollmentDenials
    found, more = take(connection, method, request, "device_enrollment_denials", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@denial.command("get")
@click.argument("name")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show the denial NAME (an ID or a resource name), and what to do about it.

    \b
    Example:
      ftc denial get 019a0c5e7b1d7c2e8f00112233445566
    """
    print_resource(_get(connection, name), as_json=connection.json)


@denial.command("enroll")
@click.argument("name")
@click.option("--expires-at", type=MOMENT, help="Removed then if not claimed (ISO 8601). Default: never.")
@api_command
def enroll(connection: Connection, name: str, expires_at: Timestamp | None) -> None:
    """Put the device of the denial NAME (an ID or a resource name) on the account's enrollment list.

    It comes by itself: devices try again and again. The account is that of the denial, unless --account says
    another one, as it must for a denial that concerns none. Look at `proven` first: if it is no, anybody may
    have shown a copy of the device's certificate, though nobody but the device can be claimed by it.

    \b
    Example:
      ftc denial enroll 019a0c5e7b1d7c2e8f00112233445566
    """
    denied = _get(connection, name)
    if not denied.enrollment_identity:
        raise FtcError(Reason.FIELD_INVALID, f"{denied.name}: the device presented no certificate")
    parent = connection.parent or (f"accounts/{denied.account_id}" if denied.account_id else "")
    if not parent:
        raise FtcError(Reason.FIELD_REQUIRED, f"{denied.name} concerns no account: --account is required")
    request = CreateDeviceEnrollmentRequest(
        parent=parent,
        device_enrollment=DeviceEnrollment(
            enrollment_identity=denied.enrollment_identity, expires_at=expires_at
        ),
    )
    api = connection.api
    created = api.call(api.device_enrollments.CreateDeviceEnrollment, request)
    print_resource(created, as_json=connection.json)


def _get(connection: Connection, name: str) -> DeviceEnrollmentDenial:
    full = connection.resource_name(name, DEVICE_ENROLLMENT_DENIAL)
    api = connection.api
    request = GetDeviceEnrollmentDenialRequest(name=full)
    return api.call(api.device_enrollments.GetDeviceEnrollmentDenial, request)
