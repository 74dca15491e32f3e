"""When API keys were last used: noted in memory by each call, written now and then.

A call must not wait for a commit because of this, and a busy key must not fill the store with writes: so
what is stored is late by the interval of the writer, and one use of a key stands for many.
"""

from __future__ import annotations

from datetime import datetime

from ftc_core.application.context import ApplicationContext
from ftc_core.storage.commands import RecordApiKeyUses, Submission

__all__ = ["KeyUses"]


class KeyUses:
    """The latest use of each key since the last `record`. For one thread."""

    def __init__(self) -> None:
        self._latest: dict[str, datetime] = {}

    def note(self, key_id: str, at: datetime) -> None:
        """The key was used now. Microseconds: it is on the path of every call."""
        self._latest[key_id] = at

    async def record(self, context: ApplicationContext) -> int:
        """Write what was noted; gives how many keys. Raises FtcError, and keeps the notes, if that fails."""
        noted, self._latest = self._latest, {}
        if not noted:
            return 0
        try:
            await context.commit.execute(Submission(RecordApiKeyUses(noted)))
        except BaseException:
            self._latest = noted | self._latest
            raise
        return len(noted)
