"""What a check of an instance finds: each fault by name, and what is to be done about faults of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ftc_core.limits import CHECK_FINDINGS_MAX

__all__ = ["ACTIONS", "NOTES", "CheckReport", "Finding", "FindingKind", "Findings"]


class FindingKind(StrEnum):
    """What can be wrong with an instance."""

    PAGE_DAMAGED = "PAGE_DAMAGED"
    STORE_UNREADABLE = "STORE_UNREADABLE"
    TABLE_UNREADABLE = "TABLE_UNREADABLE"
    KEY_MALFORMED = "KEY_MALFORMED"
    RECORD_UNREADABLE = "RECORD_UNREADABLE"
    RECORD_MISPLACED = "RECORD_MISPLACED"
    RECORD_IMPOSSIBLE = "RECORD_IMPOSSIBLE"
    REVISION_IMPOSSIBLE = "REVISION_IMPOSSIBLE"
    REFERENCE_BROKEN = "REFERENCE_BROKEN"
    ENTRY_MISSING = "ENTRY_MISSING"
    ENTRY_WRONG = "ENTRY_WRONG"
    ENTRY_STALE = "ENTRY_STALE"
    COUNT_WRONG = "COUNT_WRONG"
    OWNERSHIP_CONTRADICTED = "OWNERSHIP_CONTRADICTED"
    LEDGER_BROKEN = "LEDGER_BROKEN"
    LEDGER_KEY_INVALID = "LEDGER_KEY_INVALID"
    CHECKPOINT_INVALID = "CHECKPOINT_INVALID"
    FILE_INVALID = "FILE_INVALID"
    FILE_EXPOSED = "FILE_EXPOSED"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    INPUT_MISSING = "INPUT_MISSING"
    CERTIFICATE_EXPIRES_SOON = "CERTIFICATE_EXPIRES_SOON"
    INPUT_ORPHANED = "INPUT_ORPHANED"
    PAGES_NOT_PROVEN = "PAGES_NOT_PROVEN"


NOTES: Final = frozenset(
    {FindingKind.CERTIFICATE_EXPIRES_SOON, FindingKind.INPUT_ORPHANED, FindingKind.PAGES_NOT_PROVEN}
)
"""Kinds that are worth a look, and no fault."""

_RESTORE = "Stop the server, keep a copy of the data directory as it is, and restore the last backup."
_TELL = (
    "Nothing but a bug or a foreign hand does this: keep a copy of the data directory, restore the last"
    " backup that `ftc check` finds whole, and report it."
)
_TAMPERED = (
    "The history was changed behind the server's back: keep a copy, compare it with an earlier export"
    " (docs/ledger.md), and restore the last backup that `ftc check` finds whole."
)

ACTIONS: Final[Mapping[FindingKind, str]] = {
    FindingKind.PAGE_DAMAGED: _RESTORE,
    FindingKind.STORE_UNREADABLE: _RESTORE,
    FindingKind.TABLE_UNREADABLE: _RESTORE,
    FindingKind.KEY_MALFORMED: _TELL,
    FindingKind.RECORD_UNREADABLE: _RESTORE,
    FindingKind.RECORD_MISPLACED: _TELL,
    FindingKind.RECORD_IMPOSSIBLE: _TELL,
    FindingKind.REVISION_IMPOSSIBLE: _TELL,
    FindingKind.REFERENCE_BROKEN: _TELL,
    FindingKind.ENTRY_MISSING: _TELL,
    FindingKind.ENTRY_WRONG: _TELL,
    FindingKind.ENTRY_STALE: _TELL,
    FindingKind.COUNT_WRONG: _TELL,
    FindingKind.OWNERSHIP_CONTRADICTED: _TELL,
    FindingKind.LEDGER_BROKEN: _TAMPERED,
    FindingKind.LEDGER_KEY_INVALID: (
        "Store and pki/ledger.key belong together: restore both from the same backup."
    ),
    FindingKind.CHECKPOINT_INVALID: _TAMPERED,
    FindingKind.FILE_INVALID: "Put the file back from the last backup, with its mode.",
    FindingKind.FILE_EXPOSED: (
        "Others could read a secret: chmod it to the mode that is expected, and replace the secret if others"
        " use the machine."
    ),
    FindingKind.CERTIFICATE_INVALID: "Put certificate and key back from the same backup.",
    FindingKind.CERTIFICATE_EXPIRED: "Peers refuse it: replace it under the same CA.",
    FindingKind.INPUT_MISSING: "Put the upload back from a backup, or cancel the operation and upload anew.",
    FindingKind.CERTIFICATE_EXPIRES_SOON: "Plan its replacement under the same CA.",
    FindingKind.INPUT_ORPHANED: "Nothing: an upload that was broken off; the next start removes it.",
    FindingKind.PAGES_NOT_PROVEN: "Stop the server and check again, if the disk is in doubt.",
}
"""What to do, by kind."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be.

    `where` is a table and a key in hex, or a file; `record` the resource or enrollment ID that it concerns,
    if it is known. `expected` and `found` are words for people.
    """

    kind: FindingKind
    where: str
    expected: str
    found: str
    record: str = ""

    @property
    def text(self) -> str:
        """One line in English, whatever a damaged record has in it: it goes to a terminal."""
        whose = f" ({self.record})" if self.record else ""
        line = f"{self.kind}: {self.where}{whose}: expected {self.expected}; found {self.found}"
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to "is it whole?". `findings` are the first CHECK_FINDINGS_MAX of `findings_count` faults.

    `notes` are no faults. `counts` has the rows of each table, `revision` is the store's as it was looked at.
    `pages_proven` says whether the file was verified page by page first, which only a store that nobody
    writes can be.
    """

    findings: tuple[Finding, ...]
    findings_count: int
    notes: tuple[Finding, ...] = ()
    counts: dict[str, int] = {}
    revision: int = 0
    pages_proven: bool = False

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.findings_count == 0


class Findings:
    """Gathers: holds the first `limit` faults and as many notes, and counts all faults."""

    def __init__(self, limit: int = CHECK_FINDINGS_MAX) -> None:
        self.count = 0
        self.held: list[Finding] = []
        self.notes: list[Finding] = []
        self._limit = limit

    def add(self, found: Iterable[Finding]) -> None:
        """Take them as they come."""
        for finding in found:
            is_note = finding.kind in NOTES
            self.count += not is_note
            kept = self.notes if is_note else self.held
            if len(kept) < self._limit:
                kept.append(finding)

    def report(
        self, *, counts: Mapping[str, int] | None = None, revision: int = 0, pages_proven: bool = False
    ) -> CheckReport:
        """What was gathered, with what else the report says."""
        return CheckReport(
            findings=tuple(self.held),
            findings_count=self.count,
            notes=tuple(self.notes),
            counts=dict(counts or {}),
            revision=revision,
            pages_proven=pages_proven,
        )
