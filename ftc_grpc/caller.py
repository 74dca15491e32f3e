"""The caller of the present RPC, and which account his request is about."""

from __future__ import annotations

from contextvars import ContextVar

from ftc_core.application.authentication import Principal
from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_grpc.resource_names import ACCOUNT, NamePattern

__all__ = [
    "ANY_ACCOUNT",
    "caller_or_none",
    "current_caller",
    "named_resource",
    "own_account",
    "parent_account",
    "parent_accounts",
    "set_caller",
    "viewing_account",
]

ANY_ACCOUNT = "accounts/-"
"""The parent that stands for every account."""

_CALLER: ContextVar[Principal] = ContextVar("caller")


def set_caller(caller: Principal) -> None:
    """Bind the caller for the rest of this RPC: gRPC runs each in a task, hence a context, of its own."""
    _CALLER.set(caller)


def current_caller() -> Principal:
    """The authenticated caller. Raises LookupError in a method that needs no key."""
    return _CALLER.get()


def caller_or_none() -> Principal | None:
    """The authenticated caller, if there is one."""
    return _CALLER.get(None)


def own_account(*, field: str) -> str:
    """The ID of the caller's own account, for a request that leaves `field` empty.

    Raises FtcError FIELD_REQUIRED if he has none: an operator whose certificate is mapped to no account.
    """
    account_id = current_caller().account_id
    if not account_id:
        raise FtcError(
            Reason.FIELD_REQUIRED, f"{field} is required: the caller has no account of his own", field=field
        )
    return account_id


def parent_account(parent: str) -> str:
    """The ID of the account that `parent` names; the caller's own if it is empty.

    Raises FtcError RESOURCE_NAME_INVALID; RESOURCE_NOT_FOUND if it is not the caller's to see; FIELD_REQUIRED
    if it is empty and the caller has no account of his own.
    """
    caller = current_caller()
    if not parent:
        return own_account(field="parent")
    (account_id,) = ACCOUNT.parse(parent, field="parent")
    _check_sight(caller, account_id)
    return account_id


def parent_accounts(parent: str) -> str | None:
    """As `parent_account`; None for `accounts/-`, all accounts (AIP-159), from a caller who may see them.

    For any other caller that is his own account: the only one whose resources he may see.
    """
    if parent != ANY_ACCOUNT:
        return parent_account(parent)
    caller = current_caller()
    return None if caller.role is Role.OPERATOR else caller.account_id


def viewing_account(parent: str) -> str | None:
    """The account whose view a request takes: as `parent_accounts`, but an operator's own view is of all."""
    caller = current_caller()
    return None if not parent and caller.role is Role.OPERATOR else parent_accounts(parent)


def named_resource(name: str, pattern: NamePattern, *, field: str = "name") -> tuple[str, ...]:
    """The IDs in the name that a request gives in `field`, the account's first.

    Raises FtcError FIELD_REQUIRED, RESOURCE_NAME_INVALID; RESOURCE_NOT_FOUND if it is not the caller's to
    see: another account's resource and one that does not exist look alike.
    """
    ids = pattern.parse(name, field=field)
    _check_sight(current_caller(), ids[0])
    return ids


def _check_sight(caller: Principal, account_id: str) -> None:
    if caller.role is not Role.OPERATOR and account_id != caller.account_id:
        raise FtcError(Reason.RESOURCE_NOT_FOUND)
