"""Whether a document goes on from a checkpoint that its reader knows.

That is asked of whoever has the key: he can sign another past, but not one that gives the root of a
checkpoint which somebody has kept.
"""

from __future__ import annotations

from ftc_core.domain.checkpoint import Checkpoint, HeadFinder, checkpoint_hash
from ftc_core.domain.ledger_disclosure import EntryContent, ShownEntry
from ftc_core.domain.ledger_verification import Finding, LedgerFault
from ftc_core.domain.merkle import TreeHash

__all__ = ["KnownCheckpoint"]


class KnownCheckpoint:
    """Takes a document's checkpoints and entries.

    An operator's document is the whole ledger: of one, the tree of the known checkpoint is made again.
    """

    def __init__(self, known: Checkpoint) -> None:
        self._known = known
        self._finder = HeadFinder(known.revision)
        self._tree = TreeHash()

    def see(self, checkpoint: Checkpoint) -> list[Finding]:
        """The document's next checkpoint."""
        same = checkpoint_hash(checkpoint) == checkpoint_hash(self._known)
        if checkpoint.number != self._known.number or same:
            return []
        return [self._contradiction("is another one in this document")]

    def add(self, entry: ShownEntry) -> None:
        """The document's next entry."""
        if isinstance(entry.content, EntryContent):
            head = self._finder.add(entry, entry.content.revision)
            if head is not None:
                self._tree.add(head.leaf())

    def finish(self, last: Checkpoint, *, whole: bool) -> list[Finding]:
        """What is wrong, at the end of a document with this last checkpoint; `whole`: an operator's."""
        if last.number < self._known.number:
            detail = (
                f"it ends with checkpoint {last.number}, before the known checkpoint {self._known.number}"
            )
            return [Finding(LedgerFault.CHECKPOINT_OUTDATED, detail)]
        if (head := self._finder.finish()) is not None:
            self._tree.add(head.leaf())
        if whole and self._tree.root() != self._known.root_hash:
            return [self._contradiction("covers another past than this document tells")]
        return []

    def _contradiction(self, detail: str) -> Finding:
        known = f"the known checkpoint {self._known.number}"
        return Finding(LedgerFault.CHECKPOINT_CONTRADICTED, f"{known} {detail}")
