"""`ftc enrollment upload|delete-upload`: whole files of enrollment IDs, with a progress bar."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
from google.longrunning.operations_pb2 import Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ftc_core.cli.terminal import say, write
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, whole_file
from ftc_grpc._gen.ftc.v1.bulk_pb2 import (
    BulkCreateDeviceEnrollmentsRequest,
    BulkDeleteDeviceEnrollmentsRequest,
    BulkOperationMetadata,
    ReadBulkReportRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.output import print_resource
from ftc_grpc.resource_names import OPERATION

__all__ = ["delete_upload", "report", "upload"]

_CHUNK_BYTES = 256 * 1024
_REFRESH_S = 0.5
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
@api_command
def upload(
    connection: Connection, file: BinaryIO, request_id: str, *, validate_only: bool, watch: bool
) -> None:
    """Put the enrollment IDs in the CSV FILE on the list (- for standard input).

    The first line is ignored, and so is everything after a line's first comma. With --watch, a row that fails
    is told in the report, and the exit status is 1.

    \b
    Example:
      ftc enrollment upload factory/enrollments.csv --watch
    """
    method = connection.api.device_enrollments.BulkCreateDeviceEnrollments
    requests = _pieces(BulkCreateDeviceEnrollmentsRequest, connection, file, request_id, validate_only)
    _follow(connection, connection.api.upload(method, requests), watch=watch)


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
    requests = _pieces(BulkDeleteDeviceEnrollmentsRequest, connection, file, request_id, validate_only)
    _follow(connection, connection.api.upload(method, requests), watch=watch)


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
    name = operation if "/" in operation else OPERATION.format(operation)
    request = ReadBulkReportRequest(name=name, report=_REPORTS[rows])
    pieces = connection.api.stream(connection.api.device_enrollments.ReadBulkReport, request)
    if out is None:
        for piece in pieces:
            write(piece.data)
        return
    with whole_file(out, PRIVATE) as file:
        for piece in pieces:
            file.write(piece.data)


def _pieces(
    kind: Callable[..., Any], connection: Connection, file: BinaryIO, request_id: str, validate_only: bool
) -> Iterator[Any]:
    yield kind(
        parent=connection.parent, request_id=request_id or str(uuid.uuid4()), validate_only=validate_only
    )
    while data := file.read(_CHUNK_BYTES):
        yield kind(data=data)


def _follow(connection: Connection, operation: Operation, *, watch: bool) -> None:
    if watch:
        operation = _watched(connection, operation)
    metadata = _metadata(operation)
    if connection.json:
        print_resource(operation, as_json=True)
    elif watch:
        say(f"{operation.name}: {metadata.processed_count} rows, {metadata.errors_count} failed")
    else:
        say(f"{operation.name}: {metadata.total_count} rows to do")
    if watch and operation.HasField("error"):
        raise FtcError(Reason.OPERATION_CANCELLED, operation.error.message)
    if watch and metadata.errors_count:
        say(f"see: ftc enrollment report {operation.name}", err=True)
        sys.exit(1)


def _watched(connection: Connection, operation: Operation) -> Operation:
    """The operation once it is done; meanwhile a bar on standard error, if that is a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    wait = WaitOperationRequest(name=operation.name, timeout=Duration(nanos=int(_REFRESH_S * 1e9)))
    with bar:
        task = bar.add_task("rows", total=_metadata(operation).total_count)
        while not operation.done:
            operation = connection.api.call(connection.api.operations.WaitOperation, wait)
            bar.update(task, completed=_metadata(operation).processed_count)
    return operation


def _metadata(operation: Operation) -> BulkOperationMetadata:
    metadata = BulkOperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata
