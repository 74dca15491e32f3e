"""Enrollments: the identities that an account waits for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.ordering import position, sortable_time

__all__ = ["Enrollment", "claim_position"]


class Enrollment(msgspec.Struct, frozen=True, kw_only=True):
    """One identity on one account's enrollment list; there is at most one per fingerprint, system-wide.

    With `claim_verifier` (32 bytes, `domain.claim_secret`) a device must prove its claim secret to be
    claimed, and not before `claim_not_before`.
    """

    id: str
    account_id: str
    fingerprint: bytes
    created_at: datetime
    expires_at: datetime | None = None
    claimed_at: datetime | None = None
    enrolled_device_id: str | None = None
    claim_verifier: bytes | None = None
    claim_not_before: datetime | None = None
    revision: int = 0

    def is_expired(self, now: datetime) -> bool:
        """Whether the claim window closed before a device came; a claimed enrollment never expires."""
        return self.claimed_at is None and self.expires_at is not None and self.expires_at <= now


def claim_position(enrollment: Enrollment) -> str:
    """Where it stands in an order by claimed_at (`ordering`): those that wait are before all others."""
    return position(sortable_time(enrollment.claimed_at), enrollment.id)
