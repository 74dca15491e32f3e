"""`ftc factory`: what happens before a device is shipped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from cryptography.hazmat.primitives import serialization
from rich.console import Console
from rich.progress import track

from ftc_core.cli.terminal import say
from ftc_core.credentials.certificate_file import load_certificate
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.ca import CERTIFICATE_FILE_NAME, create_factory_ca, find_factory_ca, load_factory_ca
from ftc_core.factory.claim_secrets import CLAIM_SECRETS_FILE_NAME
from ftc_core.factory.provision import ProvisionPlan, provision

__all__ = ["register"]

_DEFAULT_CA = Path("factory-ca")
_DEFAULT_SERVER_CA = Path("ftc-data/pki/server-ca.pem")
_DEVICE_VALIDITY_DAYS = 20 * 365
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


def register(root: click.Group) -> None:
    """Add the command group."""
    root.add_command(factory)


@click.group()
def factory() -> None:
    """Make a manufacturer CA, device certificates, bundles and labels.

    \b
    Example:
      ftc factory init-ca
      ftc factory provision --count 10 --out factory
    """


@factory.command("init-ca")
@click.option("--out", type=_DIRECTORY, default=_DEFAULT_CA, show_default=True, help="Where the CA goes.")
@click.option(
    "--name",
    default="First-to-Claim factory CA",
    show_default=True,
    help="The CA's common name (1 to 64 bytes).",
)
def init_ca(out: Path, name: str) -> None:
    """Make the CA that signs device certificates; a CA that is there already is never overwritten.

    \b
    Example:
      ftc factory init-ca --name "ACME Devices CA 1"
    """
    create_factory_ca(out, name=name, now=datetime.now(UTC))
    say(f"factory CA made in {out}: {CERTIFICATE_FILE_NAME} is for customers, ca.key stays here")
    say("next: ftc factory provision --count 10 --out factory")


@factory.command("provision")
@click.option("--count", required=True, type=click.IntRange(1, 1_000_000), help="How many devices to make.")
@click.option(
    "--out", required=True, type=_DIRECTORY, help="Where they go; a second run continues the numbers."
)
@click.option(
    "--ca", type=_DIRECTORY, help=f"Directory of the CA; else the one in --out, else ./{_DEFAULT_CA}."
)
@click.option(
    "--bootstrap-uri",
    default="coaps://localhost:5784",
    show_default=True,
    help="Where devices bootstrap, without aid: the account is what the claim decides.",
)
@click.option(
    "--server-ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"CA that devices expect behind the bootstrap server; else ./{_DEFAULT_SERVER_CA}.",
)
@click.option("--name-prefix", default="device-", show_default=True, help="Endpoint names begin with this.")
@click.option(
    "--validity-days",
    type=click.IntRange(1, 36_500),
    default=_DEVICE_VALIDITY_DAYS,
    show_default=True,
    help="Validity of the device certificates (never beyond the CA's).",
)
@click.option("--labels/--no-labels", default=True, show_default=True, help="Write the QR label sheets.")
@click.option(
    "--claim-secret",
    "claim_secrets",
    is_flag=True,
    help="Give each device a claim secret: who lacks it cannot claim the device, even if he knows its ID.",
)
def provision_command(
    count: int,
    out: Path,
    ca: Path | None,
    bootstrap_uri: str,
    server_ca: Path | None,
    name_prefix: str,
    validity_days: int,
    labels: bool,
    claim_secrets: bool,
) -> None:
    """Make devices: keys, certificates, mbed.* parameters, the enrollment list and a QR label sheet.

    \b
    Example:
      ftc factory provision --count 10 --out factory --bootstrap-uri coaps://bootstrap.example.com:5784
    """
    plan = ProvisionPlan(
        count=count,
        out=out,
        authority=load_factory_ca(ca) if ca is not None else find_factory_ca((out, _DEFAULT_CA)),
        server_ca=_server_ca(server_ca),
        bootstrap_uri=bootstrap_uri,
        name_prefix=name_prefix,
        validity=timedelta(days=validity_days),
        now=datetime.now(UTC),
        labels=labels,
        claim_secrets=claim_secrets,
    )
    console = Console(stderr=True)
    for _ in track(
        provision(plan),
        "provisioning",
        total=count,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        pass
    say(f"{count} device(s) made in {out}")
    say(f"  the CA to upload       {out / CERTIFICATE_FILE_NAME}")
    say(f"  the IDs to enroll      {out / 'enrollments.csv'}")
    if claim_secrets:
        say(f"  their claim secrets    {out / CLAIM_SECRETS_FILE_NAME}")
    if labels:
        say(f"  the labels to print    {out / 'labels.html'}")
    say(f"  one bundle per device  {out / 'devices'}")


def _server_ca(path: Path | None) -> bytes:
    if path is None and not _DEFAULT_SERVER_CA.exists():
        raise FtcError(
            Reason.FILE_UNREADABLE,
            f"no server CA: no ./{_DEFAULT_SERVER_CA}; run `ftc init`, or name the CA with --server-ca",
        )
    return load_certificate(path or _DEFAULT_SERVER_CA).public_bytes(serialization.Encoding.DER)
