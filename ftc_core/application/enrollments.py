"""The enrollment list: which devices an account waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec

from ftc_core.application.authentication import Principal
from ftc_core.application.context import ApplicationContext, WriteOptions
from ftc_core.application.fields import check_in_future
from ftc_core.domain.claim_secret import claim_verifier, read_claim_secret
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import format_enrollment_id, parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import BATCH_CREATE_MAX
from ftc_core.storage.commands import (
    AnnounceExpiries,
    Created,
    CreateEnrollments,
    DeleteEnrollment,
    ExpireEnrollments,
    Submission,
    Swept,
)

__all__ = [
    "EnrollmentDeletion",
    "NewEnrollment",
    "announce_expiries",
    "batch_row",
    "create_enrollment",
    "create_enrollments",
    "delete_enrollment",
    "expire_enrollments",
    "expiry_of",
    "get_enrollment",
    "lookup_enrollment",
]


class NewEnrollment(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment as asked for; `expires_at` None means what the policy says.

    `claim_secret` is the device's, "" for none; only with one may there be a `claim_not_before`.
    """

    account_id: str
    enrollment_identity: str
    expires_at: datetime | None = None
    claim_secret: str = ""
    claim_not_before: datetime | None = None


class EnrollmentDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """Which enrollment to remove; `revision`, if given, is the one that the caller last read."""

    account_id: str
    enrollment_id: str
    revision: int | None = None


async def create_enrollment(
    context: ApplicationContext, caller: Principal, new: NewEnrollment, options: WriteOptions
) -> Enrollment:
    """Put an identity on an account's list.

    Raises FtcError ENROLLMENT_ID_INVALID or ENROLLMENT_ID_VERSION_UNSUPPORTED; FIELD_INVALID for an expiry
    that has passed, a claim secret of the wrong form, or a window that is none; ENROLLMENT_ALREADY_EXISTS,
    whichever account holds it, without saying which;
    RESOURCE_NOT_FOUND if there is no such account.
    """
    now = context.now()
    enrollment = _read(context, new, now, field="device_enrollment")
    outcome = await context.submit(
        CreateEnrollments((enrollment,), now),
        options,
        scope=f"{caller.account_id}/CreateDeviceEnrollment",
        request=_asked(enrollment, new),
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    return outcome.enrollments[0]


@contextmanager
def batch_row(index: int) -> Iterator[None]:
    """Around work on one row of a batch: a refusal gets the row's number, from 0, as `index` metadata."""
    try:
        yield
    except FtcError as error:
        error.metadata["index"] = str(index)
        raise


async def create_enrollments(
    context: ApplicationContext, caller: Principal, rows: Sequence[NewEnrollment], options: WriteOptions
) -> tuple[Enrollment, ...]:
    """Put up to BATCH_CREATE_MAX identities on enrollment lists: all, or none.

    Raises FtcError FIELD_REQUIRED if there are no rows, FIELD_INVALID if there are too many; else what
    `create_enrollment` raises for the first bad row, its field beginning with `requests[index]` and the index
    in the metadata.
    """
    if not rows:
        raise FtcError(Reason.FIELD_REQUIRED, "requests is required", field="requests")
    if len(rows) > BATCH_CREATE_MAX:
        message = f"requests has {len(rows)} rows; at most {BATCH_CREATE_MAX} are allowed"
        raise FtcError(Reason.FIELD_INVALID, message, field="requests")
    now = context.now()
    enrollments = []
    for index, new in enumerate(rows):
        with batch_row(index):
            enrollments.append(_read(context, new, now, field=f"requests[{index}].device_enrollment"))
    try:
        outcome = await context.submit(
            CreateEnrollments(tuple(enrollments), now),
            options,
            scope=f"{caller.account_id}/BatchCreateDeviceEnrollments",
            request=[_asked(enrollment, new) for enrollment, new in zip(enrollments, rows, strict=True)],
        )
    except FtcError as error:
        if error.reason is Reason.ENROLLMENT_ALREADY_EXISTS:
            error.field = f"requests[{error.metadata['index']}].device_enrollment.enrollment_identity"
        raise
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    return outcome.enrollments


async def lookup_enrollment(
    context: ApplicationContext, account_id: str, enrollment_identity: str
) -> Enrollment:
    """The enrollment of an identity in an account.

    Raises FtcError FIELD_REQUIRED, ENROLLMENT_ID_INVALID or ENROLLMENT_ID_VERSION_UNSUPPORTED;
    RESOURCE_NOT_FOUND if it stands nowhere, or on another account's list: which of the two is not told.
    """
    fingerprint = _fingerprint(enrollment_identity, field="enrollment_identity")
    with context.store.view() as view:
        [enrollment] = view.find_enrollments([fingerprint])
    if enrollment is None or enrollment.account_id != account_id or enrollment.is_expired(context.now()):
        raise FtcError(
            Reason.RESOURCE_NOT_FOUND, "enrollment not found", resource=format_enrollment_id(fingerprint)
        )
    return enrollment


async def get_enrollment(context: ApplicationContext, account_id: str, enrollment_id: str) -> Enrollment:
    """One enrollment of an account. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        enrollment = view.get_enrollment(account_id, enrollment_id)
    if enrollment is None or enrollment.is_expired(context.now()):  # the sweep comes within seconds
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "enrollment not found")
    return enrollment


async def delete_enrollment(
    context: ApplicationContext, caller: Principal, deletion: EnrollmentDeletion, options: WriteOptions
) -> None:
    """Remove an enrollment and release its device.

    Raises FtcError RESOURCE_NOT_FOUND; ETAG_MISMATCH if it has changed since the given revision.
    """
    command = DeleteEnrollment(deletion.account_id, deletion.enrollment_id, context.now(), deletion.revision)
    await context.submit(
        command, options, scope=f"{caller.account_id}/DeleteDeviceEnrollment", request=deletion
    )


async def announce_expiries(context: ApplicationContext) -> int:
    """Tell of every unclaimed enrollment that expires soon and was not told of yet; gives how many."""
    notice, told = context.policy.expiry_notice, 0
    while notice is not None:
        now = context.now()
        outcome = await context.commit.execute(Submission(AnnounceExpiries(now, now + notice)))
        assert isinstance(outcome, Swept)  # noqa: S101 - what the port answers to this command
        told += outcome.count
        if not outcome.more:
            break
    return told


async def expire_enrollments(context: ApplicationContext) -> int:
    """Remove every unclaimed enrollment whose time has passed; gives how many."""
    removed = 0
    while True:
        outcome = await context.commit.execute(Submission(ExpireEnrollments(context.now())))
        assert isinstance(outcome, Swept)  # noqa: S101 - what the port answers to this command
        removed += outcome.count
        if not outcome.more:
            return removed


def expiry_of(
    context: ApplicationContext, asked: datetime | None, now: datetime, *, field: str
) -> datetime | None:
    """When an enrollment that is made now expires: as asked, else after the policy's time, None: never.

    Raises FtcError FIELD_INVALID if that has passed.
    """
    check_in_future(asked, now, field=field)
    ttl = context.policy.enrollment_ttl
    return now + ttl if asked is None and ttl is not None else asked


def _read(context: ApplicationContext, new: NewEnrollment, now: datetime, *, field: str) -> Enrollment:
    fingerprint = _fingerprint(new.enrollment_identity, field=f"{field}.enrollment_identity")
    expires_at = expiry_of(context, new.expires_at, now, field=f"{field}.expires_at")
    return Enrollment(
        id=context.new_id(),
        account_id=new.account_id,
        fingerprint=fingerprint,
        created_at=now,
        expires_at=expires_at,
        claim_verifier=_verifier(new.claim_secret, fingerprint, field=f"{field}.claim_secret"),
        claim_not_before=_opening(new, expires_at, field=f"{field}.claim_not_before"),
    )


def _verifier(claim_secret: str, fingerprint: bytes, *, field: str) -> bytes | None:
    return claim_verifier(read_claim_secret(claim_secret, field=field), fingerprint) if claim_secret else None


def _opening(new: NewEnrollment, expires_at: datetime | None, *, field: str) -> datetime | None:
    opens = new.claim_not_before
    if opens is not None and not new.claim_secret:
        raise FtcError(Reason.FIELD_INVALID, f"{field} needs a claim_secret", field=field)
    if opens is not None and expires_at is not None and opens >= expires_at:
        raise FtcError(Reason.FIELD_INVALID, f"{field} is not before expires_at", field=field)
    return opens


def _fingerprint(enrollment_identity: str, *, field: str) -> bytes:
    if not enrollment_identity:
        raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
    return parse_enrollment_id(enrollment_identity, field=field)


def _asked(enrollment: Enrollment, new: NewEnrollment) -> tuple[object, ...]:
    """What the caller chose of it: not an expiry that we chose, which a repeat would not get again."""
    return (
        enrollment.account_id,
        enrollment.fingerprint,
        new.expires_at,
        enrollment.claim_verifier,
        enrollment.claim_not_before,
    )
