"""Commands of the LwM2M registration interface."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    Created,
    DeregisterDevice,
    Done,
    ExpireRegistrations,
    RegisterDevice,
    Swept,
    UpdateRegistration,
)
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.blocks import check_not_blocked
from ftc_core.storage.lmdb.devices import change_device, emit_device
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, time_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["deregister_device", "expire_registrations", "register_device", "update_registration"]


def register_device(writer: Writer, command: RegisterDevice) -> Created:
    """See the command."""
    before = _owned(writer, command.account_id, command.device_id)
    if before.endpoint_name != command.endpoint_name:
        raise FtcError(Reason.CREDENTIALS_RELEASED)
    check_not_blocked(writer, before)
    after = msgspec.structs.replace(
        before,
        state=DeviceState.REGISTERED,
        registered_at=command.now,
        last_seen_at=command.now,
        lifetime=command.lifetime,
        lwm2m_version=command.lwm2m_version,
        binding=command.binding,
        object_links=command.object_links,
        client_version=command.client_version or before.client_version,
        last_address=command.address,
        revision=emit_device(writer, EventKind.DEVICE_REGISTERED, command.now, before),
    )
    change_device(writer, before, after)
    return Created(device=after)


def update_registration(writer: Writer, command: UpdateRegistration) -> Created:
    """See the command. It gives no event: a fleet sends one per device and minute."""
    before = _owned(writer, command.account_id, command.device_id)
    check_not_blocked(writer, before)
    _check_registered(before)
    after = msgspec.structs.replace(
        before,
        last_seen_at=command.now,
        last_address=command.address,
        lifetime=before.lifetime if command.lifetime is None else command.lifetime,
        binding=before.binding if command.binding is None else command.binding,
        object_links=before.object_links if command.object_links is None else command.object_links,
        revision=writer.next_revision(),
    )
    change_device(writer, before, after)
    return Created(device=after)


def deregister_device(writer: Writer, command: DeregisterDevice) -> Done:
    """See the command."""
    before = _owned(writer, command.account_id, command.device_id)
    _check_registered(before)
    seen = msgspec.structs.replace(before, last_seen_at=command.now)
    return Done(_deregister(writer, before, seen, command.now))


def expire_registrations(writer: Writer, command: ExpireRegistrations) -> Swept:
    """See the command."""
    tables = writer.tables
    due, more = writer.due(tables.registration_expiry, time_key(command.now), command.limit)
    for key in due:
        stored = writer.get(tables.devices, key[NUMBER_BYTES:])
        if stored is None:
            raise corrupt(f"registration_expiry has {key.hex()}")
        device = records.DEVICE.decode(stored)
        _deregister(writer, device, device, command.now)
    return Swept(len(due), more)


def _deregister(writer: Writer, before: Device, seen: Device, at: datetime) -> int:
    revision = emit_device(writer, EventKind.DEVICE_DEREGISTERED, at, before)
    after = msgspec.structs.replace(seen, state=DeviceState.DEREGISTERED, revision=revision)
    change_device(writer, before, after)
    return revision


def _owned(writer: Writer, account_id: str, device_id: str) -> Device:
    device = writer.view.get_device(account_id, device_id)
    if device is None:
        raise FtcError(Reason.CREDENTIALS_RELEASED)
    return device


def _check_registered(device: Device) -> None:
    if device.state is not DeviceState.REGISTERED:
        raise FtcError(Reason.REGISTRATION_NOT_FOUND)
