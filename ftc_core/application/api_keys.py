"""API keys: issuing, listing and revoking them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal, format_api_key, hash_secret, new_secret
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.application.fields import check_display_name, check_in_future
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.domain.account import ApiKey, Role
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CreateApiKey, Created, DeleteApiKey

__all__ = [
    "ApiKeyDeletion",
    "IssuedApiKey",
    "NewApiKey",
    "create_api_key",
    "delete_api_key",
    "list_api_keys",
]


FILTERS: filtering.Schema[ApiKey] = {
    "display_name": filtering.text(lambda key: key.display_name),
    "role": filtering.choice(Role, lambda key: key.role),
    "created_at": filtering.moment(lambda key: key.created_at),
    "expires_at": filtering.moment(lambda key: key.expires_at),
    "last_used_at": filtering.moment(lambda key: key.last_used_at),
}
"""What ListApiKeys filters by."""


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


class ApiKeyDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """Which key to revoke; `revision`, if given, is the one that the caller last read."""

    account_id: str
    key_id: str
    revision: int | None = None


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


async def list_api_keys(context: ApplicationContext, account_id: str, page: PageRequest) -> Page[ApiKey]:
    """An account's keys, in the order of their creation.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        require_account(view, account_id)
        return read_page(
            page,
            Source(
                lambda after, limit: view.list_api_keys(
                    account_id, after=after, limit=limit, descending=page.descending
                )
            ),
            lambda: view.count_api_keys(account_id),
            wanted,
        )


async def delete_api_key(
    context: ApplicationContext, caller: Principal, deletion: ApiKeyDeletion, options: WriteOptions
) -> None:
    """Revoke a key: the next call with it is refused.

    Raises FtcError RESOURCE_NOT_FOUND; ETAG_MISMATCH; OWN_KEY for the key that asks; PERMISSION_DENIED for an
    OPERATOR key if the caller is none.
    """
    if deletion.key_id == caller.key_id:
        raise FtcError(Reason.OWN_KEY)
    with context.store.view() as view:
        key = view.get_api_key(deletion.key_id)  # its role never changes, so it may be read beforehand
    operators = key is not None and key.account_id == deletion.account_id and key.role is Role.OPERATOR
    if operators and caller.role is not Role.OPERATOR:
        raise FtcError(Reason.PERMISSION_DENIED, "only an OPERATOR key may delete OPERATOR keys")
    await context.submit(
        DeleteApiKey(deletion.account_id, deletion.key_id, deletion.revision),
        options,
        scope=f"{caller.account_id}/DeleteApiKey",
        request=deletion,
    )
