"""Accounts, API keys and roles."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from ftc_core.domain.changes import apply_changes

__all__ = ["Account", "AccountChanges", "AccountStatus", "ApiKey", "Role"]


class AccountStatus(StrEnum):
    """Whether an account may claim devices."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


class Role(StrEnum):
    """What an API key may do: OPERATOR everything everywhere; ADMIN its account; READER reads its account."""

    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"
    READER = "READER"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A customer account. `device_quota` None means unlimited; `device_count` is kept by the store."""

    id: str
    display_name: str
    device_quota: int | None = None
    status: AccountStatus = AccountStatus.ACTIVE
    device_count: int = 0
    created_at: datetime
    updated_at: datetime
    revision: int = 0
    """Store revision of the last change; the etag."""


class AccountChanges(msgspec.Struct, frozen=True, kw_only=True):
    """New values for some fields of an account; UNSET ones stay. `device_quota` None lifts the limit."""

    display_name: str | UnsetType = UNSET
    device_quota: int | UnsetType | None = UNSET
    status: AccountStatus | UnsetType = UNSET

    def applied_to(self, account: Account) -> Account:
        """The account with these changes."""
        return apply_changes(self, account)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key. Only the keyed hash of its secret is held (32 bytes). `last_used_at` is coarse."""

    id: str
    account_id: str
    role: Role
    display_name: str = ""
    secret_hash: bytes
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revision: int = 0
