"""Denials as accounts and operators read them; `denial_recording` writes them."""

from __future__ import annotations

from collections.abc import Callable

from ftc_core.application import filtering
from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.filtering import Filter, parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, between, read_page
from ftc_core.domain.denial import Denial, position_among_all, seen_position
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DENIALS_SWEPT_AT_ONCE
from ftc_core.storage.commands import Submission, Swept
from ftc_core.storage.denial_commands import ForgetDenials
from ftc_core.storage.port import View

__all__ = ["FILTERS", "ORDERS", "forget_denials", "get_denial", "list_denials"]

ORDERS = ("last_seen_at",)
"""What ListDeviceEnrollmentDenials orders by."""

FILTERS: filtering.Schema[Denial] = {
    "reason": filtering.choice(Reason, lambda denial: denial.reason),
    "dtls_alert": filtering.text(lambda denial: denial.alert),
    "enrollment_identity": filtering.identity(lambda denial: denial.fingerprint or b""),
    "endpoint_name": filtering.text(lambda denial: denial.endpoint_name),
    "common_name": filtering.text(lambda denial: denial.common_name),
    "issuer": filtering.text(lambda denial: denial.issuer),
    "issuer_key_id": filtering.text(lambda denial: denial.issuer_key_id.hex()),
    "trusted_certificate_id": filtering.text(lambda denial: denial.trusted_certificate_id),
    "proven": filtering.boolean(lambda denial: denial.proven),
    "orphan": filtering.boolean(lambda denial: denial.account_id is None),
    "count": filtering.number(lambda denial: denial.count),
    "first_seen_at": filtering.moment(lambda denial: denial.first_seen_at),
    "last_seen_at": filtering.moment(lambda denial: denial.last_seen_at),
}
"""What ListDeviceEnrollmentDenials filters by."""


async def get_denial(context: ApplicationContext, account_id: str | None, denial_id: str) -> Denial:
    """One denial of an account, None: of the operator. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        denial = view.get_denial(account_id, denial_id)
    if denial is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "denial not found")
    return denial


async def list_denials(
    context: ApplicationContext, account_id: str | None, page: PageRequest
) -> Page[Denial]:
    """What concerns an account, None: everybody, in order of last_seen_at.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID or ENROLLMENT_ID_… for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        if account_id is not None:
            require_account(view, account_id)
        source, count = _source(view, account_id, page, wanted)
        if wanted is not None:
            low, high = wanted.bounds("last_seen_at")
            source = between(
                source, lambda denial: denial.last_seen_at, low, high, descending=page.descending
            )
        return read_page(page, source, count, wanted)


async def forget_denials(context: ApplicationContext) -> int:
    """Remove the denials of devices that were not seen for as long as the policy says; gives how many."""
    swept = 0
    while True:
        until = context.now() - context.policy.denial_retention
        outcome = await context.commit.execute(Submission(ForgetDenials(until, DENIALS_SWEPT_AT_ONCE)))
        assert isinstance(outcome, Swept)  # noqa: S101 - what the port answers to this command
        swept += outcome.count
        if not outcome.more:
            return swept


def _source(
    view: View, account_id: str | None, page: PageRequest, wanted: Filter[Denial] | None
) -> tuple[Source[Denial], Callable[[], int]]:
    """The rows to look at, and how many they are."""
    descending = page.descending
    if account_id is None and (wanted is None or not wanted.value("orphan")):
        return (
            Source(
                lambda after, limit: view.list_all_denials(after=after, limit=limit, descending=descending),
                position_among_all,
            ),
            view.count_all_denials,
        )
    return (
        Source(
            lambda after, limit: view.list_denials(
                account_id, after=after, limit=limit, descending=descending
            ),
            seen_position,
        ),
        lambda: view.count_denials(account_id),
    )
