"""Denials, their indexes, and how many each party has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

from ftc_core.domain.denial import Denial, cause_key
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import party_key
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, named, place
from ftc_core.storage.lmdb.tables import ID_BYTES, NUMBER_BYTES, number_key, pack_id, time_key, unpack_number

__all__ = ["check_denial_counts", "check_denials"]

_KEY_BYTES = 2 * ID_BYTES
_CAUSE_BYTES = 32


def check_denials(snapshot: Snapshot) -> Iterator[Finding]:
    """Every denial and its indexes."""

    def inspect(key: bytes, denial: Denial) -> Iterator[Finding]:
        where, label = place("denials", key), _name(denial)
        if denial.count < 1 or denial.first_seen_at > denial.last_seen_at:
            found = f"{denial.count} times, from {denial.first_seen_at} to {denial.last_seen_at}"
            yield impossible(where, label, "once or more, the first time before the last", found)

    def entries(key: bytes, denial: Denial) -> Iterable[Entry]:
        party, own, at = key[:ID_BYTES], key[ID_BYTES:], time_key(denial.last_seen_at)
        yield Entry("denials_by_cause", party + cause_key(denial), own)
        yield Entry("denials_by_time", party + at + own)
        yield Entry("denial_expiry", at + party + own)

    yield from check_records(
        snapshot,
        RecordTable(
            name="denials",
            key_bytes=_KEY_BYTES,
            decode=records.DENIAL.decode,
            key=lambda denial: party_key(denial.account_id) + pack_id(denial.id),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            entries=entries,
            inspect=inspect,
            indexes={
                "denials_by_cause": Index(
                    ID_BYTES + _CAUSE_BYTES, lambda _, key, value: key[:ID_BYTES] + value
                ),
                "denials_by_time": Index(
                    _KEY_BYTES + NUMBER_BYTES, lambda _, key, value: key[:ID_BYTES] + key[-ID_BYTES:]
                ),
                "denial_expiry": Index(_KEY_BYTES + NUMBER_BYTES, lambda _, key, value: key[NUMBER_BYTES:]),
            },
        ),
    )


def check_denial_counts(snapshot: Snapshot) -> Iterator[Finding]:
    """Each party's number; one that has none has no entry."""
    for party, run in groupby(snapshot.keys("denials"), lambda key: key[:ID_BYTES]):
        counted, stored = sum(1 for _ in run), snapshot.get("denial_counts", party)
        if stored != number_key(counted):
            yield Finding(
                kind=FindingKind.COUNT_WRONG,
                where=place("denial_counts", party),
                expected=f"{counted}, as there are rows in denials",
                found="no number" if stored is None else str(unpack_number(stored)),
            )
    for party, _ in snapshot.rows("denial_counts"):
        if not any(True for _ in snapshot.under("denials", party)):
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=place("denial_counts", party),
                expected="no entry, for this party has no denials",
                found="an entry",
            )


def _name(denial: Denial) -> str:
    return named(denial.account_id, "deviceEnrollmentDenials", denial.id, denial.fingerprint)
