"""The counters in `meta`, the events, and the requests that are remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftc_core.domain.event import Event
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import place
from ftc_core.storage.lmdb.idempotency import REQUEST, Request
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, NUMBER_BYTES, number_key, time_key

__all__ = ["check_events", "check_meta", "check_requests"]

_NUMBERS = (b"revision", b"compacted")
_TEXTS = (b"format", b"engine")
"""What opening the file checks."""


def check_meta(snapshot: Snapshot) -> Iterator[Finding]:
    """Nothing but what belongs there."""
    for key, value in snapshot.rows("meta"):
        if key in _TEXTS or (key in _NUMBERS and len(value) == NUMBER_BYTES):
            continue
        known = key in _NUMBERS
        yield Finding(
            kind=FindingKind.RECORD_UNREADABLE if known else FindingKind.ENTRY_STALE,
            where=place("meta", key),
            expected=f"a number of {NUMBER_BYTES} bytes" if known else "no such entry",
            found=f"{len(value)} bytes",
        )
    compacted = snapshot.number(b"compacted")
    if compacted > snapshot.revision:
        yield Finding(
            kind=FindingKind.REVISION_IMPOSSIBLE,
            where=place("meta", b"compacted"),
            expected=f"a revision up to {snapshot.revision}, the store's",
            found=str(compacted),
        )


def check_events(snapshot: Snapshot) -> Iterator[Finding]:
    """Every event, at a revision that the store has reached, and above those that are no longer kept."""
    compacted, revision = snapshot.number(b"compacted"), snapshot.revision

    def inspect(key: bytes, event: Event) -> Iterator[Finding]:
        if not compacted < event.revision <= revision:
            yield Finding(
                kind=FindingKind.REVISION_IMPOSSIBLE,
                where=place("events", key),
                expected=f"an event above revision {compacted}, up to {revision}",
                found=f"revision {event.revision}",
                record=_name(event),
            )

    yield from check_records(
        snapshot,
        RecordTable(
            name="events",
            key_bytes=NUMBER_BYTES,
            decode=records.EVENT.decode,
            key=lambda event: number_key(event.revision),
            label=_name,
            inspect=inspect,
        ),
    )


def check_requests(snapshot: Snapshot) -> Iterator[Finding]:
    """Every request that is remembered is due to be forgotten at its time."""

    def forgotten_at(key: bytes, request: Request) -> Iterable[Entry]:
        yield Entry("request_expiry", time_key(request.expires_at) + key)

    yield from check_records(
        snapshot,
        RecordTable(
            name="requests",
            key_bytes=FINGERPRINT_BYTES,
            decode=REQUEST.decode,
            label=lambda request: f"a request that was answered {type(request.outcome).__name__}",
            entries=forgotten_at,
            indexes={
                "request_expiry": Index(
                    NUMBER_BYTES + FINGERPRINT_BYTES, lambda _, key, value: key[NUMBER_BYTES:]
                )
            },
        ),
    )


def _name(event: Event) -> str:
    return f"{event.kind.value} of accounts/{event.account_id}"
