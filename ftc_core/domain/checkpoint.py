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
from ftc_core.domain.ledger_disclosure import Digest, Number

__all__ = [
    "Checkpoint",
    "Head",
    "InclusionProof",
    "Signature",
    "SignedCheckpoint",
    "checkpoint_hash",
    "heads_at",
    "key_id",
    "proves",
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


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of the ledger as of `revision`. `number` counts from 1; `key_id` is the signer's.

    `root_hash` is that of the tree over `head_count` heads, `previous_hash` the hash of the checkpoint
    before, GENESIS_HASH of the first.
    """

    number: Number
    made_at: datetime
    revision: Number
    head_count: Number
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


def heads_at(entries: Iterable[LedgerEntry], revision: int) -> Iterator[Head]:
    """The heads as of `revision`, of entries that come in the order of fingerprint and sequence."""
    last: LedgerEntry | None = None
    for entry in entries:
        if last is not None and entry.fingerprint != last.fingerprint:
            yield Head(last.fingerprint, last.sequence, last.hash)
            last = None
        if entry.revision <= revision:
            last = entry
    if last is not None:
        yield Head(last.fingerprint, last.sequence, last.hash)


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
