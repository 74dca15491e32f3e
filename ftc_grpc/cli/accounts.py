"""`ftc account …` and `ftc key …`."""

from __future__ import annotations

import json

import click
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.domain.account import Role
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateAccountRequest,
    CreateApiKeyRequest,
    GetAccountRequest,
    ListAccountsRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import limit_option, take
from ftc_grpc.cli.output import print_list, print_resource, to_json_object
from ftc_grpc.cli.times import MOMENT
from ftc_grpc.resource_names import ACCOUNT

__all__ = ["account", "key"]

COLUMNS = ("id", "display_name", "status", "device_count", "device_quota", "created_at")


@click.group()
def account() -> None:
    """Create and look at accounts.

    \b
    Examples:
      ftc account create "Acme Lighting" --device-quota 1000
      ftc account list
    """


@account.command("create")
@click.argument("display_name")
@click.option(
    "--device-quota", type=click.IntRange(min=0), help="How many devices it may hold. Default: no limit."
)
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
    full = chosen if "/" in chosen or not chosen else ACCOUNT.format(chosen)
    api = connection.api
    found = api.call(api.accounts.GetAccount, GetAccountRequest(name=full))
    print_resource(found, as_json=connection.json)


@account.command("list")
@limit_option
@api_command
def list_(connection: Connection, limit: int) -> None:
    """List all accounts (operators).

    \b
    Example:
      ftc account list --limit 200
    """
    method = connection.api.accounts.ListAccounts
    found, more = take(connection, method, ListAccountsRequest(), "accounts", limit)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@click.group()
def key() -> None:
    """Create API keys.

    \b
    Example:
      ftc key create --role ADMIN --account 019a0c5e7b1d7c2e8f00112233445566
    """


@key.command("create")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do."
)
@click.option("--name", "display_name", default="", help="A name for people.")
@click.option("--expires-at", type=MOMENT, help="When it stops working (ISO 8601). Default: never.")
@api_command
def create_key(connection: Connection, role: str, display_name: str, expires_at: Timestamp | None) -> None:
    """Create an API key and show its secret, this once.

    \b
    Example:
      ftc key create --role READER --name dashboard --expires-at 2030-12-31
    """
    wanted = ApiKey(display_name=display_name, role=ApiKey.Role.Value(role), expires_at=expires_at)
    api = connection.api
    answer = api.call(
        api.accounts.CreateApiKey, CreateApiKeyRequest(parent=connection.parent, api_key=wanted)
    )
    if connection.json:
        click.echo(json.dumps(to_json_object(answer), indent=2))
        return
    print_resource(answer.api_key, as_json=False)
    click.echo(f"\n{answer.secret}")
    click.echo("The line above is the key. It is not stored and cannot be shown again.", err=True)
