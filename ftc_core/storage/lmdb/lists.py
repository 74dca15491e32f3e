# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: the lists of enrollments and devices, in every order that an index serves."""

from __future__ import annotations

from collections.abc import Iterator

import lmdb

from ftc_core.domain.device import Device, DeviceTime
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.ordering import TIME_BYTES, sortable_time
from ftc_core.limits import ENDPOINT_NAME_MAX_BYTES
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.scan import Row, above, read_page, read_position
from ftc_core.storage.lmdb.tables import ID_BYTES, Tables, device_time_prefix, pack_id

__all__ = ["LmdbLists"]

_NAME_BYTES = range(ENDPOINT_NAME_MAX_BYTES + 1)
_WAITING = sortable_time(None)
"""Stands in `enrollments_by_claim` for the time of a claim that has not come."""


class LmdbLists:
    """A part of the port's `View` over one transaction. An ID of the wrong form names nothing."""

    __slots__ = ("_tables", "_txn")

    def __init__(self, txn: lmdb.Transaction[bytes], tables: Tables) -> None:
        self._txn = txn
        self._tables = tables

    # --- enrollments -------------------------------------------------------------------------------

    def list_enrollments(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        page = self._page_of(self._tables.enrollments_by_account, account_id, after, limit, descending)
        return [self._enrollment(fingerprint) for _, fingerprint in page]

    def list_waiting_enrollments(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        account = _packed(account_id)
        if account is None:
            return []
        page = self._page(self._tables.enrollments_by_claim, account + _WAITING, after, limit, descending)
        return [self._claimed_or_not(account, key) for key, _ in page]

    def list_enrollments_by_claim(
        self,
        account_id: str,
        *,
        after: str | None,
        limit: int,
        descending: bool = False,
        with_waiting: bool = True,
    ) -> list[Enrollment]:
        account, position = _packed(account_id), read_position(after, value_bytes=(TIME_BYTES,))
        if account is None:
            return []
        page = read_page(
            self._txn,
            self._tables.enrollments_by_claim,
            account if with_waiting else above(account + _WAITING),
            above(account),
            after=None if position is None else account + position,
            limit=limit,
            descending=descending,
        )
        return [self._claimed_or_not(account, key) for key, _ in page]

    def list_all_enrollments(
        self, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        page = self._page_of_all(self._tables.enrollments_by_account, after, limit, descending)
        return [self._enrollment(fingerprint) for _, fingerprint in page]

    def _claimed_or_not(self, account: bytes, key: bytes) -> Enrollment:
        """The enrollment of a key of `enrollments_by_claim`."""
        fingerprint = self._txn.get(account + key[-ID_BYTES:], None, self._tables.enrollments_by_account)
        if fingerprint is None:
            raise corrupt(f"enrollments_by_claim has {key.hex()}")
        return self._enrollment(fingerprint)

    def _enrollment(self, fingerprint: bytes) -> Enrollment:
        """That of an index."""
        stored = self._txn.get(fingerprint, None, self._tables.enrollments)
        if stored is None:
            raise corrupt(f"enrollments lacks {fingerprint.hex()}")
        return records.ENROLLMENT.decode(stored)

    # --- devices -----------------------------------------------------------------------------------

    def list_devices(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Device]:
        page = self._page_of(self._tables.devices, account_id, after, limit, descending)
        return [records.DEVICE.decode(stored) for _, stored in page]

    def list_devices_by_name(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False, prefix: str = ""
    ) -> list[Device]:
        account, position = _packed(account_id), read_position(after, value_bytes=_NAME_BYTES)
        encoded = prefix.encode()
        if account is None or len(encoded) not in _NAME_BYTES:
            return []
        low = account + encoded
        page = read_page(
            self._txn,
            self._tables.endpoint_names,
            low,
            above(low),
            after=None if position is None else account + position[:-ID_BYTES],
            limit=limit,
            descending=descending,
        )
        return [self._device_of_index(fingerprint) for _, fingerprint in page]

    def list_devices_by_time(
        self,
        account_id: str,
        which: DeviceTime,
        *,
        after: str | None,
        limit: int,
        descending: bool = False,
    ) -> list[Device]:
        account, position = _packed(account_id), read_position(after, value_bytes=(TIME_BYTES,))
        if account is None:
            return []
        low = device_time_prefix(account, which)
        page = read_page(
            self._txn,
            self._tables.devices_by_time,
            low,
            above(low),
            after=None if position is None else low + position,
            limit=limit,
            descending=descending,
        )
        return [self._device(account + key[-ID_BYTES:]) for key, _ in page]

    def list_all_devices(self, *, after: str | None, limit: int, descending: bool = False) -> list[Device]:
        page = self._page_of_all(self._tables.devices, after, limit, descending)
        return [records.DEVICE.decode(stored) for _, stored in page]

    def _device_of_index(self, fingerprint: bytes) -> Device:
        key = self._txn.get(fingerprint, None, self._tables.devices_by_fingerprint)
        if key is None:
            raise corrupt(f"devices_by_fingerprint lacks {fingerprint.hex()}")
        return self._device(key)

    def _device(self, key: bytes) -> Device:
        stored = self._txn.get(key, None, self._tables.devices)
        if stored is None:
            raise corrupt(f"devices lacks {key.hex()}")
        return records.DEVICE.decode(stored)

    # --- pages -------------------------------------------------------------------------------------

    def _page_of(
        self,
        table: lmdb._Database,
        account_id: str,
        after: str | None,
        limit: int,
        descending: bool = False,
    ) -> Iterator[Row]:
        """A page of an account's rows in a table whose keys are account and ID."""
        account = _packed(account_id)
        return iter(()) if account is None else self._page(table, account, after, limit, descending)

    def _page_of_all(
        self, table: lmdb._Database, after: str | None, limit: int, descending: bool
    ) -> Iterator[Row]:
        """A page of such a table across all accounts; `after` has both IDs."""
        return read_page(
            self._txn,
            table,
            b"",
            above(b"\xff" * ID_BYTES),
            after=read_position(after, value_bytes=(ID_BYTES,)),
            limit=limit,
            descending=descending,
        )

    def _page(
        self, table: lmdb._Database, prefix: bytes, after: str | None, limit: int, descending: bool
    ) -> Iterator[Row]:
        """A page of a table whose keys are `prefix` and an ID, from the first past the ID `after`."""
        position = read_position(after)
        return read_page(
            self._txn,
            table,
            prefix,
            above(prefix),
            after=None if position is None else prefix + position,
            limit=limit,
            descending=descending,
        )


def _packed(account_id: str) -> bytes | None:
    try:
        return pack_id(account_id)
    except ValueError:
        return None
