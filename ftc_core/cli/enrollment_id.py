"""`ftc enrollment-id`: what the label of a device says, computed from its certificate."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography.hazmat.primitives import hashes

from ftc_core.cli.terminal import say
from ftc_core.credentials.certificate_file import load_certificate
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.factory.labels import enrollment_qr
from ftc_core.files import whole_file

__all__ = ["register"]


def register(root: click.Group) -> None:
    """Add the command."""
    root.add_command(enrollment_id)


@click.command("enrollment-id")
@click.argument("certificates", metavar="CERT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--qr",
    "qr_file",
    metavar="OUT.svg",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the ID as a QR code (for one certificate).",
)
def enrollment_id(certificates: tuple[Path, ...], qr_file: Path | None) -> None:
    """Print the enrollment ID of each bootstrap certificate.

    CERT is a PEM or DER file; of a PEM chain the first certificate counts. The ID is 'A-' and the SHA-256
    fingerprint, the same as `openssl x509 -noout -fingerprint -sha256` prints.

    \b
    Example:
      ftc enrollment-id factory/devices/device-000001/device.pem
    """
    if qr_file is not None and len(certificates) != 1:
        raise click.UsageError("--qr takes one certificate at a time")
    for path in certificates:
        text = format_enrollment_id(load_certificate(path).fingerprint(hashes.SHA256()))
        if qr_file is not None:
            with whole_file(qr_file) as out:
                enrollment_qr(text).save(out, kind="svg", scale=4)
        say(f"{text}  {path}" if len(certificates) > 1 else text)
