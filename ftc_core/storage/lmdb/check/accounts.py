"""Accounts with their four counts, and API keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, named, party_of, place
from ftc_core.storage.lmdb.counts import Counts, split_account
from ftc_core.storage.lmdb.tables import ID_BYTES, pack_id

__all__ = ["check_accounts", "check_api_keys", "check_counts"]

_HASH_BYTES = 32

_COUNTED = (
    ("devices", "devices"),
    ("enrollments", "enrollments_by_account"),
    ("certificates", "certificates"),
    ("api_keys", "api_keys_by_account"),
)
"""Fields of `Counts`, and the tables whose rows they count: all begin with the account."""


def check_accounts(snapshot: Snapshot) -> Iterator[Finding]:
    """Every account by itself."""

    yield from check_records(snapshot, _table())


def check_counts(snapshot: Snapshot) -> Iterator[Finding]:
    """Each account's counts against the rows: tables that are sorted alike are walked side by side."""
    runs, accounts = {name: _Runs(snapshot, table) for name, table in _COUNTED}, _table()
    for key, stored in snapshot.rows("accounts"):
        if isinstance(accounts.read(key, stored), Finding):
            continue  # told by check_accounts
        counts = split_account(stored)[0]
        counted = Counts(**{name: each.of(key) for name, each in runs.items()})
        for name, table in _COUNTED:
            expected, found = getattr(counted, name), getattr(counts, name)
            if expected != found:
                yield Finding(
                    kind=FindingKind.COUNT_WRONG,
                    where=f"{place('accounts', key)} {name}",
                    expected=f"{expected}, as there are rows in {table}",
                    found=str(found),
                    record=party_of(key.hex()),
                )


def check_api_keys(snapshot: Snapshot) -> Iterator[Finding]:
    """Every API key, and the lists of accounts."""

    def inspect(key: bytes, api_key: ApiKey) -> Iterator[Finding]:
        if len(api_key.secret_hash) != _HASH_BYTES:
            found = f"{len(api_key.secret_hash)} bytes"
            yield impossible(place("api_keys", key), _name(api_key), f"a hash of {_HASH_BYTES} bytes", found)

    yield from check_records(
        snapshot,
        RecordTable(
            name="api_keys",
            key_bytes=ID_BYTES,
            decode=records.API_KEY.decode,
            key=lambda api_key: pack_id(api_key.id),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            entries=lambda key, api_key: [Entry("api_keys_by_account", pack_id(api_key.account_id) + key)],
            inspect=inspect,
            indexes={"api_keys_by_account": Index(2 * ID_BYTES, lambda _, key, value: key[ID_BYTES:])},
        ),
    )


def _table() -> RecordTable[Account]:
    return RecordTable(
        name="accounts",
        key_bytes=ID_BYTES,
        decode=lambda stored: records.ACCOUNT.decode(split_account(stored)[1]),
        key=lambda account: pack_id(account.id),
        label=lambda account: party_of(account.id),
        revision=attrgetter("revision"),
    )


def _name(api_key: ApiKey) -> str:
    return named(api_key.account_id, "apiKeys", api_key.id)


class _Runs:
    """How many rows of a table begin with each account, asked for in rising order."""

    def __init__(self, snapshot: Snapshot, table: str) -> None:
        keys = groupby(snapshot.keys(table), lambda key: key[:ID_BYTES])
        self._runs = ((account, sum(1 for _ in run)) for account, run in keys)
        self._next = next(self._runs, None)

    def of(self, account: bytes) -> int:
        while self._next is not None and self._next[0] < account:
            self._next = next(self._runs, None)
        return self._next[1] if self._next is not None and self._next[0] == account else 0
