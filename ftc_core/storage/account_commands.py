"""The store's commands on accounts and API keys; `commands` lists them with the others."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.account import Account, AccountChanges, ApiKey

__all__ = [
    "CreateAccount",
    "CreateApiKey",
    "DeleteAccount",
    "DeleteApiKey",
    "RecordApiKeyUses",
    "UpdateAccount",
]


class CreateAccount(msgspec.Struct, frozen=True, tag=True):
    """Add an account → Created(account). RESOURCE_ALREADY_EXISTS if its ID is taken."""

    account: Account


class UpdateAccount(msgspec.Struct, frozen=True, tag=True):
    """Change the given fields of an account → Created(account); the next claim is judged by them.

    RESOURCE_NOT_FOUND; ETAG_MISMATCH if `revision` is given and differs.
    """

    account_id: str
    changes: AccountChanges
    now: datetime
    revision: int | None = None


class DeleteAccount(msgspec.Struct, frozen=True, tag=True):
    """Remove an account with its API keys and its blocks → Done.

    RESOURCE_NOT_FOUND; ETAG_MISMATCH if `revision` is given and differs; ACCOUNT_NOT_EMPTY while it has
    devices, enrollments or trusted certificates.
    """

    account_id: str
    revision: int | None = None


class CreateApiKey(msgspec.Struct, frozen=True, tag=True):
    """Add an API key → Created(key). RESOURCE_NOT_FOUND if its account does not exist."""

    key: ApiKey


class DeleteApiKey(msgspec.Struct, frozen=True, tag=True):
    """Remove an API key → Done. RESOURCE_NOT_FOUND if the account has no such key; ETAG_MISMATCH."""

    account_id: str
    key_id: str
    revision: int | None = None


class RecordApiKeyUses(msgspec.Struct, frozen=True, tag=True):
    """Note when API keys were last used → Done. A key that is gone is passed over.

    `uses` maps a key's ID to the time. Neither the key's revision nor the store's rises: being used is no
    change of a key, and must not break its etag.
    """

    uses: dict[str, datetime]
