"""Commands on blocks. `commands` has the rest, and says what a command is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.block import Block

__all__ = ["BlockWritten", "LiftBlock", "PlaceBlock"]


class PlaceBlock(msgspec.Struct, frozen=True, tag=True):
    """Block a certificate → BlockWritten.

    One that stands already gets the new note, if there is one, and keeps its time. If a device has the
    certificate, its registration ends in the same step, and there is a DEVICE_BLOCKED event; not if it was
    blocked by this party before. RESOURCE_NOT_FOUND if an account blocks a device's certificate and owns no
    such device, or if there is no such account; or if `device_id` is given and the certificate is not that
    device's any more: released and claimed anew it is another device, and maybe somebody else's.
    """

    block: Block
    device_id: str | None = None


class LiftBlock(msgspec.Struct, frozen=True, tag=True):
    """Remove the block of one party (None: the operator) → BlockWritten, as it was.

    DEVICE_UNBLOCKED event if a device has the certificate; the other party's block stays. RESOURCE_NOT_FOUND
    if this party has not blocked it, and for `device_id` as in PlaceBlock.
    """

    fingerprint: bytes
    account_id: str | None
    now: datetime
    device_id: str | None = None


class BlockWritten(msgspec.Struct, frozen=True, tag=True):
    """The block as it stands, or stood."""

    block: Block
