"""Ledgers for tests: devices with histories, their checkpoint, and documents made of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ftc_core.domain.checkpoint import (
    Checkpoint,
    Head,
    InclusionProof,
    SignedCheckpoint,
    checkpoint_hash,
    heads_at,
    key_id,
    sign_checkpoint,
)
from ftc_core.domain.export_verifier import ExportVerifier
from ftc_core.domain.ledger import SALTS_BYTES, LedgerEntry, LedgerKind, append
from ftc_core.domain.ledger_disclosure import disclose
from ftc_core.domain.ledger_export import (
    CheckpointRecord,
    EntryRecord,
    ExportWriter,
    HeaderRecord,
    HistoryRecord,
    KeyRecord,
)
from ftc_core.domain.ledger_keys import KeyStatement, make_statement, public_bytes
from ftc_core.domain.ledger_verification import Finding
from ftc_core.domain.merkle import Subtree

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ACCOUNTS = tuple(letter * 32 for letter in "abc")


def signing_key(number: int) -> Ed25519PrivateKey:
    """The same in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"key %d" % number).digest())


def fingerprint(number: int) -> bytes:
    return hashlib.sha256(b"device %d" % number).digest()


class Ledger:
    """Histories, grown by verbs."""

    def __init__(self, seed: int = 0) -> None:
        self.histories: dict[bytes, list[LedgerEntry]] = {}
        self.revision = 0
        self._random = random.Random(seed)

    def claim(self, device: int, account: str) -> None:
        self._append(device, LedgerKind.CLAIMED, account, device_id=f"{self.revision:032x}")

    def release(self, device: int) -> None:
        last = self.histories[fingerprint(device)][-1]
        self._append(device, LedgerKind.RELEASED, last.account_id, device_id=last.device_id)

    def transfer(self, device: int, receiver: str) -> None:
        last = self.histories[fingerprint(device)][-1]
        self._append(
            device,
            LedgerKind.TRANSFERRED,
            receiver,
            device_id=last.device_id,
            from_account_id=last.account_id,
            transfer_id=f"{self.revision:032x}",
        )

    def entries(self) -> list[LedgerEntry]:
        """All, as the store has them."""
        return [entry for key in sorted(self.histories) for entry in self.histories[key]]

    def _append(
        self,
        device: int,
        kind: LedgerKind,
        account: str,
        *,
        device_id: str,
        from_account_id: str | None = None,
        transfer_id: str | None = None,
    ) -> None:
        self.revision += 1
        history = self.histories.setdefault(fingerprint(device), [])
        history.append(
            append(
                history[-1] if history else None,
                fingerprint=fingerprint(device),
                kind=kind,
                account_id=account,
                device_id=device_id,
                at=NOW + timedelta(seconds=self.revision),
                revision=self.revision,
                salts=self._random.randbytes(SALTS_BYTES),
                from_account_id=from_account_id,
                transfer_id=transfer_id,
            )
        )


def some_ledger(devices: int = 5) -> Ledger:
    """Each device was claimed, transferred, released and claimed again, as far as its number goes."""
    ledger = Ledger()
    a, b, c = ACCOUNTS
    for device in range(devices):
        ledger.claim(device, a)
        if device % 5 > 0:
            ledger.transfer(device, b)
        if device % 5 > 1:
            ledger.release(device)
        if device % 5 > 2:
            ledger.claim(device, c)
            ledger.transfer(device, a)
    return ledger


def keys(count: int = 1, *, first_checkpoints: Sequence[int] = (1, 2, 3)) -> list[KeyStatement]:
    """Statements of the first `count` signing keys."""
    statements: list[KeyStatement] = []
    for number in range(count):
        statements.append(
            make_statement(
                statements[-1] if statements else None,
                signing_key(number),
                signing_key(max(0, number - 1)),
                made_at=NOW,
                first_checkpoint=first_checkpoints[number],
            )
        )
    return statements


def checkpoint_of(
    heads: Sequence[Head], revision: int, *, previous: Checkpoint | None = None, key: int = 0
) -> SignedCheckpoint:
    """Over these heads, signed with key number `key`."""
    checkpoint = Checkpoint(
        number=1 if previous is None else previous.number + 1,
        made_at=NOW,
        revision=revision,
        head_count=len(heads),
        entry_count=sum(head.sequence for head in heads),
        root_hash=Subtree([head.leaf() for head in heads]).root,
        previous_hash=checkpoint_hash(previous),
        key_id=key_id(public_bytes(signing_key(key))),
    )
    return sign_checkpoint(checkpoint, signing_key(key))


def export(
    ledger: Ledger,
    *,
    account_id: str | None = None,
    statements: Sequence[KeyStatement] | None = None,
    checkpoints: Sequence[SignedCheckpoint] | None = None,
) -> list[bytes]:
    """The lines of a document, made here by other means than those of the application."""
    statements = keys() if statements is None else statements
    heads = list(heads_at(ledger.entries(), ledger.revision))
    if checkpoints is None:
        checkpoints = [checkpoint_of(heads, ledger.revision)]
    tree = Subtree([head.leaf() for head in heads])
    writer = ExportWriter()
    lines = [writer.line(HeaderRecord(1, NOW, account_id))]
    lines += [writer.line(KeyRecord(statement)) for statement in statements]
    lines += [writer.line(CheckpointRecord(signed)) for signed in checkpoints]
    for index, head in enumerate(heads):
        shown = disclose(ledger.histories[head.fingerprint], account_id)
        if shown:
            proof = InclusionProof(index, tuple(tree.path(index)))
            lines.append(writer.line(HistoryRecord(head, proof)))
            lines += [writer.line(EntryRecord(entry)) for entry in shown]
    return [*lines, writer.end(checkpoints[-1].checkpoint, signing_key(len(statements) - 1))]


def verify(lines: Iterable[bytes], public_key: bytes | None = None) -> list[Finding]:
    """All that is found in a document."""
    verifier = ExportVerifier(public_key)
    found = [finding for line in lines for finding in verifier.feed(line)]
    found += verifier.finish()
    assert verifier.summary.findings == len(found)
    return found
