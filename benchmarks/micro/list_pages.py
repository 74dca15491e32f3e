"""Lists: what one page costs at the beginning, in the middle and at the end of a long list, in every order.

    python -m benchmarks.micro.list_pages [ROWS]

Builds a store with ROWS devices (1,000,000 by default), all of one account, registered and enrolled, through
the engine's own tables and record codecs, in a temporary directory (TMPDIR decides on which disk). Then reads
pages of 50 through the use cases of ListDevices and ListDeviceEnrollments: the first page, the one in the
middle and the last one, each in turn, the median of several rounds on pages in the cache. If a page costs the
same wherever it lies, the ratios are near 1.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import lmdb

from ftc_core.application import devices, enrollment_lists
from ftc_core.application.context import ApplicationContext
from ftc_core.application.listing import Page, PageRequest
from ftc_core.domain.account import Account
from ftc_core.domain.device import Device, DeviceState, DeviceTime, name_position, time_position
from ftc_core.domain.enrollment import Enrollment, claim_position
from ftc_core.errors import FtcError
from ftc_core.limits import STORE_MAP_BYTES
from ftc_core.storage.commands import CreateAccount, Submission
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.lmdb.counts import Counts, join_account
from ftc_core.storage.lmdb.environment import open_environment
from ftc_core.storage.lmdb.records import ACCOUNT, DEVICE, ENROLLMENT
from ftc_core.storage.lmdb.tables import (
    device_time_prefix,
    endpoint_key,
    pack_id,
    time_order_key,
)

__all__ = ["Figure", "run"]

_ACCOUNT_ID = "a" * 32
_PAGE_ROWS = 50
_ROUNDS = 60
_START = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK = 20_000


class Figure(NamedTuple):
    """Microseconds for one page of a list in one order, by where it lies."""

    name: str
    first_us: float
    middle_us: float
    last_us: float

    @property
    def ratio(self) -> float:
        """The dearest of the three ÷ the cheapest."""
        return max(self[1:]) / min(self[1:])


class _NoCommit:
    """Lists write nothing."""

    async def execute(self, submission: Submission) -> NoReturn:
        raise AssertionError(submission)


def run(rows: int = 1_000_000) -> list[Figure]:
    """A figure for each list and order."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory:
        path = Path(directory) / "store"
        fleet = _build(path, rows)
        store = open_lmdb(path)
        context = ApplicationContext(store=store, commit=_NoCommit(), pepper=bytes(32))
        try:
            return asyncio.run(_measure(context, fleet))
        finally:
            store.close()


async def _measure(context: ApplicationContext, fleet: list[tuple[Enrollment, Device]]) -> list[Figure]:
    figures = []

    def device_list(order: str) -> Callable[[PageRequest], Coroutine[Any, Any, Page[Device]]]:
        return lambda request: devices.list_devices(
            context, None if order == "account_id" else _ACCOUNT_ID, request
        )

    positions: dict[str, Callable[[Device], str]] = {
        "id": lambda device: device.id,
        "endpoint_name": name_position,
        **{which.value: functools.partial(time_position, which=which) for which in DeviceTime},
        "account_id": lambda device: device.account_id + device.id,
    }
    for order, position in positions.items():
        places = sorted(position(device) for _, device in fleet)
        figures.append(await _figure(f"devices by {order}", device_list(order), order, places))
    claims: dict[str, Callable[[Enrollment], str]] = {
        "id": lambda enrollment: enrollment.id,
        "claimed_at": claim_position,
    }
    for order, place in claims.items():
        places = sorted(place(enrollment) for enrollment, _ in fleet)
        figures.append(
            await _figure(
                f"enrollments by {order}",
                lambda request: enrollment_lists.list_enrollments(context, _ACCOUNT_ID, request),
                order,
                places,
            )
        )
    return figures


async def _figure(
    name: str,
    read: Callable[[PageRequest], Coroutine[Any, Any, Page[Any]]],
    order: str,
    places: list[str],
) -> Figure:
    starts = (None, places[len(places) // 2], places[-_PAGE_ROWS - 1])
    times: tuple[list[float], ...] = ([], [], [])
    for number in range(_ROUNDS + 1):
        for start, measured in zip(starts, times, strict=True):
            began = time.perf_counter()
            page = await read(PageRequest(start, _PAGE_ROWS, order=order))
            elapsed = time.perf_counter() - began
            assert len(page.records) == _PAGE_ROWS
            if number:  # the first round brings the pages into the cache
                measured.append(elapsed * 1e6)
    return Figure(name, *map(statistics.median, times))


def _build(path: Path, rows: int) -> list[tuple[Enrollment, Device]]:
    """A store with `rows` enrollments and their devices."""
    store = open_lmdb(path, create=True)
    account = Account(id=_ACCOUNT_ID, display_name="Bench", created_at=_START, updated_at=_START)
    [answer] = store.write([Submission(CreateAccount(account))])
    if isinstance(answer, FtcError):
        raise answer
    store.close()
    chance = random.Random(1)
    fleet = [_member(number, rows, chance) for number in range(1, rows + 1)]
    environment, tables = open_environment(path, create=False, read_only=False, map_bytes=STORE_MAP_BYTES)
    contents: dict[str, list[tuple[bytes, bytes]]] = {}
    for enrollment, device in fleet:
        for table, key, value in _rows(enrollment, device):
            contents.setdefault(table, []).append((key, value))
    for table, content in contents.items():
        content.sort()
        _fill(environment, getattr(tables, table), content)
    with environment.begin(write=True) as txn:
        counts = Counts(devices=rows, enrollments=rows)
        txn.put(pack_id(_ACCOUNT_ID), join_account(counts, ACCOUNT.encode(account)), db=tables.accounts)
    environment.close()
    return fleet


def _fill(environment: lmdb.Environment, table: Any, content: list[tuple[bytes, bytes]]) -> None:
    for start in range(0, len(content), _CHUNK):
        with environment.begin(write=True, db=table) as txn, txn.cursor() as cursor:
            cursor.putmulti(content[start : start + _CHUNK], append=True)


def _member(number: int, rows: int, chance: random.Random) -> tuple[Enrollment, Device]:
    fingerprint = hashlib.sha256(number.to_bytes(8, "big")).digest()
    claimed_at = _START + timedelta(seconds=chance.randrange(rows))
    enrollment = Enrollment(
        id=f"{number:032x}",
        account_id=_ACCOUNT_ID,
        fingerprint=fingerprint,
        created_at=_START,
        claimed_at=claimed_at,
        enrolled_device_id=f"{number:032x}",
        revision=number,
    )
    device = Device(
        id=f"{number:032x}",
        account_id=_ACCOUNT_ID,
        endpoint_name=fingerprint[:8].hex(),
        fingerprint=fingerprint,
        trusted_certificate_id="c" * 32,
        enrollment_id=enrollment.id,
        state=DeviceState.REGISTERED,
        created_at=claimed_at,
        claimed_at=claimed_at,
        registered_at=claimed_at + timedelta(seconds=chance.randrange(rows)),
        last_seen_at=claimed_at + timedelta(seconds=chance.randrange(rows)),
        lifetime=86_400,
        revision=number,
    )
    return enrollment, device


def _rows(enrollment: Enrollment, device: Device) -> list[tuple[str, bytes, bytes]]:
    """Table, key and value of all that lists read of one device."""
    account, key, fingerprint = pack_id(_ACCOUNT_ID), pack_id(device.id), device.fingerprint
    times = [
        ("devices_by_time", time_order_key(device_time_prefix(account, which), device.time(which), key), b"")
        for which in DeviceTime
    ]
    return [
        ("enrollments", fingerprint, ENROLLMENT.encode(enrollment)),
        ("enrollments_by_account", account + key, fingerprint),
        ("enrollments_by_claim", time_order_key(account, enrollment.claimed_at, key), b""),
        ("devices", account + key, DEVICE.encode(device)),
        ("devices_by_fingerprint", fingerprint, account + key),
        ("endpoint_names", endpoint_key(account, device.endpoint_name), fingerprint),
        *times,
    ]


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{wanted:,} rows, pages of {_PAGE_ROWS}, microseconds")
    for figure in run(wanted):
        spread = f"{figure.first_us:9,.0f} {figure.middle_us:9,.0f} {figure.last_us:9,.0f}"
        print(f"{figure.name:28} {spread}   ratio {figure.ratio:.2f}")
