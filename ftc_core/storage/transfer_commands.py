"""The store's commands on two-party transfers, and their outcome; `commands` lists them with the others."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.transfer import DeviceTransfer

__all__ = [
    "AcceptTransfer",
    "CancelTransfer",
    "CreateTransfer",
    "ExpireTransfers",
    "ForgetTransfers",
    "RejectTransfer",
    "TransferWritten",
]


class CreateTransfer(msgspec.Struct, frozen=True, tag=True):
    """Offer devices → TransferWritten; they stay with their owner.

    `transfer.devices` are filled in from `device_ids`. RESOURCE_NOT_FOUND if an account does not exist, if
    there is no device, or if its owner does not own one (metadata `index`, its position); TRANSFER_TO_SELF;
    DEVICE_BLOCKED or CERTIFICATE_BLOCKED if one is blocked (metadata `endpoint_name`);
    TRANSFER_DEVICE_OFFERED if a device is in an open transfer already, or twice in this one (metadata
    `index`); TRANSFER_LIMIT_REACHED if the account offers `kept_max` transfers already, decided or not.
    """

    transfer: DeviceTransfer
    device_ids: tuple[str, ...]
    kept_max: int


class AcceptTransfer(msgspec.Struct, frozen=True, tag=True):
    """Move every device of a transfer to `account_id`, or none → TransferWritten.

    Device and enrollment keep their IDs, and take endpoint name and counts along; the device is to be
    bootstrapped again (CLOUD_ENROLLING); the ledger gets TRANSFERRED; events ENROLLMENT_TRANSFERRED, if it is
    enrolled, and DEVICE_TRANSFERRED, each told to both accounts.

    With `code_hash` the transfer is one that is offered by code: TRANSFER_CODE_INVALID if there is none with
    this ID and hash, whatever the cause; TRANSFER_TO_SELF. Without, RESOURCE_NOT_FOUND if it is not this
    account's to see; TRANSFER_WRONG_SIDE if this account offers it. Then ETAG_MISMATCH, TRANSFER_EXPIRED or
    TRANSFER_DECIDED; TRANSFER_OUTDATED if a device has left its owner since, DEVICE_BLOCKED or
    CERTIFICATE_BLOCKED if one is blocked; else as `domain.transfer.judge`.
    """

    account_id: str
    transfer_id: str
    now: datetime
    code_hash: bytes | None = None
    revision: int | None = None


class RejectTransfer(msgspec.Struct, frozen=True, tag=True):
    """End a transfer as its receiver → TransferWritten; refused as AcceptTransfer without a code."""

    account_id: str
    transfer_id: str
    now: datetime
    revision: int | None = None


class CancelTransfer(msgspec.Struct, frozen=True, tag=True):
    """End a transfer as its owner → TransferWritten; TRANSFER_WRONG_SIDE if it is offered to this account."""

    account_id: str
    transfer_id: str
    now: datetime
    revision: int | None = None


class ExpireTransfers(msgspec.Struct, frozen=True, tag=True):
    """End up to `limit` open transfers with expires_at ≤ now → Swept; their devices may be offered again."""

    now: datetime
    limit: int


class ForgetTransfers(msgspec.Struct, frozen=True, tag=True):
    """Remove up to `limit` transfers that were decided by `until`, the longest ago first → Swept."""

    until: datetime
    limit: int


class TransferWritten(msgspec.Struct, frozen=True, tag=True):
    """The transfer as it is now."""

    transfer: DeviceTransfer
