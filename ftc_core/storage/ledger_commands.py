"""Commands on the ledger's checkpoints and keys. `commands` has the rest, and says what a command is.

Entries have no command: they go in with the change of ownership that they record.
"""

from __future__ import annotations

import msgspec

from ftc_core.domain.checkpoint import LedgerTile, SignedCheckpoint
from ftc_core.domain.ledger_keys import KeyStatement

__all__ = ["AddCheckpoint", "AddLedgerKey"]


class AddCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """Keep the next checkpoint → Done; `tiles` of its tree take the place of those of the one before.

    ETAG_MISMATCH if it does not follow the last one, or its key is not the newest: somebody else was quicker.
    """

    signed: SignedCheckpoint
    tiles: tuple[LedgerTile, ...]


class AddLedgerKey(msgspec.Struct, frozen=True, tag=True):
    """Keep the statement of the next key → Done.

    ETAG_MISMATCH if it does not follow the newest one, or does not begin with the next checkpoint.
    """

    statement: KeyStatement
