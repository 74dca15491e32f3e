"""`ftc pki`: the instance's own certificates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec

from ftc_core.application.own_certificates import (
    OwnCertificate,
    own_certificates,
    renew_server_certificates,
)
from ftc_core.cli.settings_options import settings_options
from ftc_core.cli.terminal import print_json, say
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.settings import Settings

__all__ = ["register"]


@click.group()
def pki() -> None:
    """Look at the instance's own certificates; renew those of its servers.

    \b
    Examples:
      ftc pki show
      ftc pki renew --public-host bootstrap.example.com
    """


@pki.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options("data_dir")
def show(settings: Settings, *, as_json: bool) -> None:
    """Print until when each certificate of the data directory is valid, and for which names.

    \b
    Examples:
      ftc pki show
      ftc pki show --json
    """
    _print(own_certificates(DataDirectory.open(settings.data_dir)), as_json=as_json)


@pki.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options("data_dir", "public_host")
def renew(settings: Settings, *, as_json: bool) -> None:
    """Give the servers new certificates, valid for five years, under the CA that devices trust already.

    Keys and names stay, and the public host is added to the names. An instance that runs goes on with the
    old ones until it is restarted. Clients that were given the server's certificate instead of its CA
    (LwM2M 1.0) must bootstrap again; docs/operators.md says how.

    \b
    Examples:
      ftc pki renew
      ftc pki renew --public-host bootstrap.example.com
    """
    directory = DataDirectory.open(settings.data_dir)
    certificates = renew_server_certificates(directory, hosts=(settings.public_host,), now=datetime.now(UTC))
    _print(certificates, as_json=as_json)
    say("next: restart ftc serve", err=True)


def _print(certificates: Sequence[OwnCertificate], *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(certificates))
        return
    now = datetime.now(UTC)
    for certificate in certificates:
        days = (certificate.not_after - now).days
        left = f"{days} days left" if certificate.not_after > now else "EXPIRED"
        hosts = f"  {', '.join(certificate.hosts)}" if certificate.hosts else ""
        say(f"{certificate.name:<10}  until {certificate.not_after:%Y-%m-%d}  {left:>15}{hosts}")


def register(root: click.Group) -> None:
    """Add the group to `ftc`."""
    root.add_command(pki)
