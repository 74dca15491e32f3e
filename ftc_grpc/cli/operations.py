"""`ftc operation …`: bulk uploads on their way, and those that are done."""

from __future__ import annotations

import click
from google.longrunning.operations_pb2 import (
    CancelOperationRequest,
    DeleteOperationRequest,
    GetOperationRequest,
    ListOperationsRequest,
    Operation,
)
from rich.table import Table

from ftc_core.cli.terminal import print_json, print_table, say
from ftc_core.limits import PAGE_SIZE_DEFAULT
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import take_first
from ftc_grpc.cli.output import print_resource, text_of, to_json_object
from ftc_grpc.cli.progress import follow, metadata_of, operation_name

__all__ = ["operation"]

COLUMNS = ("kind", "status", "total_count", "processed_count", "errors_count", "validate_only", "created_at")


@click.group()
def operation() -> None:
    """Follow bulk uploads, end them, and forget those that are done.

    \b
    Examples:
      ftc operation list --filter "done = false"
      ftc operation wait 019a0c5e7b1d7c2e8f00112233445566
    """


@operation.command("get")
@click.argument("name")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show how far the operation NAME (an ID or operations/ID) has come.

    \b
    Example:
      ftc operation get 019a0c5e7b1d7c2e8f00112233445566
    """
    found = _get(connection, name)
    if connection.json:
        print_resource(found, as_json=True)
        return
    say(found.name)
    print_resource(metadata_of(found), as_json=False)
    if found.HasField("error"):
        say(f"error  {found.error.message}")


@operation.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE_SIZE_DEFAULT, show_default=True)
@click.option(
    "--filter",
    "filter_",
    default="",
    help="Show only these, such as 'done = false AND metadata.kind = CREATE'.",
)
@api_command
def list_(connection: Connection, limit: int, filter_: str) -> None:
    """List an account's operations, in the order of their creation.

    \b
    Example:
      ftc operation list --filter "metadata.errors_count > 0"
    """
    request = ListOperationsRequest(name=connection.parent, filter=filter_)
    method = connection.api.operations.ListOperations
    found, more = take_first(connection, method, request, "operations", limit)
    operations = [each for each in found if isinstance(each, Operation)]
    if connection.json:
        print_json([to_json_object(each) for each in operations])
    else:
        table = Table("name", *COLUMNS, "error", box=None, pad_edge=False, header_style="bold")
        for each in operations:
            row = to_json_object(metadata_of(each))
            table.add_row(each.name, *(text_of(row[column]) for column in COLUMNS), each.error.message)
        print_table(table)
    if more:
        say("there are more: raise --limit", err=True)


@operation.command("wait")
@click.argument("name")
@api_command
def wait(connection: Connection, name: str) -> None:
    """Wait for the end of the operation NAME (an ID or operations/ID), and show how far it has come.

    The exit status is 1 if a row failed, or the operation did.

    \b
    Example:
      ftc operation wait 019a0c5e7b1d7c2e8f00112233445566
    """
    follow(connection, _get(connection, name))


@operation.command("cancel")
@click.argument("name")
@api_command
def cancel(connection: Connection, name: str) -> None:
    """End the operation NAME (an ID or operations/ID) before its next 1,000 rows; what is done stays.

    \b
    Example:
      ftc operation cancel 019a0c5e7b1d7c2e8f00112233445566
    """
    api, full = connection.api, operation_name(name)
    api.call(api.operations.CancelOperation, CancelOperationRequest(name=full))
    metadata = metadata_of(_get(connection, name))
    say(
        "{}"
        if connection.json
        else f"{full} has ended: {metadata.processed_count} of {metadata.total_count} rows are done, and stay"
    )


@operation.command("delete")
@click.argument("name")
@api_command
def delete(connection: Connection, name: str) -> None:
    """Forget the operation NAME (an ID or operations/ID), which must have ended, its file and its reports.

    \b
    Example:
      ftc operation delete 019a0c5e7b1d7c2e8f00112233445566
    """
    api, full = connection.api, operation_name(name)
    api.call(api.operations.DeleteOperation, DeleteOperationRequest(name=full))
    say("{}" if connection.json else f"{full} is forgotten; what it did stays")


def _get(connection: Connection, name: str) -> Operation:
    api = connection.api
    found: Operation = api.call(api.operations.GetOperation, GetOperationRequest(name=operation_name(name)))
    return found
