"""Events: what a watch tells, one per change, numbered by the store's revision."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

__all__ = ["Event", "EventKind"]


class EventKind(StrEnum):
    """What happened."""

    ENROLLMENT_CREATED = "ENROLLMENT_CREATED"
    ENROLLMENT_CLAIMED = "ENROLLMENT_CLAIMED"
    ENROLLMENT_DELETED = "ENROLLMENT_DELETED"
    ENROLLMENT_EXPIRING = "ENROLLMENT_EXPIRING"
    ENROLLMENT_EXPIRED = "ENROLLMENT_EXPIRED"
    ENROLLMENT_TRANSFERRED = "ENROLLMENT_TRANSFERRED"
    ENROLLMENT_DENIED = "ENROLLMENT_DENIED"
    DEVICE_CLAIMED = "DEVICE_CLAIMED"
    DEVICE_BOOTSTRAPPED = "DEVICE_BOOTSTRAPPED"
    DEVICE_REGISTERED = "DEVICE_REGISTERED"
    DEVICE_DEREGISTERED = "DEVICE_DEREGISTERED"
    DEVICE_RELEASED = "DEVICE_RELEASED"
    DEVICE_TRANSFERRED = "DEVICE_TRANSFERRED"
    DEVICE_BLOCKED = "DEVICE_BLOCKED"
    DEVICE_UNBLOCKED = "DEVICE_UNBLOCKED"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One change in one account. `revision` is assigned inside the commit, so a watch has no gaps.

    A transfer is one change in two accounts: at this very revision `account_id` gains what `from_account_id`
    loses.
    """

    revision: int
    at: datetime
    kind: EventKind
    account_id: str
    enrollment_id: str | None = None
    device_id: str | None = None
    fingerprint: bytes | None = None
    from_account_id: str | None = None
    denial_id: str | None = None
