"""Commands on two-party transfers. A transfer moves with all of its devices in one step, or not at all."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime

import msgspec

from ftc_core.domain.account import Account
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import EventKind
from ftc_core.domain.transfer import (
    DeviceTransfer,
    Moving,
    OfferedDevice,
    TransferState,
    check_open,
    judge,
    outdated,
    transferred,
)
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import Swept
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.blocks import check_not_blocked
from ftc_core.storage.lmdb.devices import emit_device, transfer_device
from ftc_core.storage.lmdb.enrollments import transfer_enrollment
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.preconditions import check_revision
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, endpoint_key, pack_id, time_key
from ftc_core.storage.lmdb.transfer_reads import OFFERED, RECEIVED
from ftc_core.storage.lmdb.writer import Writer
from ftc_core.storage.transfer_commands import (
    AcceptTransfer,
    CancelTransfer,
    CreateTransfer,
    ExpireTransfers,
    ForgetTransfers,
    RejectTransfer,
    TransferWritten,
)

__all__ = [
    "accept_transfer",
    "cancel_transfer",
    "create_transfer",
    "expire_transfers",
    "forget_transfers",
    "reject_transfer",
]


def create_transfer(writer: Writer, command: CreateTransfer) -> TransferWritten:
    """See the command."""
    given = command.transfer
    if given.receiver_account_id == given.account_id:
        raise FtcError(Reason.TRANSFER_TO_SELF)
    _account(writer, given.account_id)
    if given.receiver_account_id is not None:
        _account(writer, given.receiver_account_id)
    if not command.device_ids:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "there is no device to offer")
    _check_room(writer, given.account_id, command.kept_max)
    offered = tuple(
        _offer(writer, given, device_id, index) for index, device_id in enumerate(command.device_ids)
    )
    transfer = msgspec.structs.replace(given, devices=offered, revision=writer.next_revision())
    tables, key = writer.tables, pack_id(transfer.id)
    writer.add(tables.transfers, key, records.TRANSFER.encode(transfer))
    writer.put(tables.transfer_expiry, time_key(transfer.expires_at) + key)
    _list(writer, transfer)
    return TransferWritten(transfer)


def accept_transfer(writer: Writer, command: AcceptTransfer) -> TransferWritten:
    """See the command."""
    if command.code_hash is None:
        transfer = _received(writer, command)
    else:
        transfer = _presented(writer, command, command.code_hash)
    check_revision(transfer.revision, command.revision)
    check_open(transfer, command.now)
    receiver = _account(writer, command.account_id)
    moving, enrollments = _gather(writer, transfer, receiver, command.now)
    for item, enrollment, certificate in zip(moving, enrollments, judge(receiver, moving), strict=True):
        if enrollment is not None:
            transfer_enrollment(writer, enrollment, receiver.id, command.now)
        _move(writer, transfer, item, receiver, certificate, command.now)
    return _decide(writer, transfer, TransferState.ACCEPTED, command.now, receiver_id=receiver.id)


def reject_transfer(writer: Writer, command: RejectTransfer) -> TransferWritten:
    """See the command."""
    transfer = _received(writer, command)
    check_revision(transfer.revision, command.revision)
    check_open(transfer, command.now)
    return _decide(writer, transfer, TransferState.REJECTED, command.now)


def cancel_transfer(writer: Writer, command: CancelTransfer) -> TransferWritten:
    """See the command."""
    transfer = _concerning(writer, command.account_id, command.transfer_id)
    if transfer.account_id != command.account_id:
        raise FtcError(Reason.TRANSFER_WRONG_SIDE, "only the account that offers a transfer can cancel it")
    check_revision(transfer.revision, command.revision)
    check_open(transfer, command.now)
    return _decide(writer, transfer, TransferState.CANCELLED, command.now)


def expire_transfers(writer: Writer, command: ExpireTransfers) -> Swept:
    """See the command."""
    due, more = writer.due(writer.tables.transfer_expiry, time_key(command.now), command.limit)
    for key in due:
        _expire(writer, _at(writer, key))
    return Swept(len(due), more)


def forget_transfers(writer: Writer, command: ForgetTransfers) -> Swept:
    """See the command."""
    tables = writer.tables
    due, more = writer.due(tables.transfers_decided, time_key(command.until), command.limit)
    for key in due:
        transfer, transfer_key = _at(writer, key), key[NUMBER_BYTES:]
        writer.delete(tables.transfers_decided, key)
        writer.delete(tables.transfers, transfer_key)
        for account_id in _parties(transfer):
            writer.delete(tables.transfers_by_account, pack_id(account_id) + transfer_key)
    return Swept(len(due), more)


# --- offering --------------------------------------------------------------------------------------


def _check_room(writer: Writer, account_id: str, kept_max: int) -> None:
    if writer.view.count_offered(account_id) >= kept_max:
        raise FtcError(
            Reason.TRANSFER_LIMIT_REACHED,
            f"account offers {kept_max} transfers, the most that are kept",
            resource=f"accounts/{account_id}",
        )


def _offer(writer: Writer, transfer: DeviceTransfer, device_id: str, index: int) -> OfferedDevice:
    """Put one device into the transfer."""
    device = writer.view.get_device(transfer.account_id, device_id)
    if device is None:
        raise FtcError(
            Reason.RESOURCE_NOT_FOUND,
            "device not found",
            resource=f"accounts/{transfer.account_id}/devices/{device_id}",
            metadata={"index": str(index)},
        )
    check_not_blocked(writer, device)
    [present] = writer.view.find_offers((device.fingerprint,))
    if present is not None:
        standing = writer.view.find_transfer(present)
        if standing is None or standing.is_open(transfer.created_at):
            raise FtcError(
                Reason.TRANSFER_DEVICE_OFFERED,
                f"device {device.endpoint_name!r} is in the open transfer {present}"
                if standing
                else f"device {device.endpoint_name!r} is named twice",
                metadata={"index": str(index), "endpoint_name": device.endpoint_name},
            )
        _expire(writer, standing)
    writer.put(writer.tables.transfer_by_fingerprint, device.fingerprint, pack_id(transfer.id))
    return OfferedDevice(device.fingerprint, device.id, device.endpoint_name)


# --- deciding --------------------------------------------------------------------------------------


def _presented(writer: Writer, command: AcceptTransfer, code_hash: bytes) -> DeviceTransfer:
    """The transfer of a code. All that can be wrong with the code is answered alike."""
    transfer = writer.view.find_transfer(command.transfer_id)
    expected = None if transfer is None else transfer.code_hash
    if transfer is None or expected is None or not hmac.compare_digest(expected, code_hash):
        raise FtcError(Reason.TRANSFER_CODE_INVALID)
    if transfer.account_id == command.account_id:
        raise FtcError(Reason.TRANSFER_TO_SELF)
    return transfer


def _received(writer: Writer, command: AcceptTransfer | RejectTransfer) -> DeviceTransfer:
    transfer = _concerning(writer, command.account_id, command.transfer_id)
    if transfer.account_id == command.account_id:
        raise FtcError(Reason.TRANSFER_WRONG_SIDE, "only the receiver can accept or reject a transfer")
    return transfer


def _concerning(writer: Writer, account_id: str, transfer_id: str) -> DeviceTransfer:
    transfer = writer.view.get_transfer(account_id, transfer_id)
    if transfer is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "transfer not found")
    return transfer


def _gather(
    writer: Writer, transfer: DeviceTransfer, receiver: Account, now: datetime
) -> tuple[Sequence[Moving], Sequence[Enrollment | None]]:
    """What is known of each device, and its enrollment on the owner's list, if there is one."""
    view, account = writer.view, pack_id(receiver.id)
    moving, enrollments = [], []
    fingerprints = [offered.fingerprint for offered in transfer.devices]
    offers, listed = view.find_offers(fingerprints), view.find_enrollments(fingerprints)
    for offered, offer, enrollment in zip(transfer.devices, offers, listed, strict=True):
        device = view.get_device(transfer.account_id, offered.device_id)
        if device is None or offer != transfer.id:
            raise outdated(offered)
        check_not_blocked(writer, device)
        if enrollment is not None and (
            enrollment.account_id != transfer.account_id or enrollment.is_expired(now)
        ):
            enrollment = None
        name = endpoint_key(account, device.endpoint_name)
        moving.append(
            Moving(
                device=device,
                enrolled=enrollment is not None,
                certificates=tuple(view.vouching(account, device.issuing_cas)),
                endpoint_taken=writer.get(writer.tables.endpoint_names, name) is not None,
            )
        )
        enrollments.append(enrollment)
    return moving, enrollments


def _move(
    writer: Writer,
    transfer: DeviceTransfer,
    item: Moving,
    receiver: Account,
    certificate: TrustedCertificate,
    now: datetime,
) -> None:
    after = transferred(item.device, receiver.id, certificate.id, now)
    revision = emit_device(
        writer, EventKind.DEVICE_TRANSFERRED, now, after, from_account_id=item.device.account_id
    )
    transfer_device(writer, item.device, msgspec.structs.replace(after, revision=revision), transfer.id)


def _expire(writer: Writer, transfer: DeviceTransfer) -> None:
    _decide(writer, transfer, TransferState.EXPIRED, transfer.expires_at)


def _decide(
    writer: Writer,
    transfer: DeviceTransfer,
    state: TransferState,
    at: datetime,
    *,
    receiver_id: str | None = None,
) -> TransferWritten:
    """End an open transfer; devices that are still in it are free to be offered again."""
    tables, key = writer.tables, pack_id(transfer.id)
    for offered in transfer.devices:
        if writer.get(tables.transfer_by_fingerprint, offered.fingerprint) == key:
            writer.delete(tables.transfer_by_fingerprint, offered.fingerprint)
    decided = msgspec.structs.replace(
        transfer,
        state=state,
        decided_at=at,
        receiver_account_id=receiver_id or transfer.receiver_account_id,
        revision=writer.next_revision(),
    )
    writer.put(tables.transfers, key, records.TRANSFER.encode(decided))
    writer.delete(tables.transfer_expiry, time_key(transfer.expires_at) + key)
    writer.put(tables.transfers_decided, time_key(at) + key)
    _list(writer, decided)
    return TransferWritten(decided)


# --- records ---------------------------------------------------------------------------------------


def _account(writer: Writer, account_id: str) -> Account:
    account = writer.view.get_account(account_id)
    if account is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found", resource=f"accounts/{account_id}")
    return account


def _parties(transfer: DeviceTransfer) -> list[str]:
    return [party for party in (transfer.account_id, transfer.receiver_account_id) if party is not None]


def _list(writer: Writer, transfer: DeviceTransfer) -> None:
    """Show the transfer to each of its parties."""
    for account_id in _parties(transfer):
        side = OFFERED if account_id == transfer.account_id else RECEIVED
        writer.put(writer.tables.transfers_by_account, pack_id(account_id) + pack_id(transfer.id), side)


def _at(writer: Writer, key: bytes) -> DeviceTransfer:
    """That which a key of an index by time points to."""
    transfer = writer.view.find_transfer(key[NUMBER_BYTES:].hex())
    if transfer is None:
        raise corrupt(f"an index of transfers has {key.hex()}")
    return transfer
