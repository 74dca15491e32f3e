"""Partial updates: a struct of new values, in which UNSET means that a field stays."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import UNSET

__all__ = ["apply_changes"]

T = TypeVar("T", bound=msgspec.Struct)


def apply_changes(changes: msgspec.Struct, record: T) -> T:
    """`record` with every field of `changes` that is not UNSET; the fields bear the same names."""
    given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    return msgspec.structs.replace(record, **given)
