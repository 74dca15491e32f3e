"""How many of each an account has, kept so that asking costs one read."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ftc_core.storage.lmdb.faults import corrupt

__all__ = ["Counts", "join_account", "split_account"]

_FORM: Final = struct.Struct(">QQQQ")


class Counts(NamedTuple):
    """Stored before the account's record, so that a claim counts without rewriting the account."""

    devices: int = 0
    enrollments: int = 0
    certificates: int = 0
    api_keys: int = 0


def join_account(counts: Counts, record: bytes) -> bytes:
    """The value of an account. Raises FtcError INTERNAL_5 if a count fell below zero."""
    try:
        return _FORM.pack(*counts) + record
    except struct.error as error:
        raise corrupt(f"counts {counts}: {error}") from error


def split_account(stored: bytes) -> tuple[Counts, bytes]:
    """The counts and the record. Raises FtcError INTERNAL_5 if the value is cut."""
    try:
        return Counts(*_FORM.unpack_from(stored)), stored[_FORM.size :]
    except struct.error as error:
        raise corrupt(f"account: {error}") from error
