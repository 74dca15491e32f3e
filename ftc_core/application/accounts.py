"""Accounts: what an operator does with them."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal
from ftc_core.application.context import ApplicationContext, WriteOptions
from ftc_core.application.fields import check_display_name
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.domain.account import Account, AccountChanges, AccountStatus
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CreateAccount, Created, DeleteAccount, UpdateAccount

__all__ = [
    "AccountDeletion",
    "AccountUpdate",
    "NewAccount",
    "create_account",
    "delete_account",
    "get_account",
    "list_accounts",
    "update_account",
]


FILTERS: filtering.Schema[Account] = {
    "display_name": filtering.text(lambda account: account.display_name),
    "status": filtering.choice(AccountStatus, lambda account: account.status),
    "device_quota": filtering.number(lambda account: account.device_quota),
    "device_count": filtering.number(lambda account: account.device_count),
    "created_at": filtering.moment(lambda account: account.created_at),
    "updated_at": filtering.moment(lambda account: account.updated_at),
}
"""What ListAccounts filters by."""


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as asked for; `device_quota` None means without limit."""

    display_name: str
    device_quota: int | None = None
    status: AccountStatus = AccountStatus.ACTIVE


class AccountUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; `revision`, if given, is the one that the caller last read."""

    account_id: str
    changes: AccountChanges
    revision: int | None = None


class AccountDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """Which account to remove; `revision`, if given, is the one that the caller last read."""

    account_id: str
    revision: int | None = None


async def create_account(
    context: ApplicationContext, caller: Principal, new: NewAccount, options: WriteOptions
) -> Account:
    """Add an account. Raises FtcError FIELD_REQUIRED or FIELD_INVALID naming the field."""
    check_display_name(new.display_name, field="account.display_name")
    _check_quota(new.device_quota)
    now = context.now()
    account = Account(
        id=context.new_id(),
        display_name=new.display_name,
        device_quota=new.device_quota,
        status=new.status,
        created_at=now,
        updated_at=now,
    )
    outcome = await context.submit(
        CreateAccount(account), options, scope=f"{caller.account_id}/CreateAccount", request=new
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    assert outcome.account is not None  # noqa: S101
    return outcome.account


async def get_account(context: ApplicationContext, account_id: str) -> Account:
    """One account. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        account = view.get_account(account_id)
    if account is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found")
    return account


async def list_accounts(context: ApplicationContext, page: PageRequest) -> Page[Account]:
    """All accounts, in the order of their creation. Raises FtcError FIELD_INVALID for a bad filter."""
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        return read_page(
            page,
            Source(
                lambda after, limit: view.list_accounts(after=after, limit=limit, descending=page.descending)
            ),
            view.count_accounts,
            wanted,
        )


async def update_account(
    context: ApplicationContext, caller: Principal, update: AccountUpdate, options: WriteOptions
) -> Account:
    """Change an account; the next claim is judged by its new quota and status.

    A quota below the number of devices held refuses new ones and takes none away. Raises FtcError
    RESOURCE_NOT_FOUND; ETAG_MISMATCH; FIELD_REQUIRED or FIELD_INVALID naming the field.
    """
    changes = update.changes
    if changes.display_name is not UNSET:
        check_display_name(changes.display_name, field="account.display_name")
    if changes.device_quota is not UNSET:
        _check_quota(changes.device_quota)
    outcome = await context.submit(
        UpdateAccount(update.account_id, changes, context.now(), update.revision),
        options,
        scope=f"{caller.account_id}/UpdateAccount",
        request=update,
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    assert outcome.account is not None  # noqa: S101
    return outcome.account


async def delete_account(
    context: ApplicationContext, caller: Principal, deletion: AccountDeletion, options: WriteOptions
) -> None:
    """Remove an account and its API keys.

    Raises FtcError RESOURCE_NOT_FOUND; ETAG_MISMATCH; ACCOUNT_NOT_EMPTY while it has devices, enrollments or
    trusted certificates; OWN_KEY for the caller's own account: the last operator cannot lock everyone out.
    """
    if deletion.account_id == caller.account_id:
        raise FtcError(Reason.OWN_KEY, "a key cannot delete its own account")
    await context.submit(
        DeleteAccount(deletion.account_id, deletion.revision),
        options,
        scope=f"{caller.account_id}/DeleteAccount",
        request=deletion,
    )


def _check_quota(device_quota: int | None) -> None:
    if device_quota is not None and device_quota < 0:
        raise FtcError(Reason.FIELD_INVALID, "account.device_quota is negative", field="account.device_quota")
