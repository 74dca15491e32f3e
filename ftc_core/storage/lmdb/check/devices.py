"""Devices, and the enrollment that each says it came by. Whose they are is the ledger's to say: `ledger`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from ftc_core.domain.device import Device, DeviceTime
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import named, place, unreadable
from ftc_core.storage.lmdb.tables import (
    FINGERPRINT_BYTES,
    ID_BYTES,
    NUMBER_BYTES,
    device_time_prefix,
    endpoint_key,
    fingerprint_key,
    pack_id,
    time_key,
    time_order_key,
)

__all__ = ["check_devices", "check_last_bootstraps"]

_KEY_BYTES = 2 * ID_BYTES


def check_devices(snapshot: Snapshot) -> Iterator[Finding]:
    """Every device, its indexes, and that the enrollment that it names is its own."""

    def inspect(key: bytes, device: Device) -> Iterator[Finding]:
        if device.enrollment_id is not None:
            yield from _enrollment(snapshot, key, device, device.enrollment_id)

    def holder(key: bytes, value: bytes) -> tuple[str, bytes]:
        return "devices_by_fingerprint", value

    def by_name(_: Snapshot, key: bytes, value: bytes) -> bytes | None:
        return snapshot.get(*holder(key, value))

    yield from check_records(
        snapshot,
        RecordTable(
            name="devices",
            key_bytes=_KEY_BYTES,
            decode=records.DEVICE.decode,
            key=lambda device: pack_id(device.account_id) + pack_id(device.id),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            entries=_entries,
            inspect=inspect,
            indexes={
                "devices_by_fingerprint": Index(FINGERPRINT_BYTES, lambda _, key, value: value),
                "endpoint_names": Index(None, by_name, holder),
                "devices_by_time": Index(
                    _KEY_BYTES + 1 + NUMBER_BYTES, lambda _, key, value: key[:ID_BYTES] + key[-ID_BYTES:]
                ),
                "registration_expiry": Index(
                    NUMBER_BYTES + _KEY_BYTES, lambda _, key, value: key[NUMBER_BYTES:]
                ),
            },
        ),
    )


def check_last_bootstraps(snapshot: Snapshot) -> Iterator[Finding]:
    """Every account of a last bootstrap is one of a device that there is."""
    for key, stored in snapshot.rows("last_bootstraps"):
        where = place("last_bootstraps", key)
        try:
            records.LAST_BOOTSTRAP.decode(stored)
        except FtcError as error:
            yield unreadable("last_bootstraps", key, error)
        if snapshot.get("devices", key) is None:
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=where,
                expected="no entry, or the device that it is of",
                found="no such device",
            )


def _enrollment(snapshot: Snapshot, key: bytes, device: Device, enrollment_id: str) -> Iterator[Finding]:
    """That it stands on the list of the device's account, for the device's certificate, claimed by it."""
    stored = snapshot.get("enrollments", device.fingerprint)
    found = "no enrollment of its certificate"
    if stored is not None:
        try:
            enrollment = records.ENROLLMENT.decode(stored)
        except FtcError:
            return  # told by check_enrollments
        claimant = (enrollment.account_id, enrollment.id, enrollment.enrolled_device_id)
        if claimant == (device.account_id, enrollment_id, device.id):
            return
        owner = enrollment.enrolled_device_id or "none"
        found = f"{named(enrollment.account_id, 'deviceEnrollments', enrollment.id)}, claimed by {owner}"
    yield Finding(
        kind=FindingKind.OWNERSHIP_CONTRADICTED,
        where=place("devices", key),
        expected=f"its enrollment, {named(device.account_id, 'deviceEnrollments', enrollment_id)}",
        found=found,
        record=_name(device),
    )


def _entries(key: bytes, device: Device) -> Iterable[Entry]:
    account, own, fingerprint = key[:ID_BYTES], key[ID_BYTES:], fingerprint_key(device.fingerprint)
    yield Entry("devices_by_fingerprint", fingerprint, key)
    yield Entry("endpoint_names", endpoint_key(account, device.endpoint_name), fingerprint)
    for which in DeviceTime:
        prefix = device_time_prefix(account, which)
        yield Entry("devices_by_time", time_order_key(prefix, device.time(which), own))
    lapses = device.registration_expires_at()
    if lapses is not None:
        yield Entry("registration_expiry", time_key(lapses) + key)


def _name(device: Device) -> str:
    return named(device.account_id, "devices", device.id, device.fingerprint)
