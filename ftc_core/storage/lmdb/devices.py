"""A device's record with all of its indexes, and changes of ownership."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Final

from ftc_core.domain.device import Device, DeviceTime
from ftc_core.domain.event import EventKind
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.domain.ledger import LedgerKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import block_key
from ftc_core.storage.lmdb.ledger import append_entry
from ftc_core.storage.lmdb.tables import (
    ID_BYTES,
    device_time_prefix,
    endpoint_key,
    fingerprint_key,
    pack_id,
    time_key,
    time_order_key,
)
from ftc_core.storage.lmdb.writer import Writer

__all__ = [
    "add_device",
    "change_device",
    "emit_device",
    "keep_last_bootstrap",
    "release_device",
    "transfer_device",
]


_TIMES: Final[tuple[tuple[Callable[[Device], datetime | None], bytes], ...]] = tuple(
    (attrgetter(which.value), device_time_prefix(b"", which)) for which in DeviceTime
)
"""How each time is read, and its tag in `devices_by_time`; ready-made, for every registration needs them."""


def add_device(writer: Writer, device: Device) -> None:
    """Store a device that is new in its account. Raises FtcError RESOURCE_ALREADY_EXISTS: its ID is taken."""
    _insert(writer, device)
    append_entry(writer, LedgerKind.CLAIMED, device, device.claimed_at, device.revision)


def change_device(writer: Writer, before: Device, after: Device) -> None:
    """Store `after` in the place of `before`: same ID, account and fingerprint."""
    tables, key = writer.tables, _key(after)
    writer.put(tables.devices, key, records.DEVICE.encode(after))
    if after.endpoint_name != before.endpoint_name:
        writer.delete(tables.endpoint_names, _endpoint_key(before))
        writer.put(tables.endpoint_names, _endpoint_key(after), after.fingerprint)
    for time_of, tag in _TIMES:
        was, is_now = time_of(before), time_of(after)
        if was != is_now:
            writer.delete(tables.devices_by_time, _time_key(key, tag, was))
            writer.put(tables.devices_by_time, _time_key(key, tag, is_now))
    lapsed, lapses = before.registration_expires_at(), after.registration_expires_at()
    if lapsed != lapses:
        if lapsed is not None:
            writer.delete(tables.registration_expiry, time_key(lapsed) + key)
        if lapses is not None:
            writer.put(tables.registration_expiry, time_key(lapses) + key)


def keep_last_bootstrap(writer: Writer, device: Device, bootstrap: LastBootstrap) -> None:
    """Store it in the place of the one before."""
    writer.put(writer.tables.last_bootstraps, _key(device), records.LAST_BOOTSTRAP.encode(bootstrap))


def release_device(writer: Writer, device: Device, at: datetime) -> int:
    """Take the device from its account: records, name, quota count, registration → revision of the event."""
    _remove(writer, device)
    revision = emit_device(writer, EventKind.DEVICE_RELEASED, at, device)
    append_entry(writer, LedgerKind.RELEASED, device, at, revision)
    return revision


def transfer_device(writer: Writer, before: Device, after: Device, transfer_id: str) -> None:
    """Store `after`, of its new account, in the place of `before`."""
    _remove(writer, before)
    _insert(writer, after)
    append_entry(
        writer,
        LedgerKind.TRANSFERRED,
        after,
        after.claimed_at,
        after.revision,
        from_account_id=before.account_id,
        transfer_id=transfer_id,
    )


def emit_device(
    writer: Writer, kind: EventKind, at: datetime, device: Device, *, from_account_id: str | None = None
) -> int:
    """Record an event of a device → its revision."""
    return writer.emit(
        kind,
        at,
        device.account_id,
        enrollment_id=device.enrollment_id,
        device_id=device.id,
        fingerprint=device.fingerprint,
        from_account_id=from_account_id,
    )


def _insert(writer: Writer, device: Device) -> None:
    tables, key = writer.tables, _key(device)
    writer.add(tables.devices, key, records.DEVICE.encode(device))
    writer.put(tables.devices_by_fingerprint, fingerprint_key(device.fingerprint), key)
    writer.put(tables.endpoint_names, _endpoint_key(device), device.fingerprint)
    for time_of, tag in _TIMES:
        writer.put(tables.devices_by_time, _time_key(key, tag, time_of(device)))
    writer.count(device.account_id, devices=1)


def _remove(writer: Writer, device: Device) -> None:
    """All that its account had of it; the offer that it is in, and its owner's block: those end with it."""
    tables, key = writer.tables, _key(device)
    writer.delete(tables.devices, key)
    writer.delete(tables.last_bootstraps, key)
    writer.delete(tables.devices_by_fingerprint, device.fingerprint)
    writer.delete(tables.endpoint_names, _endpoint_key(device))
    writer.delete(tables.transfer_by_fingerprint, device.fingerprint)
    writer.delete(tables.blocks, block_key(device.fingerprint, device.account_id))
    for time_of, tag in _TIMES:
        writer.delete(tables.devices_by_time, _time_key(key, tag, time_of(device)))
    lapses = device.registration_expires_at()
    if lapses is not None:
        writer.delete(tables.registration_expiry, time_key(lapses) + key)
    writer.count(device.account_id, devices=-1)


def _key(device: Device) -> bytes:
    return pack_id(device.account_id) + pack_id(device.id)


def _endpoint_key(device: Device) -> bytes:
    return endpoint_key(pack_id(device.account_id), device.endpoint_name)


def _time_key(key: bytes, tag: bytes, at: datetime | None) -> bytes:
    """Of `devices_by_time`; `key` is the device's."""
    return time_order_key(key[:ID_BYTES] + tag, at, key[ID_BYTES:])
