"""The Merkle tree of RFC 9162 §2.1, over leaf hashes: its root, as they come, and proofs of its leaves.

A tile is 2^TILE_LEVELS leaves that stand side by side, beginning at a multiple of that number. It is a whole
subtree (the last one may be incomplete), so the root of the tree is that of a tree whose leaves are the roots
of its tiles, and a proof is one within the tile, followed by one among the tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "TILE_LEAVES",
    "Subtree",
    "TreeHash",
    "includes",
    "leaf_hash",
    "node_hash",
]

EMPTY_ROOT = hashlib.sha256().digest()
"""Of a tree without leaves (RFC 9162 §2.1.1)."""
TILE_LEVELS: Final = 10
TILE_LEAVES: Final = 2**TILE_LEVELS


def leaf_hash(data: bytes) -> bytes:
    """Of one leaf (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees side by side (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class TreeHash:
    """The root of a tree whose leaf hashes, or roots of tiles, come one by one, in O(log n) memory."""

    __slots__ = ("_complete", "size")

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []
        """Roots of the complete subtrees, from the left: as many as `size` has bits that are one."""

    def add(self, leaf: bytes) -> None:
        """The next leaf hash."""
        self._complete.append(leaf)
        self.size += 1
        pairs = self.size
        while pairs % 2 == 0:
            right = self._complete.pop()
            self._complete.append(node_hash(self._complete.pop(), right))
            pairs //= 2

    def root(self) -> bytes:
        """Of the leaves so far."""
        if not self._complete:
            return EMPTY_ROOT
        root = self._complete[-1]
        for left in reversed(self._complete[:-1]):
            root = node_hash(left, root)
        return root


class Subtree:
    """A tree of which all nodes are held, for the proofs of all its leaves."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(level := self._levels[-1]) > 1:
            paired = [node_hash(*level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
            # The last of an odd number has no sibling, and goes up as it is.
            self._levels.append(paired + level[len(level) & ~1 :])

    @property
    def root(self) -> bytes:
        """Of all leaves."""
        top = self._levels[-1]
        return top[0] if top else EMPTY_ROOT

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of leaf `index`, from 0 (RFC 9162 §2.1.3.1): siblings, from the bottom up."""
        path = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index //= 2
        return path


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves `leaf` (its hash) to be leaf `index` of the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, at, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if at % 2 or at == last:
            node = node_hash(sibling, node)
            while at % 2 == 0 and at != 0:
                at, last = at // 2, last // 2
        else:
            node = node_hash(node, sibling)
        at, last = at // 2, last // 2
    return last == 0 and node == root
