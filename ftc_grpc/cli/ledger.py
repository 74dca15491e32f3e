"""`ftc ledger …`: who has owned a device, the ledger's checkpoints and keys, and its export."""

from __future__ import annotations

from pathlib import Path

import click

from ftc_core.cli.terminal import say, write
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, whole_file
from ftc_core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from ftc_grpc._gen.ftc.v1.ledger_service_pb2 import (
    CreateLedgerCheckpointRequest,
    ExportLedgerRequest,
    GetLedgerCheckpointRequest,
    ListLedgerCheckpointsRequest,
    ListLedgerKeysRequest,
    RotateLedgerKeyRequest,
)
from ftc_grpc._gen.ftc.v1.ownership_pb2 import (
    GetOwnershipHistoryRequest,
    VerifyOwnershipHistoryRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.ledger_export import ExportBar, tell_unsigned
from ftc_grpc.cli.listing import take_first
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import DEVICE

__all__ = ["checkpoint", "checkpoints", "export", "get_checkpoint", "history", "public_key", "rotate_key"]

HISTORY_COLUMNS = (
    "sequence",
    "kind",
    "changed_at",
    "account_id",
    "from_account_id",
    "device_id",
    "transfer_id",
)
CHECKPOINT_COLUMNS = ("number", "created_at", "revision", "history_count", "entry_count", "root_hash")


@click.command("history")
@click.argument("device")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE_SIZE_DEFAULT, show_default=True)
@click.option(
    "--verify", "verify_", is_flag=True, help="Let the server verify all of it; exit 1 if it is broken."
)
@api_command
def history(connection: Connection, device: str, limit: int, verify_: bool) -> None:
    """Show who has owned DEVICE (an ID, a resource name or an enrollment ID A-…), oldest first.

    With an operator's key: everything, or what --account sees. With an account's: how it got the device, and
    gave it up; a device that it no longer owns is found by its enrollment ID.

    \b
    Examples:
      ftc ledger history 019a0c5e7b1d7c2e8f00112233445566
      ftc ledger history "$(ftc enrollment-id device.pem)" --verify
    """
    if verify_:
        _verify(connection, device)
        return
    api = connection.api
    request = GetOwnershipHistoryRequest(parent=connection.parent)
    _name_device(connection, device, request)
    found, more = take_first(connection, api.device_transfers.GetOwnershipHistory, request, "entries", limit)
    print_list(found, HISTORY_COLUMNS, more=more, as_json=connection.json)


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@api_command
def export(connection: Connection, file: Path) -> None:
    """Write the ledger to FILE, for `ftc ledger verify`. FILE appears once it is whole.

    With an operator's key: all of it, as it is now. With an account's: the devices that it owns or has owned,
    as of the last checkpoint.

    \b
    Example:
      ftc ledger export ledger.jsonl
    """
    api = connection.api
    answers = api.stream(api.ledger.ExportLedger, ExportLedgerRequest(parent=connection.parent))
    with whole_file(file, PRIVATE) as out, ExportBar() as bar:
        for answer in answers:
            out.write(answer.data)
            bar.add(answer.data)
    say(f"{file}: {bar.entries} changes of ownership; next: ftc ledger verify {file} --public-key PEM")
    if bar.account_id is not None and bar.checkpoint is not None:
        tell_unsigned(connection, bar.checkpoint)


@click.command("checkpoint")
@api_command
def checkpoint(connection: Connection) -> None:
    """Sign the ledger as it is now. If nothing was entered since the last checkpoint, that one is shown.

    \b
    Example:
      ftc ledger checkpoint
    """
    api = connection.api
    made = api.wait(api.ledger.CreateLedgerCheckpoint, CreateLedgerCheckpointRequest())
    print_resource(made, as_json=connection.json)


@click.command("checkpoints")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE_SIZE_DEFAULT, show_default=True)
@api_command
def checkpoints(connection: Connection, limit: int) -> None:
    """List the checkpoints, the newest first.

    \b
    Example:
      ftc ledger checkpoints --limit 3
    """
    api = connection.api
    method, request = api.ledger.ListLedgerCheckpoints, ListLedgerCheckpointsRequest()
    found, more = take_first(connection, method, request, "ledger_checkpoints", limit)
    print_list(found, CHECKPOINT_COLUMNS, more=more, as_json=connection.json)


@click.command("get-checkpoint")
@click.argument("number", type=click.IntRange(1, 2**63 - 1))
@api_command
def get_checkpoint(connection: Connection, number: int) -> None:
    """Show the checkpoint NUMBER, such as one that an auditor's export names.

    \b
    Example:
      ftc ledger get-checkpoint 7 --json
    """
    api = connection.api
    request = GetLedgerCheckpointRequest(name=f"ledgerCheckpoints/{number}")
    print_resource(api.call(api.ledger.GetLedgerCheckpoint, request), as_json=connection.json)


@click.command("rotate-key")
@api_command
def rotate_key(connection: Connection) -> None:
    """Let a new key sign from the next checkpoint on. Verifiers keep the public key that they have.

    \b
    Example:
      ftc ledger rotate-key
    """
    api = connection.api
    newest = api.call(api.ledger.ListLedgerKeys, ListLedgerKeysRequest(page_size=1, order_by="number desc"))
    etag = next((key.etag for key in newest.ledger_keys), "")
    made = api.call(api.ledger.RotateLedgerKey, RotateLedgerKeyRequest(etag=etag))
    print_resource(made, as_json=connection.json)


@click.command("public-key")
@click.option("--number", type=click.IntRange(min=1), default=1, show_default=True, help="Which of the keys.")
@api_command
def public_key(connection: Connection, number: int) -> None:
    """Print the ledger's public key, PEM: what verifiers need, and all that they need.

    The first one will do for ever: later keys are signed by those before them.

    \b
    Example:
      ftc ledger public-key > ledger.pub
    """
    api = connection.api
    for page in api.pages(api.ledger.ListLedgerKeys, ListLedgerKeysRequest(page_size=PAGE_SIZE_MAX)):
        for key in page.ledger_keys:
            if key.number == number:
                if connection.json:
                    print_resource(key, as_json=True)
                else:
                    write(key.public_key.encode())
                return
    raise FtcError(Reason.RESOURCE_NOT_FOUND, f"the ledger has no key {number} yet")


def _verify(connection: Connection, device: str) -> None:
    request = VerifyOwnershipHistoryRequest(parent=connection.parent)
    _name_device(connection, device, request)
    answer = connection.api.call(connection.api.device_transfers.VerifyOwnershipHistory, request)
    if connection.json:
        print_resource(answer, as_json=True)
    else:
        for finding in answer.findings:
            entry = f"entry {finding.sequence}: " if finding.sequence else ""
            say(f"{finding.enrollment_identity or 'ledger'}: {entry}{finding.detail}")
    if not answer.verified:
        raise FtcError(
            Reason.LEDGER_NOT_VERIFIED, f"the history of {answer.enrollment_identity} is not verified"
        )
    if not connection.json:
        covered = (
            f"entries up to {answer.covered_sequence} are covered by checkpoint {answer.checkpoint.number}"
            if answer.covered_sequence
            else "no checkpoint covers it yet"
        )
        say(f"ownership history verified: {answer.entry_count} entries shown to you; {covered}")


def _name_device(
    connection: Connection, given: str, request: GetOwnershipHistoryRequest | VerifyOwnershipHistoryRequest
) -> None:
    if given[1:2] == "-":  # as in an enrollment ID of whatever version; the server judges it
        request.enrollment_identity = given
    else:
        request.name = connection.resource_name(given, DEVICE)
