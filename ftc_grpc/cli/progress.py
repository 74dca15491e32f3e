"""How far bulk operations have come: a line, or a bar until the end."""

from __future__ import annotations

import sys

from google.longrunning.operations_pb2 import Operation, WaitOperationRequest
from google.protobuf.duration_pb2 import Duration

from ftc_core.cli.progress import stage_bar
from ftc_core.cli.terminal import say
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkOperationMetadata
from ftc_grpc.cli.connection import Connection
from ftc_grpc.cli.output import print_resource
from ftc_grpc.client import error_of_status
from ftc_grpc.resource_names import OPERATION

__all__ = ["follow", "metadata_of", "operation_name", "tell"]

_REFRESH_S = 0.5


def operation_name(given: str) -> str:
    """The resource name of the operation that is meant, by that or by its ID."""
    return given if "/" in given else OPERATION.format(given)


def metadata_of(operation: Operation) -> BulkOperationMetadata:
    """What the operation says of its rows."""
    metadata = BulkOperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def tell(connection: Connection, operation: Operation) -> None:
    """Say that the operation has begun, and how to follow it."""
    if connection.json:
        print_resource(operation, as_json=True)
    else:
        say(f"{operation.name}: {metadata_of(operation).total_count} rows to do")
        say(f"follow it: ftc operation wait {operation.name}", err=True)


def follow(connection: Connection, operation: Operation) -> None:
    """Wait for the end, and say how it was; exit 1 if a row failed. Raises FtcError if the operation did."""
    try:
        operation = _ended(connection, operation)
    except KeyboardInterrupt:
        say(f"{operation.name} goes on: ftc operation wait|cancel {operation.name}", err=True)
        raise
    metadata = metadata_of(operation)
    if connection.json:
        print_resource(operation, as_json=True)
    else:
        say(f"{operation.name}: {metadata.processed_count} rows, {metadata.errors_count} failed")
    if operation.HasField("error"):
        raise error_of_status(operation.error) or FtcError(
            Reason.OPERATION_CANCELLED, operation.error.message
        )
    if metadata.errors_count:
        say(f"see: ftc enrollment report {operation.name}", err=True)
        sys.exit(1)


def _ended(connection: Connection, operation: Operation) -> Operation:
    """The operation once it is done; meanwhile a bar on standard error, if that is a terminal."""
    wait = WaitOperationRequest(name=operation.name, timeout=Duration(nanos=int(_REFRESH_S * 1e9)))
    with stage_bar(counted=True) as progress:
        while not operation.done:
            operation = connection.api.call(connection.api.operations.WaitOperation, wait)
            metadata = metadata_of(operation)
            progress("rows", metadata.processed_count, metadata.total_count)
    return operation
