"""A snapshot of a whole store, to be read by record and copied by byte, beside whoever uses it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from ftc_core.storage.port import View

__all__ = ["StoreCopy", "StoreKind", "StoreSnapshot"]


class StoreCopy(Protocol):
    """A copy under way, of `size` bytes: the file that a store made of it has."""

    @property
    def size(self) -> int:
        """In bytes, known before they come."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next bytes; fewer than `size` are the last. Raises FtcError INTERNAL_1 or INTERNAL_5."""
        ...


class StoreKind(NamedTuple):
    """What decides which programs can open a store: engine with version, and the format of its tables."""

    engine: str
    format: str


class StoreSnapshot(Protocol):
    """The store as of one moment. While it is held, the store reuses no page that was freed since."""

    kind: StoreKind
    view: View

    def copy(self) -> AbstractContextManager[StoreCopy]:
        """A copy, without free pages; `view` must not be used meanwhile."""
        ...
