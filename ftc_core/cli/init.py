"""`ftc init`: make a data directory."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

import click

from ftc_core.application.initialise import initialise
from ftc_core.cli.settings_options import settings_options
from ftc_core.cli.terminal import say
from ftc_core.settings import Settings

__all__ = ["register"]


def register(root: click.Group) -> None:
    """Add the command."""
    root.add_command(init)


@click.command()
@settings_options("data_dir", "public_host")
def init(settings: Settings) -> None:
    """Make a data directory: keys, secrets, an empty store, the first operator's API key, a settings file.

    One that is there already is never touched.

    \b
    Example:
      ftc init --data-dir ./ftc-data --public-host bootstrap.example.com
    """
    directory = asyncio.run(initialise(settings, host_name=socket.gethostname(), now=datetime.now(UTC)))
    say(f"data directory made: {directory.root}")
    say(f"  settings              {directory.config_file}")
    say(f"  operator's API key    {directory.operator_key} (keep it secret)")
    say(f"  CA of our servers     {directory.server_ca_file} (devices and API clients trust it)")
    flag = "" if directory.root == Settings().data_dir else f" --data-dir {directory.root}"
    say(f"next: ftc serve{flag}")
