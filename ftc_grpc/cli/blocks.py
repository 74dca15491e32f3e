"""`ftc device block`, `unblock` and `blocks`, `ftc cert block` and `unblock`."""

from __future__ import annotations

import re

import click

from ftc_core.cli.terminal import say
from ftc_core.limits import PAGE_SIZE_DEFAULT
from ftc_grpc._gen.ftc.v1.block_pb2 import (
    BlockDeviceRequest,
    BlockTrustedCertificateRequest,
    ListBlocksRequest,
    UnblockDeviceRequest,
    UnblockTrustedCertificateRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import DEVICE, TRUSTED_CERTIFICATE

__all__ = ["block_certificate", "block_device", "list_blocks", "unblock_certificate", "unblock_device"]

COLUMNS = ("certificate_fingerprint", "kind", "account_id", "blocked_at", "note")

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


@click.command("block")
@click.argument("device")
@click.option("--note", default="", help="Why, for people.")
@api_command
def block_device(connection: Connection, device: str, note: str) -> None:
    """Keep DEVICE (an ID, a resource name or an enrollment ID A-…) out, and end its registration.

    With an account's key: its own device, until it leaves the account. With an operator's: everywhere,
    whoever owns it, also one that has never been seen.

    \b
    Examples:
      ftc device block 019a0c5e7b1d7c2e8f00112233445566 --note "stolen"
      ftc device block "$(ftc enrollment-id device.pem)"
    """
    request = BlockDeviceRequest(note=note)
    _name_device(connection, device, request)
    print_resource(connection.api.call(connection.api.devices.BlockDevice, request), as_json=connection.json)


@click.command("unblock")
@click.argument("device")
@api_command
def unblock_device(connection: Connection, device: str) -> None:
    """Lift your block of DEVICE (an ID, a resource name or an enrollment ID A-…); another's stays.

    \b
    Example:
      ftc device unblock 019a0c5e7b1d7c2e8f00112233445566
    """
    request = UnblockDeviceRequest()
    _name_device(connection, device, request)
    connection.api.call(connection.api.devices.UnblockDevice, request)
    _say(connection, f"{device} is not blocked by you any more; it tries again by itself")


@click.command("blocks")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE_SIZE_DEFAULT, show_default=True)
@click.option("--filter", "filter_", default="", help="Show only these, such as 'kind = DEVICE'.")
@api_command
def list_blocks(connection: Connection, limit: int, filter_: str) -> None:
    """List what the account blocks, devices and CAs; with an operator's key, what is blocked everywhere.

    \b
    Example:
      ftc device blocks --filter "kind = DEVICE"
    """
    request = ListBlocksRequest(parent=connection.parent)
    method = connection.api.devices.ListBlocks
    found, more = take(connection, method, request, "blocks", Selection(limit, filter_, ""))
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@click.command("block")
@click.argument("certificate")
@click.option("--note", default="", help="Why, for people.")
@api_command
def block_certificate(connection: Connection, certificate: str, note: str) -> None:
    """Keep out all that CERTIFICATE (an ID, a resource name or a SHA-256 fingerprint in hex) vouches for.

    With an account's key: in this account, devices that it has claimed included. With an operator's:
    everywhere.

    \b
    Example:
      ftc cert block 019a0c5e7b1d7c2e8f00112233445566 --note "its key leaked"
    """
    request = BlockTrustedCertificateRequest(note=note)
    _name_certificate(connection, certificate, request)
    method = connection.api.trusted_certificates.BlockTrustedCertificate
    print_resource(connection.api.call(method, request), as_json=connection.json)


@click.command("unblock")
@click.argument("certificate")
@api_command
def unblock_certificate(connection: Connection, certificate: str) -> None:
    """Lift your block of CERTIFICATE (an ID, a resource name or a SHA-256 fingerprint in hex).

    \b
    Example:
      ftc cert unblock 019a0c5e7b1d7c2e8f00112233445566
    """
    request = UnblockTrustedCertificateRequest()
    _name_certificate(connection, certificate, request)
    connection.api.call(connection.api.trusted_certificates.UnblockTrustedCertificate, request)
    _say(connection, f"{certificate} is not blocked by you any more")


def _name_device(
    connection: Connection, given: str, request: BlockDeviceRequest | UnblockDeviceRequest
) -> None:
    if given[1:2] == "-":  # as in an enrollment ID of whatever version; the server judges it
        request.enrollment_identity = given
    else:
        request.name = connection.resource_name(given, DEVICE)


def _name_certificate(
    connection: Connection,
    given: str,
    request: BlockTrustedCertificateRequest | UnblockTrustedCertificateRequest,
) -> None:
    if _FINGERPRINT.fullmatch(given):
        request.certificate_fingerprint = given
    else:
        request.name = connection.resource_name(given, TRUSTED_CERTIFICATE)


def _say(connection: Connection, text: str) -> None:
    say("{}" if connection.json else text)
