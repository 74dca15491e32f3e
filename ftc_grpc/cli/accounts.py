"""`ftc account …`."""

from __future__ import annotations

import click
from google.protobuf.field_mask_pb2 import FieldMask

from ftc_core.cli.terminal import say
from ftc_core.domain.account import AccountStatus
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateAccountRequest,
    DeleteAccountRequest,
    GetAccountRequest,
    ListAccountsRequest,
    UpdateAccountRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import ACCOUNT

__all__ = ["account"]

_QUOTA = click.IntRange(0, 2**31 - 1)  # as the field of the API
COLUMNS = ("id", "display_name", "status", "device_count", "device_quota", "created_at")


@click.group()
def account() -> None:
    """Create, change, delete and look at accounts.

    \b
    Examples:
      ftc account create "Acme Lighting" --device-quota 1000
      ftc account list
    """


@account.command("create")
@click.argument("display_name")
@click.option("--device-quota", type=_QUOTA, help="How many devices it may hold. Default: no limit.")
@api_command
def create(connection: Connection, display_name: str, device_quota: int | None) -> None:
    """Create an account named DISPLAY_NAME (operators).

    \b
    Example:
      ftc account create "Acme Lighting" --device-quota 1000
    """
    wanted = Account(display_name=display_name, device_quota=device_quota)
    api = connection.api
    created = api.call(api.accounts.CreateAccount, CreateAccountRequest(account=wanted))
    print_resource(created, as_json=connection.json)


@account.command("get")
@click.argument("name", default="")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show the account NAME (an ID or accounts/ID); without it, --account or the key's own.

    \b
    Example:
      ftc account get 019a0c5e7b1d7c2e8f00112233445566
    """
    chosen = name or connection.parent
    full = _full_name(chosen) if chosen else ""
    api = connection.api
    found = api.call(api.accounts.GetAccount, GetAccountRequest(name=full))
    print_resource(found, as_json=connection.json)


@account.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List all accounts (operators).

    \b
    Example:
      ftc account list --limit 200
    """
    method = connection.api.accounts.ListAccounts
    found, more = take(connection, method, ListAccountsRequest(), "accounts", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@account.command("update")
@click.argument("name")
@click.option("--display-name", help="A new name for people.")
@click.option("--device-quota", type=_QUOTA, help="How many devices it may hold.")
@click.option("--no-device-quota", is_flag=True, help="Lift the limit.")
@click.option(
    "--status",
    type=click.Choice([status.value for status in AccountStatus]),
    help="SUSPENDED: its devices are refused.",
)
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def update(
    connection: Connection,
    name: str,
    display_name: str | None,
    device_quota: int | None,
    no_device_quota: bool,
    status: str | None,
    etag: str,
) -> None:
    """Change the account NAME (an ID or accounts/ID); the next claim is judged by it (operators).

    \b
    Examples:
      ftc account update 019a0c5e7b1d7c2e8f00112233445566 --device-quota 2000
      ftc account update 019a0c5e7b1d7c2e8f00112233445566 --status SUSPENDED
    """
    if no_device_quota and device_quota is not None:
        raise click.UsageError("--device-quota and --no-device-quota exclude each other")
    wanted = Account(name=_full_name(name), display_name=display_name or "", device_quota=device_quota)
    if status is not None:
        wanted.status = Account.Status.Value(status)
    given = {
        "display_name": display_name is not None,
        "device_quota": no_device_quota or device_quota is not None,
        "status": status is not None,
    }
    mask = FieldMask(paths=[path for path, chosen in given.items() if chosen])
    if not mask.paths:
        raise click.UsageError("nothing to change: give at least one option")
    api = connection.api
    request = UpdateAccountRequest(account=wanted, update_mask=mask, etag=etag)
    print_resource(api.call(api.accounts.UpdateAccount, request), as_json=connection.json)


@account.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def delete(connection: Connection, name: str, etag: str) -> None:
    """Delete the account NAME (an ID or accounts/ID), which must be empty, and its keys (operators).

    \b
    Example:
      ftc account delete 019a0c5e7b1d7c2e8f00112233445566
    """
    full = _full_name(name)
    api = connection.api
    api.call(api.accounts.DeleteAccount, DeleteAccountRequest(name=full, etag=etag))
    say("{}" if connection.json else f"{full} is deleted, and its API keys with it")


def _full_name(name: str) -> str:
    return name if "/" in name else ACCOUNT.format(name)
