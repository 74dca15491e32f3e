"""Proofs that the last checkpoint covers a history, made from the tiles that are kept of its tree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ftc_core.domain.checkpoint import Checkpoint, Head, InclusionProof, LedgerTile, heads_at
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.domain.merkle import EMPTY_ROOT, TILE_LEAVES, Subtree
from ftc_core.limits import LEDGER_READ_AT_ONCE
from ftc_core.storage.port import Store

__all__ = ["LedgerProofs", "ProvenHistory", "Tile"]


class ProvenHistory(NamedTuple):
    """A history as of a checkpoint, and the proof that it ends so."""

    head: Head
    proof: InclusionProof
    entries: list[LedgerEntry]


class LedgerProofs:
    """The tree of one checkpoint, of which the tiles are held: 64 bytes for 1,024 histories."""

    def __init__(self, checkpoint: Checkpoint, tiles: list[LedgerTile]) -> None:
        self._checkpoint = checkpoint
        self._first = [tile.first for tile in tiles]
        self._roots = [tile.root for tile in tiles]
        self._above = Subtree(self._roots)

    @property
    def tile_count(self) -> int:
        """How many tiles the tree has."""
        return len(self._first)

    def tile_of(self, fingerprint: bytes) -> int:
        """The number of the tile that has it, if one has: the tree must have tiles."""
        return max(0, bisect_right(self._first, fingerprint) - 1)

    def pages(self, number: int, store: Store) -> Iterator[list[LedgerEntry]]:
        """The entries of one tile, as of the checkpoint whenever they are read: a snapshot for each page."""
        beyond = self._first[number + 1] if number + 1 < len(self._first) else None
        after = (self._first[number], 0)
        more = True
        while more:
            with store.view() as view:
                page = view.list_ledger(after=after, limit=LEDGER_READ_AT_ONCE)
            more = len(page) == LEDGER_READ_AT_ONCE and (beyond is None or page[-1].fingerprint < beyond)
            if more:
                after = (page[-1].fingerprint, page[-1].sequence)
            yield [
                entry
                for entry in page
                if (beyond is None or entry.fingerprint < beyond)
                and entry.revision <= self._checkpoint.revision
            ]

    def tile(self, number: int, entries: list[LedgerEntry]) -> Tile:
        """The tile that has these entries."""
        return Tile(entries, self._checkpoint.revision, number, tuple(self._above.path(number)))

    def find(self, store: Store, fingerprint: bytes) -> tuple[bool, ProvenHistory | None]:
        """Whether the ledger still gives the tile that would have the history; and the history, if it has."""
        root = self._checkpoint.root_hash
        if not self._first:
            return root == EMPTY_ROOT, None
        number = self.tile_of(fingerprint)
        tile = self.tile(number, [entry for page in self.pages(number, store) for entry in page])
        genuine = tile.root == self._roots[number] and self._above.root == root
        return genuine, tile.prove(fingerprint)


class Tile:
    """One tile, with its histories."""

    def __init__(
        self, entries: list[LedgerEntry], revision: int, number: int, above: tuple[bytes, ...]
    ) -> None:
        self._heads = list(heads_at(entries, revision))
        self._histories = {
            fingerprint: list(history) for fingerprint, history in groupby(entries, attrgetter("fingerprint"))
        }
        self._index = {head.fingerprint: index for index, head in enumerate(self._heads)}
        self._tree = Subtree([head.leaf() for head in self._heads])
        self._number = number
        self._above = above

    @property
    def root(self) -> bytes:
        """As the ledger gives it."""
        return self._tree.root

    @property
    def fingerprints(self) -> list[bytes]:
        """Of its histories, in order."""
        return [head.fingerprint for head in self._heads]

    def prove(self, fingerprint: bytes) -> ProvenHistory | None:
        """One of its histories; None if it is not in the checkpoint."""
        index = self._index.get(fingerprint)
        if index is None:
            return None
        path = (*self._tree.path(index), *self._above)
        proof = InclusionProof(self._number * TILE_LEAVES + index, path)
        return ProvenHistory(self._heads[index], proof, self._histories[fingerprint])
