"""How large a store is, for metrics and for the question whether it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["StoreMeter", "StoreStatistics"]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """`used_bytes` of at most `map_bytes`, and the rows of each table."""

    used_bytes: int
    map_bytes: int
    entries: Mapping[str, int]


class StoreMeter(Protocol):
    """Reads a store that other processes write. From any thread."""

    def read(self) -> StoreStatistics:
        """As of now. Raises FtcError INTERNAL_1 (unavailable) or INTERNAL_5 (corrupt)."""
        ...

    def close(self) -> None:
        """Let go of it; idempotent."""
        ...
