"""Commands on blocks."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.block_commands import BlockWritten, LiftBlock, PlaceBlock
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import block_key
from ftc_core.storage.lmdb.devices import change_device, emit_device
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["check_not_blocked", "lift_block", "place_block"]


def place_block(writer: Writer, command: PlaceBlock) -> BlockWritten:
    """See the command."""
    given = command.block
    device = _device(writer, given, command.device_id)
    key = block_key(given.fingerprint, given.account_id)
    stored = writer.get(writer.tables.blocks, key)
    if stored is not None:
        standing = records.BLOCK.decode(stored)
        note = given.note or standing.note
        block = msgspec.structs.replace(standing, note=note, revision=writer.next_revision())
    elif device is not None:
        block = msgspec.structs.replace(given, revision=_end_registration(writer, device, given.blocked_at))
    else:
        block = msgspec.structs.replace(given, revision=writer.next_revision())
    writer.put(writer.tables.blocks, key, records.BLOCK.encode(block))
    return BlockWritten(block)


def lift_block(writer: Writer, command: LiftBlock) -> BlockWritten:
    """See the command."""
    key = block_key(command.fingerprint, command.account_id)
    stored = writer.get(writer.tables.blocks, key)
    if stored is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "certificate is not blocked")
    [device] = writer.view.find_devices((command.fingerprint,))
    _check_named(device, command.device_id)
    writer.delete(writer.tables.blocks, key)
    block = records.BLOCK.decode(stored)
    if block.kind is BlockedKind.DEVICE and device is not None:
        revision = emit_device(writer, EventKind.DEVICE_UNBLOCKED, command.now, device)
        change_device(writer, device, msgspec.structs.replace(device, revision=revision))
    else:
        writer.next_revision()
    return BlockWritten(block)


def check_not_blocked(writer: Writer, device: Device) -> None:
    """Raises FtcError DEVICE_BLOCKED or CERTIFICATE_BLOCKED if the operator or the owner blocks it."""
    blocked = writer.view.find_blocked((device.fingerprint, *device.issuing_cas), device.account_id)
    if blocked:
        reason = Reason.DEVICE_BLOCKED if device.fingerprint in blocked else Reason.CERTIFICATE_BLOCKED
        raise FtcError(reason, metadata={"endpoint_name": device.endpoint_name})


def _device(writer: Writer, block: Block, device_id: str | None) -> Device | None:
    """The device that has the certificate; an account blocks none but its own."""
    if block.account_id is not None and writer.view.get_account(block.account_id) is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found")
    if block.kind is not BlockedKind.DEVICE:
        return None
    [device] = writer.view.find_devices((block.fingerprint,))
    _check_named(device, device_id)
    if block.account_id is not None and (device is None or device.account_id != block.account_id):
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
    return device


def _check_named(device: Device | None, device_id: str | None) -> None:
    if device_id is not None and (device is None or device.id != device_id):
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")


def _end_registration(writer: Writer, before: Device, at: datetime) -> int:
    """Tell of the block; whatever session the device has ends with it → revision of the event."""
    revision = emit_device(writer, EventKind.DEVICE_BLOCKED, at, before)
    registered = before.state is DeviceState.REGISTERED
    after = msgspec.structs.replace(
        before, state=DeviceState.DEREGISTERED if registered else before.state, revision=revision
    )
    change_device(writer, before, after)
    return revision
