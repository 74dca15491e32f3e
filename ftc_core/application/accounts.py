"""Accounts and their API keys: what an operator does with them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.application.authentication import Principal, format_api_key, hash_secret, new_secret
from ftc_core.application.context import ApplicationContext, WriteOptions
from ftc_core.application.fields import check_display_name, check_in_future
from ftc_core.application.listing import Page, PageRequest, read_page
from ftc_core.domain.account import Account, AccountStatus, ApiKey, Role
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import CreateAccount, CreateApiKey, Created

__all__ = [
    "IssuedApiKey",
    "NewAccount",
    "NewApiKey",
    "create_account",
    "create_api_key",
    "get_account",
    "list_accounts",
]


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as asked for; `device_quota` None means without limit."""

    display_name: str
    device_quota: int | None = None
    status: AccountStatus = AccountStatus.ACTIVE


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as asked for; `expires_at` None means that it works until it is deleted."""

    account_id: str
    role: Role
    display_name: str = ""
    expires_at: datetime | None = None


class IssuedApiKey(msgspec.Struct, frozen=True):
    """The key as stored, and the whole key as its bearer sends it.

    `secret` is None where no fresh secret went into the store: for a repeat of an earlier request, whose
    secret nobody keeps, and for a request that was only validated.
    """

    key: ApiKey
    secret: str | None


async def create_account(
    context: ApplicationContext, caller: Principal, new: NewAccount, options: WriteOptions
) -> Account:
    """Add an account. Raises FtcError FIELD_REQUIRED or FIELD_INVALID naming the field."""
    check_display_name(new.display_name, field="account.display_name")
    if new.device_quota is not None and new.device_quota < 0:
        raise FtcError(Reason.FIELD_INVALID, "account.device_quota is negative", field="account.device_quota")
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
    """All accounts, in the order of their creation."""
    with context.store.view() as view:
        return read_page(
            page, lambda after, limit: view.list_accounts(after=after, limit=limit), view.count_accounts
        )


async def create_api_key(
    context: ApplicationContext, caller: Principal, new: NewApiKey, options: WriteOptions
) -> IssuedApiKey:
    """Add a key to an account.

    Raises FtcError PERMISSION_DENIED for an OPERATOR key if the caller is none: nobody hands out more than
    he has; FIELD_INVALID naming the field; RESOURCE_NOT_FOUND if there is no such account.
    """
    if new.role is Role.OPERATOR and caller.role is not Role.OPERATOR:
        raise FtcError(Reason.PERMISSION_DENIED, "only an OPERATOR key may create OPERATOR keys")
    check_display_name(new.display_name, field="api_key.display_name", required=False)
    now = context.now()
    check_in_future(new.expires_at, now, field="api_key.expires_at")
    secret = new_secret()
    key = ApiKey(
        id=context.new_id(),
        account_id=new.account_id,
        role=new.role,
        display_name=new.display_name,
        secret_hash=hash_secret(secret, context.pepper),
        created_at=now,
        expires_at=new.expires_at,
    )
    outcome = await context.submit(
        CreateApiKey(key), options, scope=f"{caller.account_id}/CreateApiKey", request=new
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    assert outcome.key is not None  # noqa: S101
    fresh = outcome.key.id == key.id and not options.validate_only
    return IssuedApiKey(outcome.key, format_api_key(key.id, secret) if fresh else None)
