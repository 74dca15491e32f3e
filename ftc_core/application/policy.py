"""What the operator has set for all accounts, as far as use cases go by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ftc_core.settings import Settings

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`enrollment_ttl` is for enrollments whose creator names no expiry, None: they stay for ever.

    `expiry_notice` is how long before its expiry an enrollment is announced to watchers, None: not at all.
    Of an account's operations, `operations_max` are kept; those completed are for `operation_retention`.
    A denial is kept for `denial_retention` after its device was last seen.
    """

    enrollment_ttl: timedelta | None = None
    expiry_notice: timedelta | None = timedelta(hours=24)
    operation_retention: timedelta = timedelta(days=7)
    operations_max: int = 100
    denial_retention: timedelta = timedelta(days=30)

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """As the settings have it."""
        return cls(
            enrollment_ttl=_seconds(settings.enrollment_ttl_s),
            expiry_notice=_seconds(settings.enrollment_expiry_notice_s),
            operation_retention=timedelta(days=settings.operation_retention_days),
            operations_max=settings.operations_max,
            denial_retention=timedelta(days=settings.denial_retention_days),
        )


def _seconds(count: int) -> timedelta | None:
    return timedelta(seconds=count) if count else None
