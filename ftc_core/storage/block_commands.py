"""Commands on blocks. `commands` has the rest, and says what a command is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.block import Block

__all__ = ["BlockWritten", "LiftBlock", "PlaceBlock"]


class PlaceBlock(msgspec.Struct, frozen=True, tag=True):
    """Block a certificate → BlockWritten; one that stands already gets the new note, and keeps its time.

    If a device has the certificate, its registration ends in the same step, and there is a DEVICE_BLOCKED
    event; not if it was blocked by this party before. RESOURCE_NOT_FOUND if an account blocks a device's
    certificate and owns no such device, or if there is no such account.
    """

    block: Block


class LiftBlock(msgspec.Struct, frozen=True, tag=True):
    """Remove the block of one party (None: the operator) → BlockWritten, as it was.

    DEVICE_UNBLOCKED event if a device has the certificate; the other party's block stays. RESOURCE_NOT_FOUND
    if this party has not blocked it.
    """

    fingerprint: bytes
    account_id: str | None
    now: datetime


class BlockWritten(msgspec.Struct, frozen=True, tag=True):
    """The block as it stands, or stood."""

    block: Block
