"""`ftc explain`: why a device is let in or refused, check by check."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding
from rich.table import Table

from ftc_core.cli.terminal import print_table, say
from ftc_core.credentials.certificate_file import load_chain
from ftc_grpc._gen.ftc.v1.explain_pb2 import ClaimCheck, ExplainClaimRequest, ExplainClaimResponse
from ftc_grpc.cli.connection import Connection, device_command
from ftc_grpc.cli.output import print_resource

__all__ = ["explain"]

_MARKS = {ClaimCheck.PASSED: "passed", ClaimCheck.FAILED: "FAILED", ClaimCheck.ASSUMED: "assumed"}


@click.command("explain")
@click.argument("device", metavar="CERT|ENROLLMENT_IDENTITY")
@click.option(
    "--endpoint",
    "--endpoint-name",
    "endpoint_name",
    metavar="NAME",
    default="",
    help="The endpoint name of its Bootstrap-Request. Default: the certificate's common name.",
)
@click.option(
    "--aid",
    metavar="ACCOUNT_ID",
    default="",
    help="The account ID in the device's bootstrap URI, if it has one: not on first claim.",
)
@device_command
def explain(connection: Connection, device: str, endpoint_name: str, aid: str) -> None:
    """Tell what a device's next Bootstrap-Request would get, and why; nothing is changed.

    CERT is the device's certificate, PEM or DER; of a PEM file the whole chain is judged, as the device
    presents it. With an enrollment ID (A-…) alone, checks that need the certificate are assumed to pass.
    Exit code 0 if the device would be let in, 1 if it would be refused.

    \b
    Examples:
      ftc explain factory/devices/device-000001/device.pem
      ftc explain A-AD:1E:… --endpoint device-000001
    """
    request = ExplainClaimRequest(
        parent=connection.parent, endpoint_name=endpoint_name, device_account_id=aid
    )
    if device.upper().startswith("A-") and not Path(device).exists():
        request.enrollment_identity = device
    else:
        chain = load_chain(Path(device))
        request.certificate = "".join(each.public_bytes(Encoding.PEM).decode() for each in chain)
    api = connection.api
    answer = api.call(api.device_enrollments.ExplainClaim, request)
    if connection.json:
        print_resource(answer, as_json=True)
    else:
        _print_trace(answer)
    if not answer.granted:
        raise SystemExit(1)


def _print_trace(answer: ExplainClaimResponse) -> None:
    say(f"device {answer.enrollment_identity}, endpoint name {answer.endpoint_name!r}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in answer.checks:
        table.add_row(_MARKS[check.result], check.reason, check.detail)
    print_table(table)
    if answer.granted:
        known = f"again as {answer.device}" if answer.device else "for the first time"
        say(f"would be claimed {known} by accounts/{answer.account_id}")
    else:
        told = f"DTLS alert {answer.dtls_alert}" if answer.dtls_alert else answer.coap_code
        say(f"would be refused: {told} {answer.message}")
        say(answer.advice)
