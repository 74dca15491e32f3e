"""Writing: one transaction, or one nested in it, with the revision counter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import lmdb

from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event, EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.counts import Counts, join_account, split_account
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, Tables, number_key, pack_id, unpack_number
from ftc_core.storage.lmdb.view import LmdbView

__all__ = ["Writer"]


class Writer:
    """What the commands write with.

    `view` reads what this transaction would commit. `revision` is the number of the newest change, and goes
    to the file with `store_revision`, once for all the commands of a transaction.
    """

    __slots__ = ("_environment", "_txn", "revision", "tables", "view")

    def __init__(
        self,
        environment: lmdb.Environment,
        txn: lmdb.Transaction[bytes],
        tables: Tables,
        revision: int | None = None,
    ) -> None:
        self._environment = environment
        self._txn = txn
        self.tables = tables
        self.view = LmdbView(txn, tables)
        self.revision = self.view.revision() if revision is None else revision

    @contextmanager
    def savepoint(self, *, keep: bool = True) -> Iterator[Writer]:
        """A writer whose changes are all kept if the block ends well, and undone if it raises.

        With `keep` false they are undone in any case. Until then, this writer must not be used.
        """
        with self._environment.begin(parent=self._txn, write=True) as txn:
            nested = Writer(self._environment, txn, self.tables, self.revision)
            yield nested
            if not keep:
                txn.abort()
                return
        self.revision = nested.revision

    def store_revision(self) -> None:
        """Write the counter, if it moved."""
        if self.revision != self.view.revision():
            self.put(self.tables.meta, b"revision", number_key(self.revision))

    # --- rows --------------------------------------------------------------------------------------

    def get(self, table: lmdb._Database, key: bytes) -> bytes | None:
        """The value under `key`, as this transaction left it."""
        return self._txn.get(key, None, table)

    def put(self, table: lmdb._Database, key: bytes, value: bytes = b"") -> None:
        """Set the value under `key`."""
        self._txn.put(key, value, db=table)

    def add(self, table: lmdb._Database, key: bytes, value: bytes = b"") -> None:
        """Set the value under `key`, which must be new. Raises FtcError RESOURCE_ALREADY_EXISTS."""
        if not self._txn.put(key, value, db=table, overwrite=False):
            raise FtcError(Reason.RESOURCE_ALREADY_EXISTS)

    def put_new(self, table: lmdb._Database, key: bytes, value: bytes) -> bool:
        """Set the value under `key` if that is new; whether it was."""
        return self._txn.put(key, value, db=table, overwrite=False)

    def put_many(
        self, table: lmdb._Database, rows: Sequence[tuple[bytes, bytes]], *, append: bool = False
    ) -> None:
        """Set many values in one call; with `append`, keys rise and are above all in the table."""
        with self._txn.cursor(table) as cursor:
            cursor.putmulti(rows, append=append)

    def add_many(self, table: lmdb._Database, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """As `put_many`, of keys that must be new. Raises FtcError RESOURCE_ALREADY_EXISTS."""
        with self._txn.cursor(table) as cursor:
            _, added = cursor.putmulti(rows, overwrite=False)
        if added != len(rows):
            raise FtcError(Reason.RESOURCE_ALREADY_EXISTS)

    def delete(self, table: lmdb._Database, key: bytes) -> None:
        """Remove `key`, if it is there."""
        self._txn.delete(key, db=table)

    def delete_prefix(self, table: lmdb._Database, prefix: bytes) -> None:
        """Remove every key that begins with `prefix`."""
        with self._txn.cursor(table) as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def clear(self, table: lmdb._Database) -> None:
        """Remove every key, without a look at them."""
        self._txn.drop(table, delete=False)

    def due(self, table: lmdb._Database, until: bytes, limit: int) -> tuple[list[bytes], bool]:
        """Up to `limit` keys of an expiry table with a time ≤ `until`, and whether there are more."""
        keys: list[bytes] = []
        with self._txn.cursor(table) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                if key[:NUMBER_BYTES] > until:
                    break
                if len(keys) >= limit:
                    return keys, True
                keys.append(key)
        return keys, False

    # --- numbers -----------------------------------------------------------------------------------

    def next_revision(self) -> int:
        """The number for a change that gives no event."""
        self.revision += 1
        return self.revision

    def emit(
        self,
        kind: EventKind,
        at: datetime,
        account_id: str,
        *,
        enrollment_id: str | None = None,
        device_id: str | None = None,
        fingerprint: bytes | None = None,
        from_account_id: str | None = None,
        denial_id: str | None = None,
    ) -> int:
        """Record an event → its revision."""
        revision = self.next_revision()
        event = Event(
            revision=revision,
            at=at,
            kind=kind,
            account_id=account_id,
            enrollment_id=enrollment_id,
            device_id=device_id,
            fingerprint=fingerprint,
            from_account_id=from_account_id,
            denial_id=denial_id,
        )
        self._txn.put(number_key(revision), records.EVENT.encode(event), db=self.tables.events, append=True)
        return revision

    def append_events(self, events: Sequence[Event]) -> None:
        """Record events that have their revisions, which rise to the writer's."""
        rows = [(number_key(event.revision), records.EVENT.encode(event)) for event in events]
        self.put_many(self.tables.events, rows, append=True)

    def emit_enrollment(
        self, kind: EventKind, at: datetime, enrollment: Enrollment, *, from_account_id: str | None = None
    ) -> int:
        """Record an event of an enrollment → its revision."""
        return self.emit(
            kind,
            at,
            enrollment.account_id,
            enrollment_id=enrollment.id,
            device_id=enrollment.enrolled_device_id,
            fingerprint=enrollment.fingerprint,
            from_account_id=from_account_id,
        )

    def count(
        self,
        account_id: str,
        *,
        devices: int = 0,
        enrollments: int = 0,
        certificates: int = 0,
        api_keys: int = 0,
    ) -> None:
        """Add to an account's counts. Raises FtcError RESOURCE_NOT_FOUND if there is no such account."""
        try:
            key = pack_id(account_id)
        except ValueError:
            key = b""
        stored = self.get(self.tables.accounts, key) if key else None
        if stored is None:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found", resource=f"accounts/{account_id}")
        counts, record = split_account(stored)
        changed = Counts(
            devices=counts.devices + devices,
            enrollments=counts.enrollments + enrollments,
            certificates=counts.certificates + certificates,
            api_keys=counts.api_keys + api_keys,
        )
        self.put(self.tables.accounts, key, join_account(changed, record))

    def increment(self, table: lmdb._Database, key: bytes, initial: bytes) -> None:
        """Raise the number before the value under `key`, which is set to 1 and `initial` if absent."""
        stored = self.get(table, key)
        number, rest = (0, initial) if stored is None else (unpack_number(stored), stored[NUMBER_BYTES:])
        self.put(table, key, number_key(number + 1) + rest)

    def decrement(self, table: lmdb._Database, key: bytes) -> bool:
        """Lower the number before the value under `key`, which goes at 0 → whether it is still there.

        Raises FtcError INTERNAL_5 if it is not there before.
        """
        stored = self.get(table, key)
        if stored is None:
            raise corrupt(f"nothing to count down at {key.hex()}")
        left = unpack_number(stored) - 1
        if left > 0:
            self.put(table, key, number_key(left) + stored[NUMBER_BYTES:])
        else:
            self.delete(table, key)
        return left > 0
