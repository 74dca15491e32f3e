"""The `ftc` command, put together."""

from __future__ import annotations

import click

from ftc_core.cli import backup, check, enrollment_id, factory, init, pki, serve
from ftc_core.cli import device as device_commands
from ftc_core.cli import ledger as ledger_commands
from ftc_core.cli.group import ExtensibleGroup, RootGroup

__all__ = ["cli"]


@click.group(
    cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="first-to-claim", prog_name="ftc")
def cli() -> None:
    """First-to-Claim: onboard devices that belong to nobody yet.

    \b
    A first round on one machine:
      ftc init
      ftc serve
      ftc factory init-ca && ftc factory provision --count 3 --out factory
      ftc device run --bundle factory/devices/device-000001
    """


@cli.group(cls=ExtensibleGroup, root=cli)
def device() -> None:
    """Run a simulated device; look at claimed ones.

    \b
    Example:
      ftc device run --bundle factory/devices/device-000001
    """


@cli.group(cls=ExtensibleGroup, root=cli)
def ledger() -> None:
    """Look at who has owned devices; export and verify the ledger.

    \b
    Examples:
      ftc ledger export ledger.jsonl
      ftc ledger verify ledger.jsonl --public-key ledger.pub
    """


for module in (init, serve, check, backup, pki, enrollment_id, factory):
    module.register(cli)
device_commands.register(device)
ledger_commands.register(ledger)
