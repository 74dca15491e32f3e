"""`ftc enrollment …`."""

from __future__ import annotations

from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.cli.terminal import say
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    GetDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
    LookupDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDeviceEnrollmentsRequest
from ftc_grpc.cli.claim_secrets import claim_secrets
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.cli.times import MOMENT
from ftc_grpc.cli.watching import print_events, watch_options
from ftc_grpc.resource_names import DEVICE_ENROLLMENT

__all__ = ["enrollment"]

COLUMNS = ("id", "enrollment_identity", "created_at", "expires_at", "claimed_at", "enrolled_device_id")


@click.group()
def enrollment() -> None:
    """Work on the enrollment list: the devices that an account waits for.

    \b
    Examples:
      ftc enrollment create "$(ftc enrollment-id factory/devices/device-000001/device.pem)"
      ftc enrollment list
    """


@enrollment.command("create")
@click.argument("enrollment_identities", metavar="ENROLLMENT_IDENTITY...", nargs=-1, required=True)
@click.option("--expires-at", type=MOMENT, help="Removed then if not claimed (ISO 8601). Default: never.")
@click.option(
    "--claim-secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the devices' claim secrets are: the factory's claim-secrets.csv, or one secret and no more.",
)
@click.option(
    "--claim-not-before", type=MOMENT, help="Claimed from then on (ISO 8601); only with a claim secret."
)
@api_command
def create(
    connection: Connection,
    enrollment_identities: tuple[str, ...],
    expires_at: Timestamp | None,
    claim_secret_file: Path | None,
    claim_not_before: Timestamp | None,
) -> None:
    """Put each ENROLLMENT_IDENTITY (A-…, from `ftc enrollment-id` or the label) on the list.

    Up to 1000 at once: all of them, or none if one is refused.

    \b
    Examples:
      ftc enrollment create "$(ftc enrollment-id device.pem)" --expires-at 2030-12-31
      ftc enrollment create "$(ftc enrollment-id device.pem)" --claim-secret-file factory/claim-secrets.csv
    """
    api = connection.api
    secret_of = claim_secrets(claim_secret_file, enrollment_identities)
    rows = [
        CreateDeviceEnrollmentRequest(
            device_enrollment=DeviceEnrollment(
                enrollment_identity=identity,
                expires_at=expires_at,
                claim_secret=secret_of.get(identity, ""),
                claim_not_before=claim_not_before,
            )
        )
        for identity in enrollment_identities
    ]
    if len(rows) == 1:
        rows[0].parent = connection.parent
        created = api.call(api.device_enrollments.CreateDeviceEnrollment, rows[0])
        print_resource(created, as_json=connection.json)
    else:
        batch = BatchCreateDeviceEnrollmentsRequest(parent=connection.parent, requests=rows)
        answer = api.call(api.device_enrollments.BatchCreateDeviceEnrollments, batch)
        print_list(answer.device_enrollments, COLUMNS, more=False, as_json=connection.json)


@enrollment.command("lookup")
@click.argument("enrollment_identity")
@api_command
def lookup(connection: Connection, enrollment_identity: str) -> None:
    """Find the enrollment of ENROLLMENT_IDENTITY (A-…) on the account's list.

    \b
    Example:
      ftc enrollment lookup "$(ftc enrollment-id device.pem)"
    """
    request = LookupDeviceEnrollmentRequest(parent=connection.parent, enrollment_identity=enrollment_identity)
    found = connection.api.call(connection.api.device_enrollments.LookupDeviceEnrollment, request)
    print_resource(found, as_json=connection.json)


@enrollment.command("get")
@click.argument("name")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show the enrollment NAME (an ID or a resource name).

    \b
    Example:
      ftc enrollment get 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, DEVICE_ENROLLMENT)
    api = connection.api
    found = api.call(api.device_enrollments.GetDeviceEnrollment, GetDeviceEnrollmentRequest(name=full))
    print_resource(found, as_json=connection.json)


@enrollment.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List an account's enrollments.

    \b
    Example:
      ftc enrollment list --filter "state = WAITING AND created_at < 2030-01-31" --limit 200
    """
    method = connection.api.device_enrollments.ListDeviceEnrollments
    request = ListDeviceEnrollmentsRequest(parent=connection.parent)
    found, more = take(connection, method, request, "device_enrollments", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@enrollment.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def delete(connection: Connection, name: str, etag: str) -> None:
    """Remove the enrollment NAME (an ID or a resource name) and release its device.

    \b
    Example:
      ftc enrollment delete 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, DEVICE_ENROLLMENT)
    api = connection.api
    api.call(
        api.device_enrollments.DeleteDeviceEnrollment, DeleteDeviceEnrollmentRequest(name=full, etag=etag)
    )
    say("{}" if connection.json else f"{full} is deleted; its device, if any, is released")


@enrollment.command("watch")
@watch_options
@api_command
def watch(connection: Connection, start_revision: int, limit: int | None) -> None:
    """Print what happens to an account's enrollments, a line for each event, until interrupted.

    \b
    Examples:
      ftc enrollment watch
      ftc enrollment watch --from 1207 --json
    """
    api = connection.api
    request = WatchDeviceEnrollmentsRequest(parent=connection.parent, start_revision=start_revision)
    responses = api.stream(api.device_enrollments.WatchDeviceEnrollments, request)
    columns = ("device_enrollment_name", "enrollment_identity")
    print_events(responses, columns, limit=limit, as_json=connection.json)
