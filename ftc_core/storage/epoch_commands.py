"""The command on the numbering of changes. `commands` has the rest, and says what a command is."""

from __future__ import annotations

import msgspec

__all__ = ["BeginEpoch"]


class BeginEpoch(msgspec.Struct, frozen=True, tag=True):
    """Number the changes from above `revision` on, and forget every event → Done.

    For a store that was set back to an earlier state: what it numbers from here on was never the number of
    anything else, so neither an etag nor a watch of the time that is lost can be mistaken for one of now.
    FIELD_INVALID unless `revision` is above the store's.
    """

    revision: int
