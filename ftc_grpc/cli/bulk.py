"""`ftc enrollment upload|delete-upload`: whole files of enrollment IDs, with a progress bar."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from google.longrunning.operations_pb2 import Operation
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.cli.terminal import say, write
from ftc_core.files import PRIVATE, whole_file
from ftc_grpc._gen.ftc.v1.bulk_pb2 import (
    BulkCreateDeviceEnrollmentsRequest,
    BulkDeleteDeviceEnrollmentsRequest,
    ReadBulkReportRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.progress import follow, metadata_of, operation_name, tell
from ftc_grpc.cli.times import MOMENT

__all__ = ["delete_upload", "report", "upload"]

Request = TypeVar("Request", BulkCreateDeviceEnrollmentsRequest, BulkDeleteDeviceEnrollmentsRequest)

_CHUNK_BYTES = 256 * 1024
_REPORTS = {"full": ReadBulkReportRequest.FULL, "errors": ReadBulkReportRequest.ERRORS}


def _upload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both directions take."""
    command = click.option("--watch", is_flag=True, help="Wait for the end, and show how far it has come.")(
        command
    )
    command = click.option(
        "--validate-only", is_flag=True, help="Judge every row and report; change nothing."
    )(command)
    command = click.option(
        "--request-id", default="", help="A UUID: a repeat with the same one has no further effect."
    )(command)
    return click.argument("file", type=click.File("rb"))(command)


@click.command("upload")
@_upload_options
@click.option(
    "--expires-at",
    type=MOMENT,
    help="Removed then if not claimed (ISO 8601). Default: as the operator has set.",
)
@api_command
def upload(
    connection: Connection,
    file: BinaryIO,
    request_id: str,
    *,
    validate_only: bool,
    watch: bool,
    expires_at: Timestamp | None,
) -> None:
    """Put the enrollment IDs in the CSV FILE on the list (- for standard input).

    The first line is ignored, and so is everything after a line's first comma. With --watch, a row that fails
    is told in the report, and the exit status is 1.

    \b
    Examples:
      ftc enrollment upload factory/enrollments.csv --watch
      ftc enrollment upload factory/enrollments.csv --expires-at 2030-12-31
    """
    method = connection.api.device_enrollments.BulkCreateDeviceEnrollments
    first = BulkCreateDeviceEnrollmentsRequest(
        parent=connection.parent,
        request_id=request_id or str(uuid.uuid4()),
        validate_only=validate_only,
        expires_at=expires_at,
    )
    _started(connection, connection.api.upload(method, _pieces(first, file)), watch=watch)


@click.command("delete-upload")
@_upload_options
@api_command
def delete_upload(
    connection: Connection, file: BinaryIO, request_id: str, *, validate_only: bool, watch: bool
) -> None:
    """Take the enrollment IDs in the CSV FILE off the list (- for standard input), and release their devices.

    \b
    Example:
      ftc enrollment delete-upload sold.csv --validate-only --watch
    """
    method = connection.api.device_enrollments.BulkDeleteDeviceEnrollments
    first = BulkDeleteDeviceEnrollmentsRequest(
        parent=connection.parent, request_id=request_id or str(uuid.uuid4()), validate_only=validate_only
    )
    _started(connection, connection.api.upload(method, _pieces(first, file)), watch=watch)


@click.command("report")
@click.argument("operation")
@click.option("--rows", type=click.Choice(sorted(_REPORTS)), default="errors", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file, which appears once it is whole. Default: print it.",
)
@api_command
def report(connection: Connection, operation: str, rows: str, out: Path | None) -> None:
    """Read what became of each row of OPERATION (a name or an ID, as `ftc enrollment upload` printed it).

    \b
    Example:
      ftc enrollment report operations/019a0c5e7b1d7c2e8f00112233445566 --rows full --out report.csv
    """
    request = ReadBulkReportRequest(name=operation_name(operation), report=_REPORTS[rows])
    pieces = connection.api.stream(connection.api.device_enrollments.ReadBulkReport, request)
    if out is None:
        for piece in pieces:
            write(piece.data)
        return
    with whole_file(out, PRIVATE) as file:
        for piece in pieces:
            file.write(piece.data)


def _pieces(first: Request, file: BinaryIO) -> Iterator[Request]:
    yield first
    while data := file.read(_CHUNK_BYTES):
        yield type(first)(data=data)


def _started(connection: Connection, operation: Operation, *, watch: bool) -> None:
    if not metadata_of(operation).total_count:
        say("note: no rows were found; a CSV file is expected, whose first line is ignored", err=True)
    if watch:
        follow(connection, operation)
    else:
        tell(connection, operation)
