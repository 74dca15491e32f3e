"""The export of a ledger: a document that is verified without the store (PRODUCT §4.3).

JSON, one record a line: a header, the list of the keys, the checkpoints (all of them for an operator, the
last one for an account), then each device's history in the order of fingerprints, head and proof before its
entries, and an end that the newest key has signed together with the hash of all lines before it. Bytes are
base64 (RFC 4648 §4), times RFC 3339. The document is the ledger exactly as of its last checkpoint, so every
history ends with the head that the checkpoint proves.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ftc_core.domain.checkpoint import (
    Checkpoint,
    Head,
    InclusionProof,
    Signature,
    SignedCheckpoint,
    checkpoint_hash,
)
from ftc_core.domain.ledger_disclosure import Digest, Number, ShownEntry
from ftc_core.domain.ledger_keys import KeyStatement

__all__ = [
    "CheckpointRecord",
    "EndRecord",
    "EntryRecord",
    "ExportWriter",
    "HeaderRecord",
    "HistoryRecord",
    "KeyRecord",
    "Record",
    "decode_record",
    "end_is_signed",
]

_CONTEXT = b"ftc-ledger-export-v1\x00"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class HeaderRecord(_Record, frozen=True, tag="header"):
    """The first line. `account_id` is that of the account that it was made for; None: an operator."""

    format: Literal[1]
    made_at: datetime
    account_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")] | None


class KeyRecord(_Record, frozen=True, tag="key"):
    """One of the ledger's keys, in order."""

    statement: KeyStatement


class CheckpointRecord(_Record, frozen=True, tag="checkpoint"):
    """One checkpoint, in order."""

    signed: SignedCheckpoint


class HistoryRecord(_Record, frozen=True, tag="history"):
    """The beginning of a device's history: what the last checkpoint has of it."""

    head: Head
    proof: InclusionProof


class EntryRecord(_Record, frozen=True, tag="entry"):
    """One entry of the history."""

    entry: ShownEntry


class EndRecord(_Record, frozen=True, tag="end"):
    """The last line. `digest` is the SHA-256 of all lines before it, their line feeds included."""

    histories: Number
    entries: Number
    digest: Digest
    signature: Signature


Record = HeaderRecord | KeyRecord | CheckpointRecord | HistoryRecord | EntryRecord | EndRecord

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def decode_record(line: bytes) -> Record:
    """The record in a line. Raises msgspec.MsgspecError if it cannot be one."""
    try:
        return _DECODER.decode(line)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec lets them through
        raise msgspec.DecodeError(str(error)) from error


class ExportWriter:
    """Makes the lines of one document, in the order in which its methods are called."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._histories = 0
        self._entries = 0

    def line(
        self, record: HeaderRecord | KeyRecord | CheckpointRecord | HistoryRecord | EntryRecord
    ) -> bytes:
        """One line, with its line feed."""
        self._histories += isinstance(record, HistoryRecord)
        self._entries += isinstance(record, EntryRecord)
        line = _ENCODER.encode(record) + b"\n"
        self._digest.update(line)
        return line

    def end(self, checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
        """The last line; `checkpoint` is the last one, `key` the newest."""
        digest = self._digest.digest()
        signature = key.sign(_signed(checkpoint, self._histories, self._entries, digest))
        return _ENCODER.encode(EndRecord(self._histories, self._entries, digest, signature)) + b"\n"


def end_is_signed(end: EndRecord, checkpoint: Checkpoint, public_key: bytes) -> bool:
    """Whether the raw `public_key` has signed the end of a document with this last checkpoint."""
    signed = _signed(checkpoint, end.histories, end.entries, end.digest)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(end.signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(checkpoint: Checkpoint, histories: int, entries: int, digest: bytes) -> bytes:
    content = (checkpoint_hash(checkpoint), histories, entries, digest)
    return _CONTEXT + msgspec.msgpack.encode(content)
