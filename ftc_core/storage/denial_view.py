"""The part of the port's `View` that is about denials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.denial import Denial

__all__ = ["DenialView"]


class DenialView(Protocol):
    """As `View`, of which this is a part. The party `account_id` None is the operator."""

    def get_denial(self, account_id: str | None, denial_id: str) -> Denial | None:
        """The party's denial, or None."""
        ...

    def list_denials(
        self, account_id: str | None, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Denial]:
        """Of one party, in order of last_seen_at, from the first past the position `after`."""
        ...

    def count_denials(self, account_id: str | None) -> int:
        """How many the party has."""
        ...

    def list_all_denials(self, *, after: str | None, limit: int, descending: bool = False) -> list[Denial]:
        """Of every party, in order of last_seen_at and party."""
        ...

    def count_all_denials(self) -> int:
        """How many all parties have."""
        ...

    def find_inactive_cas(self, subjects: Sequence[bytes], *, limit: int) -> list[TrustedCertificate]:
        """INACTIVE BOOTSTRAP CAs of any account with one of the DER `subjects`."""
        ...
