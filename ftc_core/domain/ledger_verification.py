"""Verifying one device's history, whole or with entries withheld, and naming what is wrong with it.

The search goes backwards from the head that a checkpoint proves: an entry that gives the expected hash is
genuine, and so is the hash that it holds of the one before. One that does not give it is the one that was
altered, and the search goes on with what is before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from ftc_core.domain.checkpoint import Head
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger import GENESIS_HASH
from ftc_core.domain.ledger_disclosure import ShownEntry, recomputed_hash
from ftc_core.domain.ownership_order import OwnershipOrder

__all__ = ["Finding", "HistoryCheck", "LedgerFault"]


class LedgerFault(StrEnum):
    """What can be wrong with a ledger."""

    ENTRY_CHANGED = "ENTRY_CHANGED"
    ENTRY_MISSING = "ENTRY_MISSING"
    ENTRY_OUT_OF_ORDER = "ENTRY_OUT_OF_ORDER"
    ENTRY_FOREIGN = "ENTRY_FOREIGN"
    ENTRY_UNLINKED = "ENTRY_UNLINKED"
    ENTRY_UNCOVERED = "ENTRY_UNCOVERED"
    CHANGE_IMPOSSIBLE = "CHANGE_IMPOSSIBLE"
    HEAD_MISMATCH = "HEAD_MISMATCH"
    OWNER_MISMATCH = "OWNER_MISMATCH"
    HISTORY_MISSING = "HISTORY_MISSING"
    HISTORY_OUT_OF_ORDER = "HISTORY_OUT_OF_ORDER"
    HISTORY_UNPROVEN = "HISTORY_UNPROVEN"
    CHECKPOINT_INVALID = "CHECKPOINT_INVALID"
    CHECKPOINT_UNLINKED = "CHECKPOINT_UNLINKED"
    CHECKPOINT_OUTDATED = "CHECKPOINT_OUTDATED"
    CHECKPOINT_CONTRADICTED = "CHECKPOINT_CONTRADICTED"
    KEY_INVALID = "KEY_INVALID"
    KEY_NOT_PINNED = "KEY_NOT_PINNED"
    DOCUMENT_MALFORMED = "DOCUMENT_MALFORMED"
    DOCUMENT_CUT = "DOCUMENT_CUT"
    DOCUMENT_CHANGED = "DOCUMENT_CHANGED"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: with an entry, a history, or the ledger as a whole."""

    fault: LedgerFault
    detail: str
    fingerprint: bytes | None = None
    sequence: int | None = None

    @property
    def text(self) -> str:
        """One line in English."""
        device = "" if self.fingerprint is None else f"{format_enrollment_id(self.fingerprint)}: "
        entry = "" if self.sequence is None else f"entry {self.sequence}: "
        return f"{device}{entry}{self.detail}"


class _Link(NamedTuple):
    previous_hash: bytes
    hash: bytes
    recomputed: bytes | None


class HistoryCheck:
    """The history of one device, entry by entry, against the `head` that a checkpoint proves.

    With `head` None nothing is proven of it: then the chain is judged on its own. With `newer`, entries may
    follow the head, which the next checkpoint will cover. It holds three hashes for each entry.
    """

    def __init__(self, fingerprint: bytes, head: Head | None, *, newer: bool = False) -> None:
        self._fingerprint = fingerprint
        self._head = head
        self._newer = newer
        self._links: dict[int, list[_Link]] = {}
        self._last = 0
        self._order = OwnershipOrder()
        self._findings: list[Finding] = []

    def add(self, entry: ShownEntry) -> None:
        """The next entry."""
        sequence = entry.sequence
        if entry.fingerprint != self._fingerprint:
            detail = f"it stands in the history of {format_enrollment_id(self._fingerprint)}"
            self._findings.append(
                Finding(LedgerFault.ENTRY_FOREIGN, detail, entry.fingerprint, entry.sequence)
            )
            return
        link = _Link(entry.previous_hash, entry.hash, recomputed_hash(entry))
        self._links.setdefault(sequence, []).append(link)
        if sequence <= self._last:
            self._found(LedgerFault.ENTRY_OUT_OF_ORDER, sequence, f"it stands after entry {self._last}")
            return
        if sequence > self._last + 1:
            self._order = OwnershipOrder(known=False)
        if (impossible := self._order.follow(entry.content)) is not None:
            self._found(LedgerFault.CHANGE_IMPOSSIBLE, sequence, impossible)
        self._last = sequence

    def finish(self) -> list[Finding]:
        """All that is wrong, in the order of the entries, after the last of them."""
        for first, last in self._gaps():
            which = "it is missing" if first == last else f"entries {first} to {last} are missing"
            self._found(LedgerFault.ENTRY_MISSING, first, which)
        self._search()
        return sorted(self._findings, key=lambda finding: finding.sequence or 0)

    def _gaps(self) -> Iterator[tuple[int, int]]:
        """Runs of sequences that are missing."""
        expected = 1
        for sequence in sorted(self._links):
            if sequence > expected:
                yield expected, sequence - 1
            expected = sequence + 1
        if self._head is not None and expected <= self._head.sequence:
            yield expected, self._head.sequence

    def _search(self) -> None:
        """Backwards from the head, or from the last entry."""
        expected: bytes | None = None  # the hash that the entry must have; None: nothing above tells it
        above = 0
        for sequence in sorted(self._links, reverse=True):
            if sequence != above - 1:
                expected = None
            expected = self._at_head(sequence, expected)
            link = self._candidate(sequence, expected)
            if link.recomputed == link.hash and expected in (None, link.hash):
                expected = link.previous_hash
            else:
                self._altered(sequence, link)
                expected = None
            above = sequence
        if above == 1 and expected not in (None, GENESIS_HASH):
            self._found(LedgerFault.ENTRY_UNLINKED, 1, "the first entry names one before it")

    def _at_head(self, sequence: int, expected: bytes | None) -> bytes | None:
        """What is expected of the entry, seen in the light of the head."""
        head = self._head
        if head is None or sequence < head.sequence:
            return expected
        if sequence > head.sequence:
            if not self._newer:
                detail = f"the checkpoint ends this history at entry {head.sequence}"
                self._found(LedgerFault.ENTRY_UNCOVERED, sequence, detail)
            return expected
        if expected not in (None, head.hash):
            detail = f"it does not follow from entry {sequence} as the checkpoint has it"
            self._found(LedgerFault.ENTRY_UNLINKED, sequence + 1, detail)
        return head.hash

    def _candidate(self, sequence: int, expected: bytes | None) -> _Link:
        """Of several that say they are this entry, the one that is; if none is, the first."""
        links = self._links[sequence]
        return next((link for link in links if link.recomputed == expected), links[0])

    def _altered(self, sequence: int, link: _Link) -> None:
        if self._head is not None and sequence == self._head.sequence and link.recomputed == link.hash:
            self._found(LedgerFault.HEAD_MISMATCH, sequence, "it is not the one that the checkpoint has")
        elif link.recomputed != link.hash:
            self._found(LedgerFault.ENTRY_CHANGED, sequence, "its content does not give its hash")
        else:
            detail = f"it is not the one that entry {sequence + 1} follows from"
            self._found(LedgerFault.ENTRY_CHANGED, sequence, detail)

    def _found(self, fault: LedgerFault, sequence: int, detail: str) -> None:
        self._findings.append(Finding(fault, detail, self._fingerprint, sequence))
