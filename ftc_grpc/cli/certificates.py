"""`ftc cert …`."""

from __future__ import annotations

from pathlib import Path

import click

from ftc_core.domain.certificate import CertificateService, CertificateStatus
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    CreateTrustedCertificateRequest,
    GetTrustedCertificateRequest,
    ListTrustedCertificatesRequest,
)
from ftc_grpc.cli.connection import Connection, api_command
from ftc_grpc.cli.listing import limit_option, take
from ftc_grpc.cli.output import print_list, print_resource
from ftc_grpc.resource_names import TRUSTED_CERTIFICATE

__all__ = ["cert"]

COLUMNS = ("id", "display_name", "service", "status", "enrollment_mode", "subject", "validity")


@click.group()
def cert() -> None:
    """Upload and look at trusted certificates: the CAs that vouch for devices.

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
@limit_option
@api_command
def list_(connection: Connection, limit: int) -> None:
    """List an account's trusted certificates.

    \b
    Example:
      ftc cert list --account 019a0c5e7b1d7c2e8f00112233445566
    """
    method = connection.api.trusted_certificates.ListTrustedCertificates
    request = ListTrustedCertificatesRequest(parent=connection.parent)
    found, more = take(connection, method, request, "trusted_certificates", limit)
    print_list(found, COLUMNS, more=more, as_json=connection.json)
