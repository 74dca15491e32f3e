"""The ledger: each device's chain of entries, whose each device is, and the tree of the last checkpoint.

All three are judged in one passage through the table, a history at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import groupby, zip_longest
from typing import NamedTuple

from ftc_core.domain.checkpoint import Checkpoint, HeadFinder, HeadTree, LedgerTile, root_of
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.domain.ledger import SALTS_BYTES, LedgerEntry, LedgerKind, first_broken
from ftc_core.domain.ledger_disclosure import disclose
from ftc_core.domain.ledger_verification import HistoryCheck
from ftc_core.domain.merkle import TILE_LEAVES
from ftc_core.errors import FtcError
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import UNFIT
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, malformed, named, no_revision, place, unreadable
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.scan import Row
from ftc_core.storage.lmdb.tables import (
    FINGERPRINT_BYTES,
    ID_BYTES,
    NUMBER_BYTES,
    fingerprint_key,
    number_key,
    pack_id,
    unpack_number,
)

__all__ = ["check_ledger"]

_KEY_BYTES = FINGERPRINT_BYTES + NUMBER_BYTES


def check_ledger(snapshot: Snapshot) -> Iterator[Finding]:
    """Every history, the devices and lists that follow from it, and that the last checkpoint covers all."""
    passage = _Passage(snapshot)
    rows = snapshot.rows("ledger")
    for fingerprint, run in groupby(rows, lambda row: row[0][:FINGERPRINT_BYTES]):
        yield from passage.take(fingerprint, list(run))
    yield from passage.finish()


class _Tree(NamedTuple):
    """The tree of the last checkpoint, as the ledger gives it."""

    checkpoint: Checkpoint
    finder: HeadFinder
    tree: HeadTree


class _Passage:
    """One passage through the ledger. It holds one history, and the tiles of one tree."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._owned = self._listed = 0
        self._tree = None
        self._judged = True
        """Whether all could be read that the tree is made of, and judged by; what could not is told."""
        try:
            checkpoint = _last_checkpoint(snapshot)
        except FtcError:
            self._judged = False
        else:
            if checkpoint is not None:
                self._tree = _Tree(checkpoint, HeadFinder(checkpoint.revision), HeadTree())

    def take(self, fingerprint: bytes, rows: list[Row]) -> Iterator[Finding]:
        """The next history."""
        entries = []
        for key, stored in rows:
            entry = _read(key, stored)
            if isinstance(entry, Finding):
                self._judged = False
                yield entry
            else:
                entries.append(entry)
        for entry in entries:
            yield from self._entry(entry)
        if len(entries) < len(rows):
            return
        yield from _chain(fingerprint, entries)
        try:
            yield from self._owner(entries[-1])
            yield from self._lists(entries)
        except UNFIT as error:
            where, label = place("ledger", fingerprint), format_enrollment_id(fingerprint)
            yield impossible(where, label, "IDs of accounts and devices", str(error))

    def finish(self) -> Iterator[Finding]:
        """What is wrong with the whole, after the last history."""
        if self._owned != self._snapshot.entries("devices"):
            yield from self._without_history()
        if self._listed != self._snapshot.entries("ledger_by_account"):
            yield from self._listed_by_none()
        if not self._judged:
            return
        if self._tree is None:
            for key, _ in self._snapshot.rows("ledger_tiles"):
                yield Finding(
                    kind=FindingKind.ENTRY_STALE,
                    where=place("ledger_tiles", key),
                    expected="no entry, for there is no checkpoint",
                    found="a tile",
                )
        else:
            yield from self._covered(self._tree)

    # --- one history -------------------------------------------------------------------------------

    def _entry(self, entry: LedgerEntry) -> Iterator[Finding]:
        reached = self._snapshot.revision
        if not 0 < entry.revision <= reached or len(entry.salts) != SALTS_BYTES:
            where, label = place("ledger", _key(entry)), format_enrollment_id(entry.fingerprint)
            if len(entry.salts) != SALTS_BYTES:
                yield impossible(where, label, f"salts of {SALTS_BYTES} bytes", f"{len(entry.salts)} bytes")
            else:
                yield no_revision(reached, entry.revision, where, label)
        if self._tree is not None:
            head = self._tree.finder.add(entry, entry.revision)
            if head is not None:
                self._tree.tree.add(head)

    def _owner(self, last: LedgerEntry) -> Iterator[Finding]:
        """The last entry says whose the device is; that account must have it, and nobody else."""
        fingerprint, expected = last.fingerprint, None
        if last.kind is not LedgerKind.RELEASED:
            expected = pack_id(last.account_id) + pack_id(last.device_id)
        indexed = self._snapshot.get("devices_by_fingerprint", fingerprint)
        self._owned += expected is not None
        if indexed == expected and (expected is None or self._snapshot.get("devices", expected) is not None):
            return
        # The index may be wrong, which is told by check_devices: what counts is the record.
        if expected is not None and not self._has(expected, fingerprint):
            found = "no such device" if indexed in (None, expected) else _device(indexed or b"")
            yield _contradiction(fingerprint, f"{_device(expected)}, its owner's", found)
        elif expected is None and indexed is not None and self._has(indexed, fingerprint):
            yield _contradiction(fingerprint, "no device, for it was released", _device(indexed))

    def _has(self, device: bytes, fingerprint: bytes) -> bool:
        """Whether there is such a device with this certificate; if it cannot be read, it may be."""
        stored = self._snapshot.get("devices", device)
        try:
            return stored is not None and records.DEVICE.decode(stored).fingerprint == fingerprint
        except FtcError:
            return True

    def _lists(self, entries: list[LedgerEntry]) -> Iterator[Finding]:
        """Everybody who has had it can find its history."""
        owners = {entry.account_id for entry in entries if entry.kind is not LedgerKind.RELEASED}
        for owner in sorted(owners):
            key = pack_id(owner) + entries[0].fingerprint
            if self._snapshot.get("ledger_by_account", key) is not None:
                self._listed += 1
                continue
            yield Finding(
                kind=FindingKind.ENTRY_MISSING,
                where=place("ledger_by_account", key),
                expected="an entry, for the account has had it",
                found="no entry",
                record=format_enrollment_id(entries[0].fingerprint),
            )

    # --- the whole ---------------------------------------------------------------------------------

    def _without_history(self) -> Iterator[Finding]:
        for key, stored in self._snapshot.rows("devices"):
            try:
                fingerprint = fingerprint_key(records.DEVICE.decode(stored).fingerprint)
            except UNFIT:
                continue  # told by check_devices
            if not any(True for _ in self._snapshot.under("ledger", fingerprint)):
                yield _contradiction(fingerprint, "no device, for it has no history", _device(key))

    def _listed_by_none(self) -> Iterator[Finding]:
        for key, _ in self._snapshot.rows("ledger_by_account"):
            if len(key) != ID_BYTES + FINGERPRINT_BYTES:
                yield malformed("ledger_by_account", key, ID_BYTES + FINGERPRINT_BYTES)
                continue
            history = [_read(*row) for row in self._snapshot.under("ledger", key[ID_BYTES:])]
            account_id = key[:ID_BYTES].hex()
            had = (
                isinstance(entry, Finding)  # told already; it may be the one
                or (entry.account_id == account_id and entry.kind is not LedgerKind.RELEASED)
                for entry in history
            )
            if not any(had):
                yield Finding(
                    kind=FindingKind.ENTRY_STALE,
                    where=place("ledger_by_account", key),
                    expected=f"no entry, for accounts/{account_id} has never had it",
                    found="an entry",
                    record=format_enrollment_id(key[ID_BYTES:]),
                )

    def _covered(self, made: _Tree) -> Iterator[Finding]:
        """The ledger gives the last checkpoint's root once more, and the tiles that are kept of it."""
        checkpoint, tree = made.checkpoint, made.tree
        if (head := made.finder.finish()) is not None:
            tree.add(head)
        tiles = tree.finish()
        kept = [
            LedgerTile(stored[:FINGERPRINT_BYTES], stored[FINGERPRINT_BYTES:])
            for _, stored in self._snapshot.rows("ledger_tiles")
        ]
        label = f"checkpoint {checkpoint.number}"
        signed = (checkpoint.root_hash, checkpoint.head_count, checkpoint.entry_count)
        if (root_of(tiles), tree.head_count, tree.entry_count) != signed:
            differing = next((now or was for now, was in zip_longest(tiles, kept) if now != was), None)
            here = "" if differing is None else f", and another tile of {TILE_LEAVES} devices from here on"
            yield Finding(
                kind=FindingKind.LEDGER_BROKEN,
                where="ledger" if differing is None else place("ledger", differing.first),
                expected=f"{signed[1]} histories of {signed[2]} entries with the root that was signed",
                found=f"{tree.head_count} histories of {tree.entry_count} entries with another root{here}",
                record=label,
            )
            return
        wanted = [(number_key(number), tile.first + tile.root) for number, tile in enumerate(tiles)]
        for expected, found in zip_longest(wanted, self._snapshot.rows("ledger_tiles")):
            if expected != found:
                yield Finding(
                    kind=FindingKind.ENTRY_WRONG,
                    where=place("ledger_tiles", min(row[0] for row in (expected, found) if row)),
                    expected=_tile(expected),
                    found=_tile(found),
                    record=label,
                )
                return  # what is behind it is shifted


def _last_checkpoint(snapshot: Snapshot) -> Checkpoint | None:
    """That whose tiles are kept. Raises FtcError if it cannot be read, or is another's."""
    for key, stored in deque(snapshot.rows("checkpoints"), maxlen=1):
        checkpoint = records.CHECKPOINT.decode(stored).checkpoint
        if number_key(checkpoint.number) != key:
            raise corrupt(f"checkpoint {checkpoint.number} at {key.hex()}")
        return checkpoint
    return None


def _read(key: bytes, stored: bytes) -> LedgerEntry | Finding:
    if len(key) != _KEY_BYTES:
        return malformed("ledger", key, _KEY_BYTES)
    try:
        entry = records.LEDGER_ENTRY.decode(stored)
    except FtcError as error:
        return unreadable("ledger", key, error, format_enrollment_id(key[:FINGERPRINT_BYTES]))
    if entry.fingerprint != key[:FINGERPRINT_BYTES] or entry.sequence != unpack_number(key[-NUMBER_BYTES:]):
        return Finding(
            kind=FindingKind.RECORD_MISPLACED,
            where=place("ledger", key),
            expected="the entry that belongs there",
            found=f"entry {entry.sequence} of {entry.fingerprint.hex()}",
            record=format_enrollment_id(key[:FINGERPRINT_BYTES]),
        )
    return entry


def _chain(fingerprint: bytes, entries: list[LedgerEntry]) -> Iterator[Finding]:
    """A chain of one claim is sound if its hash is; any other is looked at entry by entry."""
    try:
        if first_broken(entries) is None and [entry.kind for entry in entries] == [LedgerKind.CLAIMED]:
            return
        check = HistoryCheck(fingerprint, None)
        for shown in disclose(entries, None):
            check.add(shown)
        found = check.finish()
    except UNFIT as error:
        yield _broken(fingerprint, place("ledger", fingerprint), str(error))
        return
    for finding in found:
        sequence = finding.sequence or 0
        detail = f"{finding.fault}: {finding.detail}"
        yield _broken(fingerprint, place("ledger", fingerprint + number_key(sequence)), detail)


def _broken(fingerprint: bytes, where: str, found: str) -> Finding:
    return Finding(
        kind=FindingKind.LEDGER_BROKEN,
        where=where,
        expected="a chain of entries in which each follows from the one before",
        found=found,
        record=format_enrollment_id(fingerprint),
    )


def _contradiction(fingerprint: bytes, expected: str, found: str) -> Finding:
    return Finding(
        kind=FindingKind.OWNERSHIP_CONTRADICTED,
        where=place("ledger", fingerprint),
        expected=expected,
        found=found,
        record=format_enrollment_id(fingerprint),
    )


def _device(key: bytes) -> str:
    return named(key[:ID_BYTES].hex(), "devices", key[ID_BYTES:].hex())


def _tile(row: Row | None) -> str:
    return "no tile" if row is None else f"tile {row[0].hex()} with {row[1].hex()}"


def _key(entry: LedgerEntry) -> bytes:
    return entry.fingerprint + number_key(entry.sequence)
