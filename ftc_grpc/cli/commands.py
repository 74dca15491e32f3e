"""Adds the API client's verbs to the `ftc` command (entry point group `ftc.commands`)."""

from __future__ import annotations

import click

from ftc_grpc.cli import blocks, bulk, devices, ledger
from ftc_grpc.cli.accounts import account
from ftc_grpc.cli.certificates import cert
from ftc_grpc.cli.demo import demo
from ftc_grpc.cli.denials import denial
from ftc_grpc.cli.enrollments import enrollment
from ftc_grpc.cli.explain import explain
from ftc_grpc.cli.keys import key
from ftc_grpc.cli.operations import operation
from ftc_grpc.cli.transfers import transfer

__all__ = ["register"]


def register(root: click.Group) -> None:
    """Add the verbs of the API: those below, and what `device` and `ledger` lack."""
    for command in (account, key, cert, enrollment, operation, denial, explain, transfer, demo):
        root.add_command(command)
    for command in (bulk.upload, bulk.delete_upload, bulk.report):
        enrollment.add_command(command)
    for command in (blocks.block_certificate, blocks.unblock_certificate):
        cert.add_command(command)
    ledger_group = _group(root, "ledger", "Look at the history of ownership.")
    for command in (
        ledger.history,
        ledger.export,
        ledger.checkpoint,
        ledger.checkpoints,
        ledger.get_checkpoint,
        ledger.rotate_key,
        ledger.public_key,
    ):
        ledger_group.add_command(command)
    device = _group(root, "device", "Look at claimed devices.")
    for command in (
        devices.show,
        devices.list_,
        devices.watch,
        blocks.block_device,
        blocks.unblock_device,
        blocks.list_blocks,
    ):
        device.add_command(command)
    device.add_command(devices.show, "get")  # as other things have it


def _group(root: click.Group, name: str, text: str) -> click.Group:
    """The group of that name, which is made if it is not there."""
    found = root.commands.get(name)
    if not isinstance(found, click.Group):
        found = click.Group(name, help=text)
        root.add_command(found)
    return found
