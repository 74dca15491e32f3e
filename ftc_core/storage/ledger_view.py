"""The part of the port's `View` that is about the ledger."""

from __future__ import annotations

from typing import Protocol

from ftc_core.domain.checkpoint import LedgerTile, SignedCheckpoint
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.domain.ledger_keys import KeyStatement

__all__ = ["LedgerView"]


class LedgerView(Protocol):
    """As `View`, of which this is a part. Entries are never changed or removed, so pages of them that are
    read in several snapshots agree: what is new has a higher revision.
    """

    def ledger(self, fingerprint: bytes) -> list[LedgerEntry]:
        """The whole ownership history of one certificate, oldest first."""
        ...

    def list_ledger(self, *, after: tuple[bytes, int] | None, limit: int) -> list[LedgerEntry]:
        """Of all certificates, in order of fingerprint and sequence, from the first past those `after`."""
        ...

    def list_owned(self, account_id: str, *, after: bytes | None, limit: int) -> list[bytes]:
        """Fingerprints of all that the account owns or has owned, in order, from the first past `after`."""
        ...

    def count_ledger(self) -> int:
        """How many entries there are."""
        ...

    def last_checkpoint(self) -> SignedCheckpoint | None:
        """The newest; None if there is none yet."""
        ...

    def list_checkpoints(self, *, after: int, limit: int) -> list[SignedCheckpoint]:
        """In order, from the first with a number above `after`."""
        ...

    def list_ledger_tiles(self) -> list[LedgerTile]:
        """Of the newest checkpoint's tree, in order."""
        ...

    def list_ledger_keys(self) -> list[KeyStatement]:
        """All, in order."""
        ...
