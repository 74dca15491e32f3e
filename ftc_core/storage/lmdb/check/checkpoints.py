"""The chain of checkpoints, and the chain of the keys that sign them.

That the ledger gives the last checkpoint's tree is looked at in `ledger`; those before it are held by the
hashes that lead to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ftc_core.domain.checkpoint import Checkpoint, SignedCheckpoint, checkpoint_hash, verify_signature
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.domain.ledger_keys import KeyStatement, signer_of, what_is_wrong
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import RecordTable
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import place
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, number_key

__all__ = ["check_checkpoints", "check_ledger_keys"]

_KEYS = RecordTable(
    name="ledger_keys",
    key_bytes=NUMBER_BYTES,
    decode=records.LEDGER_KEY.decode,
    key=lambda statement: number_key(statement.number),
    label=lambda statement: f"key {statement.number}",
)
_CHECKPOINTS = RecordTable(
    name="checkpoints",
    key_bytes=NUMBER_BYTES,
    decode=records.CHECKPOINT.decode,
    key=lambda signed: number_key(signed.checkpoint.number),
    label=lambda signed: f"checkpoint {signed.checkpoint.number}",
)


def check_ledger_keys(snapshot: Snapshot) -> Iterator[Finding]:
    """Every key follows from the one before. Behind one that cannot be read, the next is not judged."""
    previous: KeyStatement | None = None
    judged = True
    for key, stored in snapshot.rows("ledger_keys"):
        statement = _KEYS.read(key, stored)
        if isinstance(statement, Finding):
            yield statement
            judged = False
            continue
        wrong = what_is_wrong(previous, statement) if judged else None
        if wrong is not None:
            yield Finding(
                kind=FindingKind.LEDGER_KEY_INVALID,
                where=place("ledger_keys", key),
                expected="a key that follows from the one before",
                found=wrong,
                record=_KEYS.label(statement),
            )
        previous, judged = statement, True


def check_checkpoints(snapshot: Snapshot) -> Iterator[Finding]:
    """Every checkpoint is signed by the key whose turn it was, and goes on from the one before."""
    statements = _statements(snapshot)
    previous: Checkpoint | None = None
    judged = True
    for key, stored in snapshot.rows("checkpoints"):
        signed = _CHECKPOINTS.read(key, stored)
        if isinstance(signed, Finding):
            yield signed
            judged = False
            continue
        for wrong in _wrong_with(snapshot, signed, previous, statements, judged=judged):
            yield Finding(
                kind=FindingKind.CHECKPOINT_INVALID,
                where=place("checkpoints", key),
                expected="a checkpoint that is signed, and goes on from the one before",
                found=wrong,
                record=_CHECKPOINTS.label(signed),
            )
        previous, judged = signed.checkpoint, True


def _wrong_with(
    snapshot: Snapshot,
    signed: SignedCheckpoint,
    previous: Checkpoint | None,
    statements: list[KeyStatement] | None,
    *,
    judged: bool,
) -> Iterator[str]:
    checkpoint = signed.checkpoint
    if statements is not None:
        signer = signer_of(statements, checkpoint.number)
        if signer is None or not verify_signature(signed, signer.public_key):
            yield "the key whose turn it was has not signed it"
    if checkpoint.revision > snapshot.revision:
        yield f"revision {checkpoint.revision}, which the store has not reached"
    if not judged:
        return
    if checkpoint.number != (previous.number if previous else 0) + 1:
        yield f"checkpoint {previous.number if previous else 0} stands before it"
    elif checkpoint.previous_hash != checkpoint_hash(previous):
        yield "it does not follow from the one before"
    if previous is not None and (
        checkpoint.revision < previous.revision or checkpoint.entry_count < previous.entry_count
    ):
        yield "it covers less than the one before"


def _statements(snapshot: Snapshot) -> list[KeyStatement] | None:
    """The keys; None if one cannot be read: it may be the one whose turn it was."""
    statements = []
    for row in snapshot.rows("ledger_keys"):
        statement = _KEYS.read(*row)
        if isinstance(statement, Finding):
            return None
        statements.append(statement)
    return statements
