"""Verifying an export, line by line, with the public key alone."""

from __future__ import annotations

import hashlib

import msgspec

from ftc_core.domain import ledger_keys
from ftc_core.domain.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    checkpoint_hash,
    key_id,
    proves,
    verify_signature,
)
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.known_checkpoint import KnownCheckpoint
from ftc_core.domain.ledger_export import (
    CheckpointRecord,
    EndRecord,
    EntryRecord,
    HeaderRecord,
    HistoryRecord,
    KeyRecord,
    Record,
    decode_record,
    end_is_signed,
)
from ftc_core.domain.ledger_keys import KeyStatement, signer_of
from ftc_core.domain.ledger_verification import Finding, HistoryCheck, LedgerFault

__all__ = ["ExportSummary", "ExportVerifier"]


class ExportSummary(msgspec.Struct, kw_only=True):
    """What a document was found to be. `account_id` None: made for an operator; `key_ids` in order.

    `pinned`: whether the caller's key was among its keys. Without a key of his own, the document vouches for
    itself alone.
    """

    account_id: str | None = None
    key_ids: list[bytes] = []
    pinned: bool = False
    checkpoint: Checkpoint | None = None
    histories: int = 0
    entries: int = 0
    findings: int = 0


_QUOTED_MAX_CHARS = 200

_ORDER = (HeaderRecord, KeyRecord, CheckpointRecord, HistoryRecord, EndRecord)
"""Of the sections of a document; entries belong to their history."""


class ExportVerifier:
    """Takes the lines of one document; tells what is wrong with it.

    `public_key` is raw (32 bytes), any one of the ledger's: the whole list of keys is verified from it.
    `known` is the checkpoint of an earlier document that was verified: this one must go on from there
    (`KnownCheckpoint`). Memory grows with the longest history alone, and with the number of keys.
    """

    def __init__(self, public_key: bytes | None = None, known: Checkpoint | None = None) -> None:
        self.summary = ExportSummary()
        self._pinned = public_key
        self._digest = hashlib.sha256()
        self._line = 0
        self._section = -1
        self._keys: list[KeyStatement] = []
        self._history: HistoryCheck | None = None
        self._next_leaf = 0
        self._last_fingerprint: bytes | None = None
        self._known = None if known is None else KnownCheckpoint(known)
        self._found: list[Finding] = []

    def feed(self, line: bytes) -> list[Finding]:
        """What is wrong, as far as it shows with this line, which has its line feed."""
        self._line += 1
        try:
            record = decode_record(line)
        except msgspec.MsgspecError as error:
            # What it quotes of the line comes from strangers, and goes to a terminal.
            quoted = ascii(str(error))[1:-1][:_QUOTED_MAX_CHARS]
            self._find(LedgerFault.DOCUMENT_MALFORMED, f"line {self._line}: {quoted}")
        else:
            self._take(record)
        self._digest.update(line)
        return self._drain()

    def finish(self) -> list[Finding]:
        """What is wrong with the end, after the last line."""
        if self._section < _ORDER.index(EndRecord):
            self._close_history()
            self._find(LedgerFault.DOCUMENT_CUT, f"the document ends at line {self._line} without its end")
        return self._drain()

    # --- records -----------------------------------------------------------------------------------

    def _take(self, record: Record) -> None:
        section = _ORDER.index(HistoryRecord if isinstance(record, EntryRecord) else type(record))
        once = isinstance(record, HeaderRecord | EndRecord) and section == self._section
        headless = self._section < 0 < section
        if section < self._section or once or headless:
            name = type(record).__name__.removesuffix("Record").lower()
            self._find(LedgerFault.DOCUMENT_MALFORMED, f"line {self._line}: a {name} does not belong here")
            return
        if self._section <= _ORDER.index(KeyRecord) < section:
            self._check_pin()
        self._section = section
        match record:
            case HeaderRecord():
                self.summary.account_id = record.account_id
            case KeyRecord():
                self._take_key(record.statement)
            case CheckpointRecord():
                self._take_checkpoint(record.signed)
            case HistoryRecord():
                self._take_history(record)
            case EntryRecord():
                self._take_entry(record)
            case EndRecord():
                self._take_end(record)

    def _take_key(self, statement: KeyStatement) -> None:
        previous = self._keys[-1] if self._keys else None
        wrong = ledger_keys.what_is_wrong(previous, statement)
        if wrong is not None:
            self._find(LedgerFault.KEY_INVALID, f"key {statement.number}: {wrong}")
            return
        self._keys.append(statement)
        self.summary.key_ids.append(statement.key_id)

    def _check_pin(self) -> None:
        self.summary.pinned = any(statement.public_key == self._pinned for statement in self._keys)
        if self._pinned is not None and not self.summary.pinned:
            detail = f"the key {key_id(self._pinned).hex()} is none of the document's keys"
            self._find(LedgerFault.KEY_NOT_PINNED, detail)

    def _take_checkpoint(self, signed: SignedCheckpoint) -> None:
        checkpoint, before = signed.checkpoint, self.summary.checkpoint
        name = f"checkpoint {checkpoint.number}"
        signer = signer_of(self._keys, checkpoint.number)
        if signer is None or not verify_signature(signed, signer.public_key):
            self._find(LedgerFault.CHECKPOINT_INVALID, f"{name}: the key whose turn it was has not signed it")
        # An account's document has the last one alone.
        follows = before is not None or self.summary.account_id is None
        if follows and (
            checkpoint.number != (before.number if before else 0) + 1
            or checkpoint.previous_hash != checkpoint_hash(before)
        ):
            self._find(LedgerFault.CHECKPOINT_UNLINKED, f"{name}: it does not follow from the one before")
        self.summary.checkpoint = checkpoint
        if self._known is not None:
            self._found += self._known.see(checkpoint)

    def _take_history(self, record: HistoryRecord) -> None:
        self._close_history()
        self.summary.histories += 1
        head, checkpoint = record.head, self.summary.checkpoint
        index = record.proof.leaf_index
        if checkpoint is None or not proves(checkpoint, head, record.proof):
            detail = "the checkpoint does not prove that the history ends so"
            self._find(LedgerFault.HISTORY_UNPROVEN, detail, head.fingerprint, head.sequence)
            self._history = HistoryCheck(head.fingerprint, None)
            if index == self._next_leaf:  # it stands for the one that it pretends to be: that is not missing
                self._next_leaf += 1
            return
        self._history = HistoryCheck(head.fingerprint, head)
        if index < self._next_leaf:
            detail = "the history stands out of order, or twice"
            self._find(LedgerFault.HISTORY_OUT_OF_ORDER, detail, head.fingerprint, head.sequence)
            return
        self._check_leaves(index, head.fingerprint)
        self._next_leaf, self._last_fingerprint = index + 1, head.fingerprint

    def _check_leaves(self, until: int, following: bytes | None) -> None:
        """An operator's document has the history of every leaf."""
        missing = until - self._next_leaf
        if missing > 0 and self.summary.account_id is None:
            places = (("after", self._last_fingerprint), ("before", following))
            where = [f"{word} {format_enrollment_id(at)}" for word, at in places if at is not None]
            detail = f"histories missing {' and '.join(where)}".rstrip() + f": {missing}"
            self._find(LedgerFault.HISTORY_MISSING, detail)

    def _take_entry(self, record: EntryRecord) -> None:
        self.summary.entries += 1
        if self._history is None:
            self._find(LedgerFault.DOCUMENT_MALFORMED, f"line {self._line}: an entry outside of a history")
            return
        self._history.add(record.entry)
        if self._known is not None:
            self._known.add(record.entry)

    def _close_history(self) -> None:
        if self._history is not None:
            self._found += self._history.finish()
            self._history = None

    def _take_end(self, end: EndRecord) -> None:
        self._close_history()
        checkpoint, summary = self.summary.checkpoint, self.summary
        if checkpoint is None or not self._keys:
            self._find(LedgerFault.CHECKPOINT_INVALID, "the document has no checkpoint, or no valid key")
            return
        self._check_leaves(checkpoint.head_count, None)
        if self._known is not None:
            self._found += self._known.finish(checkpoint, whole=summary.account_id is None)
        if not end_is_signed(end, checkpoint, self._keys[-1].public_key):
            self._find(LedgerFault.DOCUMENT_CHANGED, "the newest key has not signed the end of this document")
        elif (end.histories, end.entries) != (summary.histories, summary.entries):
            detail = (
                f"it was written with {end.histories} histories and {end.entries} entries,"
                f" and has {summary.histories} and {summary.entries}"
            )
            self._find(LedgerFault.DOCUMENT_CHANGED, detail)
        elif end.digest != self._digest.digest():
            self._find(LedgerFault.DOCUMENT_CHANGED, "it is not as it was written")

    # --- findings ----------------------------------------------------------------------------------

    def _find(
        self, fault: LedgerFault, detail: str, fingerprint: bytes | None = None, sequence: int | None = None
    ) -> None:
        self._found.append(Finding(fault, detail, fingerprint, sequence))

    def _drain(self) -> list[Finding]:
        found, self._found = self._found, []
        self.summary.findings += len(found)
        return found
