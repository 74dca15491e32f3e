"""`ftc key …`."""

from __future__ import annotations

import click
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.cli.terminal import print_json, say
from ftc_core.domain.account import Role
from ftc_grpc._gen.ftc.v1.account_pb2 import ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateApiKeyRequest,
    DeleteApiKeyRequest,
    ListApiKeysRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource, to_json_object
from ftc_grpc.cli.times import MOMENT
from ftc_grpc.resource_names import API_KEY

__all__ = ["key"]

COLUMNS = ("id", "display_name", "role", "created_at", "expires_at", "last_used_at")


@click.group()
def key() -> None:
    """Create, list and revoke API keys.

    \b
    Examples:
      ftc key create --role ADMIN --account 019a0c5e7b1d7c2e8f00112233445566
      ftc key list
    """


@key.command("create")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do."
)
@click.option("--name", "display_name", default="", help="A name for people.")
@click.option("--expires-at", type=MOMENT, help="When it stops working (ISO 8601). Default: never.")
@api_command
def create(connection: Connection, role: str, display_name: str, expires_at: Timestamp | None) -> None:
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
        print_json(to_json_object(answer))
        return
    print_resource(answer.api_key, as_json=False)
    say()
    say(answer.secret)
    say("The line above is the key. It is not stored and cannot be shown again.", err=True)


@key.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List an account's API keys, without their secrets.

    \b
    Example:
      ftc key list --account 019a0c5e7b1d7c2e8f00112233445566
    """
    request = ListApiKeysRequest(parent=connection.parent)
    found, more = take(connection, connection.api.accounts.ListApiKeys, request, "api_keys", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@key.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def delete(connection: Connection, name: str, etag: str) -> None:
    """Revoke the API key NAME (an ID or a resource name): the next call with it is refused.

    \b
    Example:
      ftc key delete 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, API_KEY)
    api = connection.api
    api.call(api.accounts.DeleteApiKey, DeleteApiKeyRequest(name=full, etag=etag))
    say("{}" if connection.json else f"{full} is revoked")
