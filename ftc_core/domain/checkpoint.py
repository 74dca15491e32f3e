"""Checkpoints of the ledger: a signed root over the heads of all histories (PRODUCT §4.3).

A head is the last entry of one device's history as of a revision. The ledger only grows and every entry has
its revision, so the heads as of a revision can be told at any time after it. The tree is that of RFC 9162
§2.1.1 over all heads, in the order of their fingerprints. Checkpoints are chained like entries, and signed
with Ed25519 (RFC 8032).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ftc_core.domain import merkle
from ftc_core.domain.ledger import GENESIS_HASH, LedgerEntry
from ftc_core.domain.ledger_disclosure import Digest, Number, ShownEntry
from ftc_core.domain.merkle import TILE_LEAVES, TreeHash

__all__ = [
    "Checkpoint",
    "Head",
    "HeadFinder",
    "HeadTree",
    "InclusionProof",
    "LedgerTile",
    "Signature",
    "SignedCheckpoint",
    "checkpoint_hash",
    "heads_at",
    "key_id",
    "proves",
    "root_of",
    "sign_checkpoint",
    "verify_signature",
]

_CONTEXT = b"ftc-ledger-checkpoint-v1\x00"
_SEQUENCE_BYTES = 8

Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
"""Of Ed25519 (RFC 8032 §5.1.6)."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last entry of a device's history, as of a checkpoint."""

    fingerprint: Digest
    sequence: Number
    hash: Digest

    def leaf(self) -> bytes:
        """Its leaf hash: the leaf is fingerprint ‖ sequence (8 bytes, big-endian) ‖ hash."""
        return merkle.leaf_hash(self.fingerprint + self.sequence.to_bytes(_SEQUENCE_BYTES, "big") + self.hash)


class LedgerTile(msgspec.Struct, frozen=True):
    """A tile of a checkpoint's tree (`merkle`): the fingerprint of its first leaf, and its root."""

    first: bytes
    root: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of the ledger as of `revision`. `number` counts from 1; `key_id` is the signer's.

    `entry_count` is the number of all entries: each head's sequence counts its history. `root_hash` is that
    of the tree over `head_count` heads, `previous_hash` the hash of the checkpoint before, GENESIS_HASH of
    the first.
    """

    number: Number
    made_at: datetime
    revision: Number
    head_count: Number
    entry_count: Number
    root_hash: Digest
    previous_hash: Digest
    key_id: Digest


class SignedCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint and its signature."""

    checkpoint: Checkpoint
    signature: Signature


class InclusionProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a head is leaf `leaf_index` (from 0) of a checkpoint's tree (RFC 9162 §2.1.3)."""

    leaf_index: Number
    path: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=64)]


class HeadFinder:
    """Finds the heads as of `revision`, of entries that come in the order of fingerprint and sequence."""

    __slots__ = ("_last", "_revision")

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self._last: LedgerEntry | ShownEntry | None = None

    def add(self, entry: LedgerEntry | ShownEntry, revision: int) -> Head | None:
        """The next entry, of this revision → the head of the history before it, if it begins another one."""
        found = None
        if self._last is not None and entry.fingerprint != self._last.fingerprint:
            found = self.finish()
        if revision <= self._revision:
            self._last = entry
        return found

    def finish(self) -> Head | None:
        """The head of the last history, if it is one as of the revision."""
        last, self._last = self._last, None
        return None if last is None else Head(last.fingerprint, last.sequence, last.hash)


def heads_at(entries: Iterable[LedgerEntry], revision: int) -> Iterator[Head]:
    """The heads as of `revision` of all these entries, which come in order."""
    finder = HeadFinder(revision)
    for entry in entries:
        if (head := finder.add(entry, entry.revision)) is not None:
            yield head
    if (head := finder.finish()) is not None:
        yield head


class HeadTree:
    """The tree over heads that come in order. Of it, only the tiles are kept: 64 bytes for 1,024 heads."""

    def __init__(self) -> None:
        self.head_count = 0
        self.entry_count = 0
        self._first = b""
        self._tile = TreeHash()
        self._tiles: list[LedgerTile] = []

    def add(self, head: Head) -> None:
        """The next head."""
        if self._tile.size == 0:
            self._first = head.fingerprint
        self._tile.add(head.leaf())
        self.head_count += 1
        self.entry_count += head.sequence
        if self._tile.size == TILE_LEAVES:
            self._end_tile()

    def finish(self) -> list[LedgerTile]:
        """All tiles, after the last head."""
        if self._tile.size:
            self._end_tile()
        return self._tiles

    def _end_tile(self) -> None:
        self._tiles.append(LedgerTile(self._first, self._tile.root()))
        self._tile = TreeHash()


def root_of(tiles: Iterable[LedgerTile]) -> bytes:
    """The root of the tree that has these tiles."""
    tree = TreeHash()
    for tile in tiles:
        tree.add(tile.root)
    return tree.root()


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> SignedCheckpoint:
    """`checkpoint.key_id` must be that of `key`."""
    return SignedCheckpoint(checkpoint, key.sign(_signed(checkpoint)))


def checkpoint_hash(checkpoint: Checkpoint | None) -> bytes:
    """What the next one has as its `previous_hash`; None: there is none before."""
    return GENESIS_HASH if checkpoint is None else hashlib.sha256(_signed(checkpoint)).digest()


def verify_signature(signed: SignedCheckpoint, public_key: bytes) -> bool:
    """Whether the raw `public_key` (32 bytes) has signed it."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.signature, _signed(signed.checkpoint))
    except (InvalidSignature, ValueError, OverflowError):  # no such key; a time that cannot be encoded
        return False
    return signed.checkpoint.key_id == key_id(public_key)


def key_id(public_key: bytes) -> bytes:
    """What a key is called: SHA-256 of the raw public key (32 bytes, RFC 8032 §5.1.5)."""
    return hashlib.sha256(public_key).digest()


def proves(checkpoint: Checkpoint, head: Head, proof: InclusionProof) -> bool:
    """Whether the checkpoint covers the head."""
    return merkle.includes(
        checkpoint.root_hash, checkpoint.head_count, proof.leaf_index, head.leaf(), proof.path
    )


def _signed(checkpoint: Checkpoint) -> bytes:
    # As the content of an entry: an array in field order, in MessagePack, is a canonical encoding.
    return _CONTEXT + msgspec.msgpack.encode(msgspec.structs.astuple(checkpoint))
