"""Commands on enrollments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event, EventKind
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    AnnounceExpiries,
    Created,
    CreateEnrollments,
    DeleteEnrollment,
    Done,
    ExpireEnrollments,
    Swept,
)
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.devices import release_device
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.preconditions import check_revision
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, fingerprint_key, pack_id, time_key, time_order_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = [
    "announce_expiries",
    "claim_enrollment",
    "create_each",
    "create_enrollments",
    "delete_enrollment",
    "expire_enrollments",
    "insert_enrollments",
    "remove_enrollment",
    "transfer_enrollment",
]


def create_enrollments(writer: Writer, command: CreateEnrollments) -> Created:
    """See the command."""
    created = []
    for index, given in enumerate(command.enrollments):
        writer.count(given.account_id, enrollments=1)
        enrollment = insert_enrollment(writer, given, command.now)
        if enrollment is None:
            raise _taken(given, index)
        created.append(enrollment)
    return Created(enrollments=tuple(created))


def create_each(
    writer: Writer, account_id: str, commands: Sequence[CreateEnrollments]
) -> list[Created | FtcError]:
    """Several commands of one enrollment each, all of one account: the answer to each, in order.

    Where one fails for anything but ENROLLMENT_ALREADY_EXISTS, this raises what does not say which: then they
    must be done one by one.
    """
    rows = [command.enrollments[0] for command in commands]
    inserted = insert_enrollments(writer, account_id, rows, (command.now for command in commands))
    return [
        _taken(row, 0) if enrollment is None else Created(enrollments=(enrollment,))
        for row, enrollment in zip(rows, inserted, strict=True)
    ]


def _taken(given: Enrollment, index: int) -> FtcError:
    return FtcError(
        Reason.ENROLLMENT_ALREADY_EXISTS,
        resource=format_enrollment_id(given.fingerprint),
        metadata={"index": str(index)},
    )


def delete_enrollment(writer: Writer, command: DeleteEnrollment) -> Done:
    """See the command."""
    enrollment = writer.view.get_enrollment(command.account_id, command.enrollment_id)
    if enrollment is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND)
    check_revision(enrollment.revision, command.revision)
    return Done(remove_enrollment(writer, enrollment, command.now))


def announce_expiries(writer: Writer, command: AnnounceExpiries) -> Swept:
    """See the command."""
    table = writer.tables.enrollment_notice
    due, more = writer.due(table, time_key(command.until), command.limit)
    told = 0
    for key, enrollment in zip(due, _enrollments_at(writer, due), strict=True):
        writer.delete(table, key)
        if not enrollment.is_expired(command.now):
            writer.emit_enrollment(EventKind.ENROLLMENT_EXPIRING, command.now, enrollment)
            told += 1
    return Swept(told, more)


def expire_enrollments(writer: Writer, command: ExpireEnrollments) -> Swept:
    """See the command."""
    due, more = writer.due(writer.tables.enrollment_expiry, time_key(command.now), command.limit)
    for enrollment in _enrollments_at(writer, due):
        _remove(writer, enrollment)
        writer.emit_enrollment(EventKind.ENROLLMENT_EXPIRED, command.now, enrollment)
    return Swept(len(due), more)


def insert_enrollment(writer: Writer, given: Enrollment, now: datetime) -> Enrollment | None:
    """Put `given` on its account's list; the caller counts it. None if its identity stands on any list.

    An expired enrollment in the way is removed first.
    """
    [present] = writer.view.find_enrollments((fingerprint_key(given.fingerprint),))
    if present is not None:
        if not present.is_expired(now):
            return None
        _remove(writer, present)
        writer.emit_enrollment(EventKind.ENROLLMENT_EXPIRED, now, present)
    revision = writer.emit_enrollment(EventKind.ENROLLMENT_CREATED, now, given)
    enrollment = msgspec.structs.replace(given, revision=revision)
    key = pack_id(enrollment.account_id) + pack_id(enrollment.id)
    writer.add(writer.tables.enrollments_by_account, key, enrollment.fingerprint)
    writer.put(writer.tables.enrollments_by_claim, _claim_key(enrollment))
    writer.put(writer.tables.enrollments, enrollment.fingerprint, records.ENROLLMENT.encode(enrollment))
    if enrollment.expires_at is not None:
        expiry = time_key(enrollment.expires_at) + enrollment.fingerprint
        writer.put(writer.tables.enrollment_expiry, expiry)
        writer.put(writer.tables.enrollment_notice, expiry)
    return enrollment


def insert_enrollments(
    writer: Writer, account_id: str, rows: Sequence[Enrollment], times: Iterable[datetime]
) -> list[Enrollment | None]:
    """Put `rows`, all of one account, on its list, each at its time; counts them.

    Gives what each has become, None where its identity stands on a list already. The same as
    `insert_enrollment` for each, but rows go to LMDB in few calls, and a look for each identity is saved.
    Raises FtcError RESOURCE_ALREADY_EXISTS for an ID that is taken, RESOURCE_NOT_FOUND if there is no such
    account.
    """
    account, tables = pack_id(account_id), writer.tables
    inserted: list[Enrollment | None] = []
    listed: list[tuple[bytes, bytes]] = []
    waiting: list[tuple[bytes, bytes]] = []
    expiring: list[tuple[bytes, bytes]] = []
    events: list[Event] = []

    def flush() -> None:
        writer.append_events(events)
        writer.add_many(tables.enrollments_by_account, listed)
        writer.put_many(tables.enrollments_by_claim, waiting)
        for table in (tables.enrollment_expiry, tables.enrollment_notice):
            writer.put_many(table, expiring)
        for written in (events, listed, waiting, expiring):
            written.clear()

    for given, now in zip(rows, times, strict=False):
        key, revision = fingerprint_key(given.fingerprint), writer.revision + 1
        enrollment = msgspec.structs.replace(given, revision=revision)
        if writer.put_new(tables.enrollments, key, records.ENROLLMENT.encode(enrollment)):
            writer.revision = revision
            enrollment_key = pack_id(given.id)
            listed.append((account + enrollment_key, key))
            waiting.append((time_order_key(account, given.claimed_at, enrollment_key), b""))
            if given.expires_at is not None:
                expiring.append((time_key(given.expires_at) + key, b""))
            events.append(
                Event(
                    revision=revision,
                    at=now,
                    kind=EventKind.ENROLLMENT_CREATED,
                    account_id=account_id,
                    enrollment_id=given.id,
                    device_id=given.enrolled_device_id,
                    fingerprint=key,
                )
            )
            inserted.append(enrollment)
            continue
        flush()  # events are written in order
        inserted.append(insert_enrollment(writer, given, now))
    flush()
    writer.count(account_id, enrollments=len(rows) - inserted.count(None))
    return inserted


def remove_enrollment(writer: Writer, enrollment: Enrollment, now: datetime) -> int:
    """Take `enrollment` off its list and release its device, if any; the revision of the last change."""
    _remove(writer, enrollment)
    revision = writer.emit_enrollment(EventKind.ENROLLMENT_DELETED, now, enrollment)
    if enrollment.enrolled_device_id is not None:
        device = writer.view.get_device(enrollment.account_id, enrollment.enrolled_device_id)
        if device is None:
            raise corrupt(f"enrollment {enrollment.id} names device {enrollment.enrolled_device_id}")
        revision = release_device(writer, device, now)
    return revision


def claim_enrollment(writer: Writer, before: Enrollment, claimed: Enrollment) -> None:
    """Store `claimed`, which has its device and claimed_at now, for `before`: it no longer expires."""
    tables = writer.tables
    _forget_expiry(writer, before)
    account, enrollment_key = pack_id(claimed.account_id), pack_id(claimed.id)
    writer.delete(tables.enrollments_by_claim, time_order_key(account, before.claimed_at, enrollment_key))
    writer.put(tables.enrollments_by_claim, time_order_key(account, claimed.claimed_at, enrollment_key))
    writer.put(tables.enrollments, claimed.fingerprint, records.ENROLLMENT.encode(claimed))


def transfer_enrollment(writer: Writer, before: Enrollment, account_id: str, now: datetime) -> None:
    """Move an enrollment to another account's list, under its ID; a claimed one counts as claimed `now`."""
    tables = writer.tables
    moved = msgspec.structs.replace(
        before, account_id=account_id, claimed_at=None if before.claimed_at is None else now
    )
    revision = writer.emit_enrollment(
        EventKind.ENROLLMENT_TRANSFERRED, now, moved, from_account_id=before.account_id
    )
    moved = msgspec.structs.replace(moved, revision=revision)
    writer.delete(tables.enrollments_by_account, pack_id(before.account_id) + pack_id(before.id))
    writer.delete(tables.enrollments_by_claim, _claim_key(before))
    writer.put(tables.enrollments_by_account, pack_id(account_id) + pack_id(moved.id), moved.fingerprint)
    writer.put(tables.enrollments_by_claim, _claim_key(moved))
    writer.put(tables.enrollments, moved.fingerprint, records.ENROLLMENT.encode(moved))
    writer.count(before.account_id, enrollments=-1)
    writer.count(account_id, enrollments=1)


def _enrollments_at(writer: Writer, keys: Sequence[bytes]) -> list[Enrollment]:
    """Those that `keys` of an index of expiries point to."""
    found = []
    for key, enrollment in zip(
        keys, writer.view.find_enrollments([key[NUMBER_BYTES:] for key in keys]), strict=True
    ):
        if enrollment is None:
            raise corrupt(f"an index of expiries has {key.hex()}")
        found.append(enrollment)
    return found


def _claim_key(enrollment: Enrollment) -> bytes:
    """Of `enrollments_by_claim`."""
    return time_order_key(pack_id(enrollment.account_id), enrollment.claimed_at, pack_id(enrollment.id))


def _forget_expiry(writer: Writer, enrollment: Enrollment) -> None:
    if enrollment.expires_at is not None:
        expiry = time_key(enrollment.expires_at) + enrollment.fingerprint
        writer.delete(writer.tables.enrollment_expiry, expiry)
        writer.delete(writer.tables.enrollment_notice, expiry)


def _remove(writer: Writer, enrollment: Enrollment) -> None:
    tables = writer.tables
    writer.delete(tables.enrollments, enrollment.fingerprint)
    writer.delete(tables.enrollments_by_account, pack_id(enrollment.account_id) + pack_id(enrollment.id))
    writer.delete(tables.enrollments_by_claim, _claim_key(enrollment))
    _forget_expiry(writer, enrollment)
    writer.count(enrollment.account_id, enrollments=-1)
