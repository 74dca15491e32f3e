"""The rule for records and the indexes over them, in both directions.

Forwards, every record is read, and every index entry that follows from it is looked for. Backwards, every
entry must follow from a record. That direction is decided by counting: where all entries that were expected
are there, and there are as many as that, none is left over. Only where the numbers differ, or anything was
found, is the index walked, to name those that are.

Counting is sound as long as no two records expect the same entry, and two that do never pass: an entry has
either the record's key in it, or, as its value, what tells whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.limits import CHECK_FINDINGS_MAX, CHECK_ROWS_AT_ONCE
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import malformed, no_account, no_revision, place, shown, unreadable
from ftc_core.storage.lmdb.scan import Row

__all__ = ["UNFIT", "Entry", "Index", "RecordTable", "check_records"]

T = TypeVar("T")

UNFIT = (ValueError, TypeError, OverflowError, FtcError)
"""What making a key of a record raises whose fields have values that none has."""


class Entry(NamedTuple):
    """A row of an index that follows from a record. One that is not `required` may be there."""

    table: str
    key: bytes
    value: bytes = b""
    required: bool = True


class Index(NamedTuple):
    """How the record of a row is found: `origin` gives its key. `key_bytes` None: they differ.

    If it is found by an entry of another index, `via` says which: where that is wrong, so much is told, and
    nothing is known of the row.
    """

    key_bytes: int | None
    origin: Callable[[Snapshot, bytes, bytes], bytes | None]
    via: Callable[[bytes, bytes], tuple[str, bytes]] | None = None


def _no_entries(key: bytes, record: object) -> Iterable[Entry]:
    return ()


def _nothing_more(key: bytes, record: object) -> Iterable[Finding]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable(Generic[T]):
    """A table of records: how they are read, named, where they lie, and what follows from them.

    `key` is None if a record does not tell its own key. Where `revision` is given, it must be one that the
    store has reached, and where `account` is, that account must exist, unless it is None. `entries` and
    `inspect`, which finds what else is wrong, are given the record with its key. Whatever of these raises
    UNFIT has met a record whose fields have values that no record has.
    """

    name: str
    key_bytes: int
    decode: Callable[[bytes], T]
    label: Callable[[T], str]
    key: Callable[[T], bytes] | None = None
    revision: Callable[[T], int] | None = None
    account: Callable[[T], str | None] | None = None
    entries: Callable[[bytes, T], Iterable[Entry]] = _no_entries
    inspect: Callable[[bytes, T], Iterable[Finding]] = _nothing_more
    indexes: Mapping[str, Index] = field(default_factory=dict)

    def read(self, key: bytes, stored: bytes) -> T | Finding:
        """The record, if it can be one and lies where it must."""
        if len(key) != self.key_bytes:
            return malformed(self.name, key, self.key_bytes)
        try:
            record = self.decode(stored)
        except FtcError as error:
            return unreadable(self.name, key, error)
        try:
            own = key if self.key is None else self.key(record)
        except UNFIT as error:
            return self.impossible(key, record, error)
        if own != key:
            return Finding(
                kind=FindingKind.RECORD_MISPLACED,
                where=place(self.name, key),
                expected=f"the record that belongs there (this one belongs under {own.hex()})",
                found=f"that of {self.label(record)}",
                record=self.label(record),
            )
        return record

    def impossible(self, key: bytes, record: T, error: Exception) -> Finding:
        """That a field has a value that none has."""
        return Finding(
            kind=FindingKind.RECORD_IMPOSSIBLE,
            where=place(self.name, key),
            expected="values that a record can have",
            found=str(error),
            record=self.label(record),
        )


def check_records(snapshot: Snapshot, table: RecordTable[T]) -> Iterator[Finding]:
    """Every record of the table by itself, against its indexes, and these against it."""
    passage = _Passage(snapshot, table)
    for finding in passage.forwards():
        passage.sound = False
        yield finding
    yield from passage.backwards()


class _Passage(Generic[T]):
    """One passage through a table and its indexes."""

    def __init__(self, snapshot: Snapshot, table: RecordTable[T]) -> None:
        self.sound = True
        self._snapshot = snapshot
        self._table = table
        self._present = dict.fromkeys(table.indexes, 0)
        self._told: set[tuple[str, bytes]] = set()
        """Entries found to be wrong, so that none is told twice; as many as are named at all."""

    def forwards(self) -> Iterator[Finding]:
        rows = self._snapshot.rows(self._table.name)
        while batch := list(islice(rows, CHECK_ROWS_AT_ONCE)):
            yield from self._batch(batch)

    def backwards(self) -> Iterator[Finding]:
        for name, index in self._table.indexes.items():
            count = self._snapshot.entries(name)
            if self.sound and self._present[name] == count:
                continue
            walked = 0
            for key, value in self._snapshot.rows(name):
                walked += 1
                if (name, key) not in self._told:
                    yield from self._left_over(name, index, key, value)
            if walked != count:
                yield Finding(
                    kind=FindingKind.COUNT_WRONG,
                    where=name,
                    expected=f"{count} rows, as its header says",
                    found=f"{walked} rows",
                )

    def _batch(self, batch: Iterable[Row]) -> Iterator[Finding]:
        expected: dict[str, dict[bytes, tuple[Entry, T]]] = {name: {} for name in self._table.indexes}
        for key, stored in batch:
            record = self._table.read(key, stored)
            if isinstance(record, Finding):
                yield record
                continue
            try:
                entries = tuple(self._table.entries(key, record))
                yield from self._common(key, record)
                yield from self._table.inspect(key, record)
            except UNFIT as error:
                yield self._table.impossible(key, record, error)
                continue
            for entry in entries:
                clash = expected[entry.table].setdefault(entry.key, (entry, record))
                if clash[0].value != entry.value:
                    yield self._differing(entry, clash[0].value, record)
        for name, entries_of in expected.items():
            if entries_of:
                found = self._snapshot.find(name, entries_of)
                self._present[name] += len(found)
                for key, (entry, record) in entries_of.items():
                    value = found.get(key)
                    if value != entry.value and (entry.required or value is not None):
                        yield self._differing(entry, value, record)

    def _common(self, key: bytes, record: T) -> Iterator[Finding]:
        table, reached = self._table, self._snapshot.revision
        if table.revision is not None and not 0 < (revision := table.revision(record)) <= reached:
            yield no_revision(reached, revision, place(table.name, key), table.label(record))
        account_id = None if table.account is None else table.account(record)
        if account_id is not None and not self._snapshot.has_account(account_id):
            yield no_account(account_id, place(table.name, key), table.label(record))

    def _differing(self, entry: Entry, value: bytes | None, record: T) -> Finding:
        if len(self._told) < CHECK_FINDINGS_MAX:
            self._told.add((entry.table, entry.key))
        return Finding(
            kind=FindingKind.ENTRY_MISSING if value is None else FindingKind.ENTRY_WRONG,
            where=place(entry.table, entry.key),
            expected=shown(entry.value),
            found=shown(value),
            record=self._table.label(record),
        )

    def _left_over(self, name: str, index: Index, key: bytes, value: bytes) -> Iterator[Finding]:
        where = place(name, key)
        if index.key_bytes is not None and len(key) != index.key_bytes:
            yield malformed(name, key, index.key_bytes)
            return
        if index.via is not None and index.via(key, value) in self._told:
            return
        origin = index.origin(self._snapshot, key, value)
        stored = None if origin is None else self._snapshot.get(self._table.name, origin)
        if origin is None or stored is None:
            which = "" if origin is None else f" {origin.hex()}"
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=where,
                expected=f"no entry, or the record of {self._table.name} that it is of",
                found=f"no record{which}",
            )
            return
        record = self._table.read(origin, stored)
        if isinstance(record, Finding):
            return  # it is told already, and what follows from it is not known
        try:
            follows = any(
                (entry.table, entry.key) == (name, key) for entry in self._table.entries(origin, record)
            )
        except UNFIT:
            return
        if not follows:
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=where,
                expected="no entry, for none follows from the record",
                found=shown(value),
                record=self._table.label(record),
            )
