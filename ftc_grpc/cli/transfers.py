"""`ftc transfer …`."""

from __future__ import annotations

from collections.abc import Iterator

import click
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.cli.terminal import print_json, say
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CancelDeviceTransferRequest,
    CreateDeviceTransferRequest,
    CreateDeviceTransferResponse,
    GetDeviceTransferRequest,
    ListDeviceTransfersRequest,
    RejectDeviceTransferRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource, to_json_object
from ftc_grpc.cli.times import MOMENT
from ftc_grpc.resource_names import DEVICE, DEVICE_TRANSFER

__all__ = ["transfer"]

COLUMNS = (
    "id",
    "direction",
    "state",
    "device_count",
    "from_account_id",
    "to_account_id",
    "expires_at",
    "note",
)
DEVICE_COLUMNS = ("device_id", "endpoint_name", "enrollment_identity")


@click.group()
def transfer() -> None:
    """Hand devices over to another account, which must accept them; until then nothing changes.

    \b
    Examples:
      ftc transfer create 019a0c5e7b1d7c2e8f00112233445566 --to 019a0c5e7b1d7c2e8f00112233445577
      ftc transfer list --filter "direction = INCOMING AND state = OFFERED"
    """


@transfer.command("create")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--to", "receiver", default="", help="ID of the account that may accept. Default: by code.")
@click.option("--filter", "filter_", default="", help="Offer the devices that match, instead of DEVICE...")
@click.option(
    "--all", "all_", is_flag=True, help="With --filter: as many transfers as it takes, of up to 1000 each."
)
@click.option("--note", default="", help="A word to the receiver.")
@click.option("--expires-at", type=MOMENT, help="Until when it may be accepted. Default: 7 days from now.")
@api_command
def create(
    connection: Connection,
    devices: tuple[str, ...],
    receiver: str,
    filter_: str,
    all_: bool,
    note: str,
    expires_at: Timestamp | None,
) -> None:
    """Offer each DEVICE (an ID or a resource name) to another account.

    Up to 1000 at once, which are accepted together or not at all. Without --to, the answer has a code, shown
    this once: whoever has it may accept. With --all, a line is printed for each transfer as it is made: its
    ID, how many devices it has, and its code, if any.

    \b
    Examples:
      ftc transfer create 019a0c5e7b1d7c2e8f00112233445566
      ftc transfer create --filter 'endpoint_name = "pump-*"' --all --to 019a0c5e7b1d7c2e8f00112233445577
    """
    if all_ and not filter_:
        raise click.UsageError("--all goes with --filter")
    request = CreateDeviceTransferRequest(
        parent=connection.parent,
        device_transfer=DeviceTransfer(to_account_id=receiver, note=note, expires_at=expires_at),
        devices=connection.resource_names(devices, DEVICE),
        filter=filter_,
    )
    if all_:
        for made in _all(connection, request):
            _print_line(made, as_json=connection.json)
        return
    api = connection.api
    answer = api.call(api.device_transfers.CreateDeviceTransfer, request)
    if connection.json:
        print_json(to_json_object(answer))
    else:
        _show(connection, answer.device_transfer)
        if answer.code:
            say()
            say(answer.code)
            say("The line above is the code. It is not stored and cannot be shown again.", err=True)
    if answer.next_page_token:
        say("more devices match: --all offers them, too", err=True)


@transfer.command("get")
@click.argument("name")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show the transfer NAME (an ID or a resource name) and its devices.

    \b
    Example:
      ftc transfer get 019a0c5e7b1d7c2e8f00112233445566
    """
    api = connection.api
    request = GetDeviceTransferRequest(name=connection.resource_name(name, DEVICE_TRANSFER))
    _show(connection, api.call(api.device_transfers.GetDeviceTransfer, request))


@transfer.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List the transfers that an account offers or is offered.

    \b
    Example:
      ftc transfer list --filter "direction = INCOMING AND state = OFFERED"
    """
    method = connection.api.device_transfers.ListDeviceTransfers
    request = ListDeviceTransfersRequest(parent=connection.parent)
    found, more = take(connection, method, request, "device_transfers", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@transfer.command("accept")
@click.argument("name", default="")
@click.option("--code", default="", envvar="FTC_TRANSFER_CODE", show_envvar=True, help="Accept by this code.")
@click.option("--check", is_flag=True, help="Only tell whether it could be accepted.")
@api_command
def accept(connection: Connection, name: str, code: str, check: bool) -> None:
    """Take over all devices of the transfer NAME (an ID or a resource name), or of the one with a code.

    The devices follow by themselves: their old credentials are refused, and their next bootstrap is yours.

    \b
    Examples:
      ftc transfer accept 019a0c5e7b1d7c2e8f00112233445566
      ftc transfer accept --code 019a0c5e7b1d7c2e8f00112233445566-ABCDEFGHIJKLMNOPQRSTUVWXYZ
    """
    if bool(name) is bool(code):
        raise click.UsageError("give either NAME or --code")
    request = AcceptDeviceTransferRequest(code=code, validate_only=check)
    if code:
        request.parent = connection.parent
    else:
        request.name = connection.resource_name(name, DEVICE_TRANSFER)
    api = connection.api
    _show(connection, api.call(api.device_transfers.AcceptDeviceTransfer, request))


@transfer.command("reject")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def reject(connection: Connection, name: str, etag: str) -> None:
    """Turn down the transfer NAME (an ID or a resource name), which is offered to the account.

    \b
    Example:
      ftc transfer reject 019a0c5e7b1d7c2e8f00112233445566
    """
    api = connection.api
    request = RejectDeviceTransferRequest(name=connection.resource_name(name, DEVICE_TRANSFER), etag=etag)
    _show(connection, api.call(api.device_transfers.RejectDeviceTransfer, request))


@transfer.command("cancel")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def cancel(connection: Connection, name: str, etag: str) -> None:
    """Take back the transfer NAME (an ID or a resource name), which the account offers.

    \b
    Example:
      ftc transfer cancel 019a0c5e7b1d7c2e8f00112233445566
    """
    api = connection.api
    request = CancelDeviceTransferRequest(name=connection.resource_name(name, DEVICE_TRANSFER), etag=etag)
    _show(connection, api.call(api.device_transfers.CancelDeviceTransfer, request))


def _all(
    connection: Connection, request: CreateDeviceTransferRequest
) -> Iterator[CreateDeviceTransferResponse]:
    """Transfers until no device is left that matches; `request` is changed as they are made."""
    api = connection.api
    while True:
        answer = api.call(api.device_transfers.CreateDeviceTransfer, request)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _print_line(answer: CreateDeviceTransferResponse, *, as_json: bool) -> None:
    """One of many transfers, told at once: should the next one fail, its code must not be lost."""
    made = answer.device_transfer
    if as_json:
        print_json(to_json_object(answer), indent=None)
    else:
        say(f"{made.id}  {made.device_count}  {answer.code}".rstrip())


def _show(connection: Connection, found: DeviceTransfer) -> None:
    """The transfer, and below it its devices."""
    if connection.json:
        print_resource(found, as_json=True)
        return
    devices = list(found.devices)
    del found.devices[:]
    print_resource(found, as_json=False)
    say()
    print_list(devices, DEVICE_COLUMNS, more=False, as_json=False)
