"""What every use case works with: the store, the group commit, the clock and fresh IDs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import uuid6

from ftc_core.application.policy import Policy
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import Command, IdempotencyKey, Outcome, Submission
from ftc_core.storage.port import Store, View

__all__ = [
    "ApplicationContext",
    "Committer",
    "WriteOptions",
    "new_id",
    "require_account",
    "utc_now",
]


class Committer(Protocol):
    """Group commit: many callers' submissions in one durable transaction."""

    async def execute(self, submission: Submission) -> Outcome:
        """The outcome, once it is durable. Raises FtcError if refused or if the commit failed."""
        ...


def utc_now() -> datetime:
    """Wall time, aware."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh identifier: UUIDv7 (RFC 9562 §5.7) as 32 lower-case hex characters, later ones sort higher."""
    return uuid6.uuid7().hex


@dataclass(frozen=True, slots=True)
class ApplicationContext:
    """The surroundings of a use case.

    `policy` is what the operator has set. `pepper` is the key (32 bytes) under which API key secrets are
    hashed. `now` gives aware UTC time.
    """

    store: Store
    commit: Committer
    pepper: bytes = field(repr=False)
    now: Callable[[], datetime] = utc_now
    new_id: Callable[[], str] = new_id
    policy: Policy = field(default_factory=Policy)

    async def submit(
        self, command: Command, options: WriteOptions, *, scope: str, request: object
    ) -> Outcome:
        """Commit `command`, once per `options.request_id`.

        `scope` says whose request this is and which method, so that callers' IDs never meet; `request` is
        what the caller asked for, without anything that we chose, and tells a repeat from a reuse.
        """
        idempotency = None
        if options.request_id:
            digest = hashlib.sha256(msgspec.msgpack.encode(request)).digest()
            idempotency = IdempotencyKey(scope, options.request_id, digest, self.now())
        return await self.commit.execute(Submission(command, idempotency, options.validate_only))


class WriteOptions(msgspec.Struct, frozen=True):
    """How to write: at most once per `request_id` (a UUID, or ""); or only judging, with `validate_only`."""

    request_id: str = ""
    validate_only: bool = False


def require_account(view: View, account_id: str) -> None:
    """Raises FtcError RESOURCE_NOT_FOUND if there is no such account."""
    if view.get_account(account_id) is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found", resource=f"accounts/{account_id}")
