"""Requests that took effect, remembered under their caller's request_id."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import REQUEST_ID_SWEEP, REQUEST_ID_TTL_S
from ftc_core.storage.commands import IdempotencyKey, Outcome
from ftc_core.storage.lmdb.records import Codec
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, time_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["REQUEST", "Request", "recall", "remember"]


class Request(msgspec.Struct, frozen=True):
    """A request that took effect: the digest of what it asked, and what it was answered."""

    digest: bytes
    expires_at: datetime
    outcome: Outcome


REQUEST: Final[Codec[Request]] = Codec(Request, 1)


def recall(writer: Writer, key: IdempotencyKey) -> Outcome | None:
    """The outcome of the same request, if it took effect within REQUEST_ID_TTL_S.

    Raises FtcError REQUEST_ID_REUSED if another request had this ID.
    """
    request = _find(writer, _request_key(key))
    if request is None or request.expires_at <= key.now:
        return None
    if request.digest != key.digest:
        raise FtcError(Reason.REQUEST_ID_REUSED, field="request_id")
    return request.outcome


def remember(writer: Writer, key: IdempotencyKey, outcome: Outcome) -> None:
    """Keep `outcome`, and forget a few that are out of date: more than one, so that the table stays small."""
    tables, request_key = writer.tables, _request_key(key)
    previous = _find(writer, request_key)
    if previous is not None:
        writer.delete(tables.request_expiry, time_key(previous.expires_at) + request_key)
    due, _ = writer.due(tables.request_expiry, time_key(key.now), REQUEST_ID_SWEEP)
    for expired in due:
        writer.delete(tables.request_expiry, expired)
        writer.delete(tables.requests, expired[NUMBER_BYTES:])
    expires_at = key.now + timedelta(seconds=REQUEST_ID_TTL_S)
    writer.put(tables.requests, request_key, REQUEST.encode(Request(key.digest, expires_at, outcome)))
    writer.put(tables.request_expiry, time_key(expires_at) + request_key)


def _find(writer: Writer, request_key: bytes) -> Request | None:
    stored = writer.get(writer.tables.requests, request_key)
    return None if stored is None else REQUEST.decode(stored)


def _request_key(key: IdempotencyKey) -> bytes:
    # As an array, so that no scope and ID run into those of another caller.
    return hashlib.sha256(msgspec.msgpack.encode((key.scope, key.request_id))).digest()
