"""Commands on denials. `commands` has the rest, and says what a command is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.denial import Sighting
from ftc_core.limits import DENIALS_MAX

__all__ = ["DenialsRecorded", "ForgetDenials", "RecordDenials"]


class RecordDenials(msgspec.Struct, frozen=True, tag=True):
    """Keep what was refused → DenialsRecorded.

    Each sighting is kept once for each party that it concerns: the account whose enrollment list holds the
    device, or that owns it; the account that the device names, if that holds a CA which issued the
    certificate; where there is neither, up to DENIAL_ACCOUNTS_MAX accounts that hold such a CA, ACTIVE or
    not; where there are none, the operator. A party that has one of this device and cause has it renewed.
    Beyond `kept_max` those of a party that were last seen the longest ago go. An ENROLLMENT_DENIED event
    tells an account of what is news (`domain.denial`).
    """

    sightings: tuple[Sighting, ...]
    now: datetime
    kept_max: int = DENIALS_MAX


class ForgetDenials(msgspec.Struct, frozen=True, tag=True):
    """Remove up to `limit` denials that were last seen before `until`, the longest ago first → Swept."""

    until: datetime
    limit: int


class DenialsRecorded(msgspec.Struct, frozen=True, tag=True):
    """Of the sightings, how many were the first of their device and cause for some party."""

    new: int
