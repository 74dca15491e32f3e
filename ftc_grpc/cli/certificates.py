"""`ftc cert …`."""

from __future__ import annotations

from pathlib import Path

import click
from google.protobuf.field_mask_pb2 import FieldMask

from ftc_core.cli.terminal import say
from ftc_core.domain.certificate import CertificateService, CertificateStatus
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    CreateTrustedCertificateRequest,
    DeleteTrustedCertificateRequest,
    GetTrustedCertificateRequest,
    ListTrustedCertificatesRequest,
    UpdateTrustedCertificateRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import Selection, list_options, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import TRUSTED_CERTIFICATE

__all__ = ["cert"]

COLUMNS = ("id", "display_name", "service", "status", "enrollment_mode", "subject", "validity")


@click.group()
def cert() -> None:
    """Upload, change, delete and look at trusted certificates: the CAs that vouch for devices.

    \b
    Examples:
      ftc cert upload factory-ca/ca.pem --enrollment-mode
      ftc cert list --json
    """


@cert.command("upload")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", "display_name", help="A name for people. Default: the file's name.")
@click.option("--description", default="", help="A description for people.")
@click.option(
    "--service",
    type=click.Choice([service.value for service in CertificateService]),
    default=CertificateService.BOOTSTRAP.value,
    show_default=True,
    help="Which server trusts it.",
)
@click.option(
    "--status",
    type=click.Choice([status.value for status in CertificateStatus]),
    default=CertificateStatus.ACTIVE.value,
    show_default=True,
    help="INACTIVE: keep it, trust nothing under it.",
)
@click.option(
    "--enrollment-mode/--no-enrollment-mode",
    default=False,
    show_default=True,
    help="Devices under it are first-to-claim: each needs an enrollment.",
)
@api_command
def upload(
    connection: Connection,
    file: Path,
    display_name: str | None,
    description: str,
    service: str,
    status: str,
    enrollment_mode: bool,
) -> None:
    """Upload the CA in FILE (PEM, a chain if you like).

    \b
    Example:
      ftc cert upload factory-ca/ca.pem --name "Factory 1" --enrollment-mode
    """
    try:
        pem = read_file(file).decode()
    except UnicodeDecodeError as error:
        raise FtcError(Reason.CERTIFICATE_UNPARSEABLE, f"{file} is not PEM") from error
    wanted = TrustedCertificate(
        display_name=display_name or file.name,
        description=description,
        service=TrustedCertificate.Service.Value(service),
        status=TrustedCertificate.Status.Value(status),
        enrollment_mode=enrollment_mode,
        certificate=pem,
    )
    api = connection.api
    created = api.call(
        api.trusted_certificates.CreateTrustedCertificate,
        CreateTrustedCertificateRequest(parent=connection.parent, trusted_certificate=wanted),
    )
    print_resource(created, as_json=connection.json)


@cert.command("get")
@click.argument("name")
@api_command
def get(connection: Connection, name: str) -> None:
    """Show the trusted certificate NAME (an ID or a resource name).

    \b
    Example:
      ftc cert get 019a0c5e7b1d7c2e8f00112233445566 --json
    """
    full = connection.resource_name(name, TRUSTED_CERTIFICATE)
    api = connection.api
    found = api.call(api.trusted_certificates.GetTrustedCertificate, GetTrustedCertificateRequest(name=full))
    print_resource(found, as_json=connection.json)


@cert.command("list")
@list_options
@api_command
def list_(connection: Connection, selection: Selection) -> None:
    """List an account's trusted certificates.

    \b
    Example:
      ftc cert list --account 019a0c5e7b1d7c2e8f00112233445566
    """
    method = connection.api.trusted_certificates.ListTrustedCertificates
    request = ListTrustedCertificatesRequest(parent=connection.parent)
    found, more = take(connection, method, request, "trusted_certificates", selection)
    print_list(found, COLUMNS, more=more, as_json=connection.json)


@cert.command("update")
@click.argument("name")
@click.option("--name", "display_name", help="A new name for people.")
@click.option("--description", help="A new description; empty to remove it.")
@click.option(
    "--status",
    type=click.Choice([status.value for status in CertificateStatus]),
    help="INACTIVE: keep it, trust nothing under it.",
)
@click.option(
    "--enrollment-mode/--no-enrollment-mode",
    default=None,
    help="Whether devices under it are first-to-claim.",
)
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def update(
    connection: Connection,
    name: str,
    display_name: str | None,
    description: str | None,
    status: str | None,
    enrollment_mode: bool | None,
    etag: str,
) -> None:
    """Change the trusted certificate NAME (an ID or a resource name); the next handshake is judged by it.

    \b
    Examples:
      ftc cert update 019a0c5e7b1d7c2e8f00112233445566 --status INACTIVE
      ftc cert update 019a0c5e7b1d7c2e8f00112233445566 --no-enrollment-mode
    """
    given = {
        "display_name": display_name,
        "description": description,
        "status": None if status is None else TrustedCertificate.Status.Value(status),
        "enrollment_mode": enrollment_mode,
    }
    chosen = {field: value for field, value in given.items() if value is not None}
    if not chosen:
        raise click.UsageError("nothing to change: give at least one option")
    request = UpdateTrustedCertificateRequest(update_mask=FieldMask(paths=chosen), etag=etag)
    request.trusted_certificate.name = connection.resource_name(name, TRUSTED_CERTIFICATE)
    for field, value in chosen.items():
        setattr(request.trusted_certificate, field, value)
    api = connection.api
    changed = api.call(api.trusted_certificates.UpdateTrustedCertificate, request)
    print_resource(changed, as_json=connection.json)


@cert.command("delete")
@click.argument("name")
@click.option("--etag", default="", help="Refuse if it has changed since this etag was read.")
@api_command
def delete(connection: Connection, name: str, etag: str) -> None:
    """Delete the trusted certificate NAME (an ID or a resource name); devices claimed under it stay.

    \b
    Example:
      ftc cert delete 019a0c5e7b1d7c2e8f00112233445566
    """
    full = connection.resource_name(name, TRUSTED_CERTIFICATE)
    api = connection.api
    request = DeleteTrustedCertificateRequest(name=full, etag=etag)
    api.call(api.trusted_certificates.DeleteTrustedCertificate, request)
    say("{}" if connection.json else f"{full} is deleted; nothing under it is trusted through it")
