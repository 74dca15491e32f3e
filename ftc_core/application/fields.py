"""Checks of fields that several resources have."""

from __future__ import annotations

import re
from datetime import datetime

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DESCRIPTION_MAX_CHARS, DISPLAY_NAME_MAX_CHARS

__all__ = ["check_description", "check_display_name", "check_in_future"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def check_in_future(moment: datetime | None, now: datetime, *, field: str) -> None:
    """Raises FtcError FIELD_INVALID if `moment` is given and is not after `now` (both aware)."""
    if moment is not None and moment <= now:
        raise FtcError(Reason.FIELD_INVALID, f"{field} is not in the future", field=field)


def check_display_name(text: str, *, field: str, required: bool = True) -> None:
    """Raises FtcError FIELD_REQUIRED if it is empty, FIELD_INVALID if it is too long or not printable."""
    if required and not text.strip():
        raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
    _check_text(text, DISPLAY_NAME_MAX_CHARS, field)
    if not text.isprintable():
        raise FtcError(Reason.FIELD_INVALID, f"{field} has characters that do not print", field=field)


def check_description(text: str, *, field: str) -> None:
    """Raises FtcError FIELD_INVALID if it is too long, or has characters that a terminal would obey.

    A note of a transfer is shown to another account's people.
    """
    _check_text(text, DESCRIPTION_MAX_CHARS, field)
    if _CONTROL.search(text) is not None:
        message = f"{field} has control characters other than tabs and line ends"
        raise FtcError(Reason.FIELD_INVALID, message, field=field)


def _check_text(text: str, limit: int, field: str) -> None:
    if len(text) > limit:
        raise FtcError(
            Reason.FIELD_INVALID,
            f"{field} has {len(text)} characters; at most {limit} are allowed",
            field=field,
        )
