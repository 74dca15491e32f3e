"""Two-party transfers: an owner offers devices, another account takes all of them or none (PRODUCT §4.2).

Until the receiver accepts, the owner owns. The acceptance is judged by `judge` on facts that the store
gathers inside the transaction that moves the devices, so there is no moment without an owner, and none with
two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.device import Device, DeviceState
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import FORMER_OWNERS_MAX

__all__ = [
    "DeviceTransfer",
    "Moving",
    "OfferedDevice",
    "TransferState",
    "check_open",
    "judge",
    "outdated",
    "transferred",
]


class TransferState(StrEnum):
    """Where a transfer stands; all but OFFERED are for good."""

    OFFERED = "OFFERED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class OfferedDevice(msgspec.Struct, frozen=True):
    """One device of a transfer, as it was when it was offered."""

    fingerprint: bytes
    device_id: str
    endpoint_name: str


class DeviceTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer of devices by `account_id`.

    It is made either to `receiver_account_id`, or to whoever has the code of which `code_hash` (32 bytes,
    keyed) is stored: then `receiver_account_id` is None until one has accepted. `note` is the owner's, for
    the receiver. `decided_at` is when the state became another than OFFERED.
    """

    id: str
    account_id: str
    receiver_account_id: str | None = None
    code_hash: bytes | None = None
    devices: tuple[OfferedDevice, ...]
    note: str = ""
    state: TransferState = TransferState.OFFERED
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    revision: int = 0

    def is_open(self, now: datetime) -> bool:
        """Whether it can still be accepted."""
        return self.state is TransferState.OFFERED and now < self.expires_at

    def concerns(self, account_id: str) -> bool:
        """Whether it is that account's to see: it offers, it is offered to, or it has accepted."""
        return account_id in (self.account_id, self.receiver_account_id)

    def receiver_for(self, account_id: str) -> str | None:
        """The receiver as that account may see it: who came with a code is not told to whoever offers."""
        hidden = self.code_hash is not None and account_id == self.account_id
        return None if hidden else self.receiver_account_id


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of one device that is about to move.

    `enrolled` says whether it stands on its owner's enrollment list. `certificates` are the receiver's that
    are among the device's `issuing_cas`; `endpoint_taken` says whether another device of the receiver has its
    name.
    """

    device: Device
    enrolled: bool
    certificates: Sequence[TrustedCertificate]
    endpoint_taken: bool


def check_open(transfer: DeviceTransfer, now: datetime) -> None:
    """Raises FtcError TRANSFER_EXPIRED or TRANSFER_DECIDED (metadata `state`) if nothing can be decided."""
    if transfer.is_open(now):
        return
    if transfer.state in (TransferState.OFFERED, TransferState.EXPIRED):
        raise FtcError(
            Reason.TRANSFER_EXPIRED, f"transfer expired at {transfer.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        )
    raise FtcError(
        Reason.TRANSFER_DECIDED,
        f"transfer is already {transfer.state.value}",
        metadata={"state": transfer.state.value},
    )


def outdated(offered: OfferedDevice) -> FtcError:
    """The refusal of a transfer one of whose devices has left its owner, or its offer, since."""
    return _about(
        offered.endpoint_name,
        Reason.TRANSFER_OUTDATED,
        f"device {offered.endpoint_name!r} is no longer the owner's to give",
    )


def judge(receiver: Account, moving: Sequence[Moving]) -> tuple[TrustedCertificate, ...]:
    """The certificates by which `receiver` trusts each device, if it may take them all.

    The checks are those of a claim, in its order (PRODUCT §1). Raises FtcError CA_NOT_IN_ACCOUNT (metadata
    `issuing_cas`: fingerprints of CAs that would do, in hex), ACCOUNT_SUSPENDED, DUPLICATE_ENDPOINT or
    QUOTA_REACHED; where one device is at fault, its name is metadata `endpoint_name`.
    """
    certificates = tuple(_vouching(item) for item in moving)
    if receiver.status is not AccountStatus.ACTIVE:
        raise FtcError(Reason.ACCOUNT_SUSPENDED)
    for item in moving:
        if item.endpoint_taken:
            name = item.device.endpoint_name
            raise _about(
                name,
                Reason.DUPLICATE_ENDPOINT,
                f"the receiver has another device with endpoint name {name!r}",
            )
    quota = receiver.device_quota
    if quota is not None and receiver.device_count + len(moving) > quota:
        raise FtcError(
            Reason.QUOTA_REACHED,
            f"{receiver.device_count} device(s) and {len(moving)} more are above the quota of {quota}",
            resource=f"accounts/{receiver.id}",
        )
    return certificates


def transferred(device: Device, receiver_id: str, certificate_id: str, now: datetime) -> Device:
    """The device as the receiver gets it: by the same ID and name, and to be bootstrapped again.

    What it told its former owner of itself is not passed on.
    """
    former = (device.account_id, *(old for old in device.former_account_ids if old != device.account_id))
    return Device(
        id=device.id,
        account_id=receiver_id,
        endpoint_name=device.endpoint_name,
        fingerprint=device.fingerprint,
        trusted_certificate_id=certificate_id,
        enrollment_id=device.enrollment_id,
        state=DeviceState.CLOUD_ENROLLING,
        created_at=device.created_at,
        claimed_at=now,
        issuing_cas=device.issuing_cas,
        former_account_ids=tuple(old for old in former if old != receiver_id)[:FORMER_OWNERS_MAX],
    )


def _vouching(item: Moving) -> TrustedCertificate:
    """The certificate by which the device's next bootstrap will be judged, wherever its flash stands.

    An enrolled device may come without `aid` after a factory reset, so it needs `enrollment_mode`; one that
    is not enrolled gets in only where none is needed.
    """
    for certificate in item.certificates:
        if (
            certificate.status is CertificateStatus.ACTIVE
            and certificate.service is CertificateService.BOOTSTRAP
            and certificate.enrollment_mode is item.enrolled
        ):
            return certificate
    name, mode = item.device.endpoint_name, "with" if item.enrolled else "without"
    raise _about(
        name,
        Reason.CA_NOT_IN_ACCOUNT,
        f"the receiver has no ACTIVE BOOTSTRAP certificate {mode} enrollment_mode for the CA of {name!r}",
        issuing_cas=",".join(fingerprint.hex() for fingerprint in item.device.issuing_cas),
    )


def _about(endpoint_name: str, reason: Reason, message: str, **metadata: str) -> FtcError:
    return FtcError(reason, message, metadata={"endpoint_name": endpoint_name, **metadata})
