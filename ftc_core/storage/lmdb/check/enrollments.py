"""Enrollments, and the device that each claimed one names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, named, place
from ftc_core.storage.lmdb.tables import (
    FINGERPRINT_BYTES,
    ID_BYTES,
    NUMBER_BYTES,
    fingerprint_key,
    pack_id,
    time_key,
    time_order_key,
)

__all__ = ["check_enrollments"]

_VERIFIER_BYTES = 32


def check_enrollments(snapshot: Snapshot) -> Iterator[Finding]:
    """Every enrollment, its indexes, and that its device is this account's, by this identity."""

    def inspect(key: bytes, enrollment: Enrollment) -> Iterator[Finding]:
        if enrollment.claim_verifier is not None and len(enrollment.claim_verifier) != _VERIFIER_BYTES:
            found = f"{len(enrollment.claim_verifier)} bytes"
            yield wrong(key, enrollment, f"a claim verifier of {_VERIFIER_BYTES} bytes", found)
        if (enrollment.claimed_at is None) is not (enrollment.enrolled_device_id is None):
            found = f"claimed_at {enrollment.claimed_at}, enrolled_device_id {enrollment.enrolled_device_id}"
            yield wrong(key, enrollment, "both claimed_at and enrolled_device_id, or neither", found)
        elif enrollment.enrolled_device_id is not None:
            yield from _device(snapshot, enrollment, enrollment.enrolled_device_id)

    def wrong(key: bytes, enrollment: Enrollment, expected: str, found: str) -> Finding:
        return impossible(place("enrollments", key), _name(enrollment), expected, found)

    def by_listing(_: Snapshot, key: bytes, value: bytes) -> bytes:
        return value

    def listing(key: bytes, value: bytes) -> tuple[str, bytes]:
        return "enrollments_by_account", key[:ID_BYTES] + key[-ID_BYTES:]

    def by_claim(_: Snapshot, key: bytes, value: bytes) -> bytes | None:
        return snapshot.get(*listing(key, value))

    def by_time(_: Snapshot, key: bytes, value: bytes) -> bytes:
        return key[NUMBER_BYTES:]

    yield from check_records(
        snapshot,
        RecordTable(
            name="enrollments",
            key_bytes=FINGERPRINT_BYTES,
            decode=records.ENROLLMENT.decode,
            key=lambda enrollment: fingerprint_key(enrollment.fingerprint),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            entries=_entries,
            inspect=inspect,
            indexes={
                "enrollments_by_account": Index(2 * ID_BYTES, by_listing),
                "enrollments_by_claim": Index(2 * ID_BYTES + NUMBER_BYTES, by_claim, listing),
                "enrollment_expiry": Index(NUMBER_BYTES + FINGERPRINT_BYTES, by_time),
                "enrollment_notice": Index(NUMBER_BYTES + FINGERPRINT_BYTES, by_time),
            },
        ),
    )


def _device(snapshot: Snapshot, enrollment: Enrollment, device_id: str) -> Iterator[Finding]:
    """That the device is there, and has this certificate; what it says of its enrollment is its own check."""
    stored = snapshot.get("devices", pack_id(enrollment.account_id) + pack_id(device_id))
    found = "no such device"
    if stored is not None:
        try:
            certificate = records.DEVICE.decode(stored).fingerprint
        except FtcError:
            return  # told by check_devices
        if certificate == enrollment.fingerprint:
            return
        found = f"a device with the certificate {certificate.hex()}"
    yield Finding(
        kind=FindingKind.OWNERSHIP_CONTRADICTED,
        where=place("enrollments", enrollment.fingerprint),
        expected=f"its device, {named(enrollment.account_id, 'devices', device_id)}",
        found=found,
        record=_name(enrollment),
    )


def _entries(fingerprint: bytes, enrollment: Enrollment) -> Iterable[Entry]:
    account, own = pack_id(enrollment.account_id), pack_id(enrollment.id)
    yield Entry("enrollments_by_account", account + own, fingerprint)
    yield Entry("enrollments_by_claim", time_order_key(account, enrollment.claimed_at, own))
    if enrollment.expires_at is not None and enrollment.claimed_at is None:
        expiry = time_key(enrollment.expires_at) + fingerprint
        yield Entry("enrollment_expiry", expiry)
        yield Entry("enrollment_notice", expiry, required=False)  # it goes once the expiry is announced


def _name(enrollment: Enrollment) -> str:
    return named(enrollment.account_id, "deviceEnrollments", enrollment.id, enrollment.fingerprint)
