"""Provisioning: keys, certificates and parameters of new devices, written one device at a time.

    OUT/ca.pem                     the CA that the customer uploads
    OUT/enrollments.csv            the enrollment IDs that the customer uploads
    OUT/claim-secrets.csv          their claim secrets, if they have any: for the buyer alone
    OUT/labels.html                QR labels
    OUT/devices/<endpoint name>/   one bundle per device (device.bundle), with device.pem and device.key

A device's directory appears whole or not at all, then its label, then its line in the CSV. A run that was
interrupted is completed by the next one: what has a directory but no line gets its label and line first.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from ftc_core.credentials.pki import Identity, private_key_der
from ftc_core.device.bundle import FACTORY_DIRECTORY, Bundle
from ftc_core.device.parameters import Parameter, account_id_of, check_coaps_uri, encode_u32
from ftc_core.domain.claim_secret import NEW_SECRET_BYTES, format_claim_secret
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.ca import CERTIFICATE_FILE_NAME
from ftc_core.factory.claim_secrets import ClaimSecretWriter
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.factory.enrollment_list import EnrollmentListWriter, EnrollmentRow, read_enrollment_list
from ftc_core.factory.labels import LabelWriter
from ftc_core.files import PRIVATE, PUBLIC, read_file, write_new_file

__all__ = ["NAME_PREFIX_MAX_BYTES", "ProvisionPlan", "ProvisionedDevice", "provision"]

NAME_PREFIX_MAX_BYTES = 54
"""Bytes of a name prefix: with up to ten digits the endpoint name stays within X.509's 64 for a CN."""

_NAME_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*|")
_NUMBER_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionPlan:
    """What to make. `server_ca` is DER, `now` aware UTC; devices are numbered on from what `out` holds.

    Raises FtcError FIELD_INVALID for a count below 1, a prefix that cannot stand in a file name, an URI
    that is not coaps or carries `aid`: such a device would not be first-to-claim [I].
    """

    count: int
    out: Path
    authority: Identity
    server_ca: bytes
    bootstrap_uri: str
    name_prefix: str
    validity: timedelta
    now: datetime
    labels: bool = True
    claim_secrets: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise FtcError(Reason.FIELD_INVALID, f"count is {self.count}, at least 1", field="count")
        if self.validity <= timedelta():
            raise FtcError(Reason.FIELD_INVALID, "validity must be at least a day", field="validity")
        if len(self.name_prefix) > NAME_PREFIX_MAX_BYTES or _NAME_PREFIX.fullmatch(self.name_prefix) is None:
            raise FtcError(
                Reason.FIELD_INVALID,
                f"name prefix {self.name_prefix!r}: up to {NAME_PREFIX_MAX_BYTES} of A-Z a-z 0-9 . _ : -",
                field="name_prefix",
            )
        try:
            check_coaps_uri(self.bootstrap_uri)
        except ValueError as error:
            raise FtcError(Reason.FIELD_INVALID, f"bootstrap URI: {error}", field="bootstrap_uri") from error
        if account_id_of(self.bootstrap_uri) is not None:
            raise FtcError(
                Reason.FIELD_INVALID,
                "first to claim not allowed: the bootstrap URI carries aid; strip '?aid=…'",
                field="bootstrap_uri",
            )


@dataclass(frozen=True, slots=True)
class ProvisionedDevice:
    """One device that was made: its enrollment and its bundle."""

    row: EnrollmentRow
    directory: Path


def provision(plan: ProvisionPlan) -> Generator[ProvisionedDevice, None, None]:
    """Make the devices of `plan`, yielding each once it is complete on disk; memory does not grow with them.

    Raises FtcError FILE_EXISTS if `plan.out` belongs to another CA or two runs collide, FILE_UNREADABLE if
    its enrollments.csv is damaged.
    """
    devices = plan.out / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    _place_ca(plan)
    csv_path = plan.out / "enrollments.csv"
    listed, last = _survey(csv_path, plan.name_prefix)
    issuer = DeviceCertificateIssuer(plan.authority, now=plan.now, validity=plan.validity)
    with (
        EnrollmentListWriter(csv_path) as enrollments,
        ClaimSecretWriter(plan.out) as claim_secrets,
        LabelWriter(plan.out, written=listed, private=plan.claim_secrets) as labels,
    ):

        def publish(row: EnrollmentRow, directory: Path) -> None:
            claim_secret = Bundle(directory).claim_secret
            if plan.labels:
                labels.append(row, claim_secret)
            if claim_secret is not None:
                claim_secrets.append(row, claim_secret)
            enrollments.append(row)

        made = 0
        for number in count(last + 1):
            if made == plan.count:
                return
            name = f"{plan.name_prefix}{number:0{_NUMBER_DIGITS}}"
            directory = devices / name
            if directory.exists():  # left by an interrupted run
                publish(EnrollmentRow(Bundle.load(directory).enrollment_id, name), directory)
                continue
            row = _write_device(plan, issuer.issue(name), directory)
            publish(row, directory)
            made += 1
            yield ProvisionedDevice(row, directory)


def _place_ca(plan: ProvisionPlan) -> None:
    path = plan.out / CERTIFICATE_FILE_NAME
    pem = plan.authority.certificate_pem
    if not path.exists():
        write_new_file(path, pem)
    elif read_file(path).split() != pem.split():
        raise FtcError(Reason.FILE_EXISTS, f"{path} is another CA; give each CA its own --out directory")


def _survey(path: Path, prefix: str) -> tuple[int, int]:
    """How many devices are listed, and the highest number under `prefix` (0 if none)."""
    listed = last = 0
    if path.exists():
        numbered = re.compile(re.escape(prefix) + rf"(\d{{{_NUMBER_DIGITS},10}})")
        for row in read_enrollment_list(path):
            listed += 1
            if (match := numbered.fullmatch(row.endpoint_name)) is not None:
                last = max(last, int(match[1]))
    return listed, last


def _write_device(plan: ProvisionPlan, identity: Identity, directory: Path) -> EnrollmentRow:
    certificate = identity.certificate_der
    row = EnrollmentRow(format_enrollment_id(fingerprint_of(certificate)), directory.name)
    parameters = {
        Parameter.FIRST_TO_CLAIM: encode_u32(1),
        Parameter.USE_BOOTSTRAP: encode_u32(1),
        Parameter.ENDPOINT_NAME: row.endpoint_name.encode(),
        Parameter.ENROLLMENT_ID: row.enrollment_id.encode(),
        Parameter.BOOTSTRAP_SERVER_URI: plan.bootstrap_uri.encode(),
        Parameter.BOOTSTRAP_SERVER_CA: plan.server_ca,
        Parameter.BOOTSTRAP_CERTIFICATE: certificate,
        Parameter.BOOTSTRAP_PRIVATE_KEY: private_key_der(identity.private_key),
    }
    if plan.claim_secrets:
        claim_secret = format_claim_secret(secrets.token_bytes(NEW_SECRET_BYTES))
        parameters[Parameter.CLAIM_SECRET] = claim_secret.encode()
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / FACTORY_DIRECTORY).mkdir(parents=True)
    for parameter, content in parameters.items():
        mode = PRIVATE if parameter.is_secret else PUBLIC
        for place in (partial, partial / FACTORY_DIRECTORY):
            write_new_file(place / parameter.value, content, mode, durable=False)
    write_new_file(partial / "device.pem", identity.certificate_pem, durable=False)
    write_new_file(partial / "device.key", identity.private_key_pem, PRIVATE, durable=False)
    try:
        partial.rename(directory)
    except OSError as error:
        raise FtcError(Reason.FILE_EXISTS, f"{directory}: {error.strerror}") from error
    return row
