"""The lists of enrollments: an account's, and those of all accounts for operators."""

from __future__ import annotations

from enum import StrEnum

from ftc_core.application import filtering
from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.filtering import Filter, parse_filter
from ftc_core.application.listing import (
    Page,
    PageRequest,
    Source,
    between,
    of_all_accounts,
    read_page,
    single,
)
from ftc_core.domain.enrollment import Enrollment, claim_position
from ftc_core.storage.port import View

__all__ = ["FILTERS", "ORDERS", "ORDERS_OF_ALL", "EnrollmentState", "list_enrollments"]


class EnrollmentState(StrEnum):
    """Where an enrollment stands: the account waits for the device, or has claimed it."""

    WAITING = "WAITING"
    CLAIMED = "CLAIMED"


FILTERS: filtering.Schema[Enrollment] = {
    "account_id": filtering.text(lambda enrollment: enrollment.account_id),
    "state": filtering.choice(
        EnrollmentState,
        lambda enrollment: (
            EnrollmentState.WAITING if enrollment.claimed_at is None else EnrollmentState.CLAIMED
        ),
    ),
    "enrollment_identity": filtering.identity(lambda enrollment: enrollment.fingerprint),
    "enrolled_device_id": filtering.text(lambda enrollment: enrollment.enrolled_device_id),
    "created_at": filtering.moment(lambda enrollment: enrollment.created_at),
    "expires_at": filtering.moment(lambda enrollment: enrollment.expires_at),
    "claimed_at": filtering.moment(lambda enrollment: enrollment.claimed_at),
}
"""What ListDeviceEnrollments filters by."""

ORDERS = ("id", "claimed_at")
"""What ListDeviceEnrollments orders by; there is no index by identity (docs/filtering.md says why)."""

ORDERS_OF_ALL = ("account_id",)
"""What it orders by if it lists the enrollments of all accounts: by account, and by ID in each."""


async def list_enrollments(
    context: ApplicationContext, account_id: str | None, page: PageRequest
) -> Page[Enrollment]:
    """An account's enrollments, in one of ORDERS; with None those of all accounts, in one of ORDERS_OF_ALL.

    Expired ones that the sweep has not met yet are left out. Raises FtcError RESOURCE_NOT_FOUND;
    FIELD_INVALID or ENROLLMENT_ID_… for a bad filter.
    """
    wanted, now = parse_filter(page.filter, FILTERS), context.now()

    def standing(enrollment: Enrollment) -> bool:
        return not enrollment.is_expired(now) and (wanted is None or wanted(enrollment))

    with context.store.view() as view:
        if account_id is None:
            return read_page(page, _source_of_all(view, page, wanted), view.count_all_enrollments, standing)
        require_account(view, account_id)
        return read_page(
            page,
            _source(view, account_id, page, wanted),
            lambda: view.count_enrollments(account_id),
            standing,
        )


def _source_of_all(view: View, page: PageRequest, wanted: Filter[Enrollment] | None) -> Source[Enrollment]:
    """The rows of all accounts to look at."""
    if wanted is not None and (fingerprint := wanted.value("enrollment_identity")) is not None:
        return single(view.find_enrollments([fingerprint])[0])
    return of_all_accounts(
        view.list_enrollments,
        view.list_all_enrollments,
        None if wanted is None else wanted.value("account_id"),
        descending=page.descending,
    )


def _source(
    view: View, account_id: str, page: PageRequest, wanted: Filter[Enrollment] | None
) -> Source[Enrollment]:
    """The rows to look at: by the index that leaves out most of what is not wanted."""
    descending = page.descending
    if wanted is not None:
        fingerprint = wanted.value("enrollment_identity")
        if device_id := wanted.value("enrolled_device_id"):
            device = view.get_device(account_id, device_id)
            fingerprint = b"" if device is None else device.fingerprint
        if fingerprint is not None:
            [found] = view.find_enrollments([fingerprint])
            return single(None if found is None or found.account_id != account_id else found)
        if wanted.value("state") is EnrollmentState.WAITING:  # they are all alike in claimed_at: by ID
            return Source(
                lambda after, limit: view.list_waiting_enrollments(
                    account_id, after=after, limit=limit, descending=descending
                )
            )
    if page.order == "id":
        return Source(
            lambda after, limit: view.list_enrollments(
                account_id, after=after, limit=limit, descending=descending
            )
        )
    claimed = wanted is not None and (
        wanted.value("state") is EnrollmentState.CLAIMED or wanted.presence("claimed_at")
    )
    by_claim = Source(
        lambda after, limit: view.list_enrollments_by_claim(
            account_id, after=after, limit=limit, descending=descending, with_waiting=not claimed
        ),
        claim_position,
    )
    low, high = (None, None) if wanted is None else wanted.bounds("claimed_at")
    return between(by_claim, lambda enrollment: enrollment.claimed_at, low, high, descending=descending)
