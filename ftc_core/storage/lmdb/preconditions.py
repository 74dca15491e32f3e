"""What a command demands of the record that it is about to change."""

from __future__ import annotations

from ftc_core.errors import FtcError, Reason

__all__ = ["check_revision"]


def check_revision(present: int, expected: int | None) -> None:
    """Raises FtcError ETAG_MISMATCH if the caller last read another revision than stands; None: any."""
    if expected is not None and expected != present:
        raise FtcError(Reason.ETAG_MISMATCH)
