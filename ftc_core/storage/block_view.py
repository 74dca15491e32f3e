"""The part of the port's `View` that is about blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ftc_core.domain.block import Block

__all__ = ["BlockView"]


class BlockView(Protocol):
    """As `View`, of which this is a part. The party `account_id` None is the operator."""

    def find_blocked(self, fingerprints: Sequence[bytes], account_id: str | None = None) -> frozenset[bytes]:
        """Those that the operator blocks, or the account, if one is given."""
        ...

    def list_blocks_of(self, fingerprint: bytes, account_id: str | None) -> list[Block]:
        """The blocks of one certificate: the operator's, then the account's, if one is given."""
        ...

    def list_blocks(
        self, account_id: str | None, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Block]:
        """Of one party, in order of fingerprint, from the first past the fingerprint `after` (64 hex)."""
        ...

    def count_blocks(self, account_id: str | None) -> int:
        """How many the party has; it takes a step for each."""
        ...
