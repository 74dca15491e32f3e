"""Pages of a list in any order, while rows come, go and change between them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.application import devices, enrollment_lists
from ftc_core.application.context import ApplicationContext
from ftc_core.application.listing import Page, PageRequest
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.lmdb import open_lmdb
from tests.conformance.scene import NOW, Scene, fingerprint

Write = tuple[Literal["enroll", "claim", "register", "release"], int]

FIRST_STAYING = 100
"""Numbers of the devices that are left alone begin here; those below come and go."""
numbers = st.integers(0, 9)
writes = st.lists(st.tuples(st.sampled_from(["enroll", "claim", "register", "release"]), numbers), max_size=8)


class Direct:
    """A committer that writes at once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def execute(self, submission: Submission) -> Outcome:
        return self._scene.run(submission.command)


class World:
    """An account with devices that stay, and others that come and go."""

    def __init__(self, scene: Scene, staying: int) -> None:
        self.scene = scene
        self.account = scene.trusting_account()
        self.now = NOW
        for number in range(FIRST_STAYING, FIRST_STAYING + staying):
            scene.enrollment(self.account, number)
            if number % 3:
                self._claim(number)
            if number % 3 == 2:
                self._register(number)
        self.context = ApplicationContext(
            store=scene.store, commit=Direct(scene), pepper=bytes(32), now=lambda: self.now
        )

    def write(self, done: Sequence[Write]) -> None:
        for verb, number in done:
            self.now += timedelta(milliseconds=1)
            enrollment, device = self.scene.find_enrollment(number), self.scene.find_device(number)
            if verb == "enroll" and enrollment is None:
                self.scene.enrollment(self.account, number)
            elif verb == "claim" and enrollment is not None:
                self._claim(number)
            elif verb == "register" and device is not None:
                self._register(number)
            elif verb == "release" and enrollment is not None:
                self.scene.release(enrollment, now=self.now)

    def _claim(self, number: int) -> None:
        # Names, times and IDs in three different orders.
        self.now += timedelta(milliseconds=number * 7 % 5)
        self.scene.claim(number, now=self.now, endpoint_name=f"{number * 31 % 97}-{number}")

    def _register(self, number: int) -> None:
        device = self.scene.find_device(number)
        assert device is not None
        self.scene.run(self.scene.register_command(device, now=self.now))


def walk(world: World, kind: str, request: PageRequest, between: Sequence[Sequence[Write]]) -> list[bytes]:
    """The fingerprints on all pages; before each page but the first, one of `between` is written."""
    seen: list[bytes] = []
    remaining = iter(between)
    while True:
        account_id = None if request.order == "account_id" else world.account.id
        page: Page[Enrollment] | Page[Device]
        if kind == "enrollments":
            page = asyncio.run(enrollment_lists.list_enrollments(world.context, account_id, request))
        else:
            page = asyncio.run(devices.list_devices(world.context, account_id, request))
        seen += [row.fingerprint for row in page.records]
        if page.next_after is None:
            return seen
        assert len(page.records) == request.size
        request = msgspec.structs.replace(request, after=page.next_after)
        world.write(next(remaining, []))


def value(row: Enrollment | Device, order: str) -> tuple[bool, object, str]:
    """What rows are ordered by: absent before present, then the value, then the ID."""
    found = getattr(row, order)
    if isinstance(found, str):
        return True, found.encode(), row.id
    return found is not None, found, row.id


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(
        [("enrollments", name) for name in (*enrollment_lists.ORDERS, *enrollment_lists.ORDERS_OF_ALL)]
        + [("devices", name) for name in (*devices.ORDERS, *devices.ORDERS_OF_ALL)]
    ),
    descending=st.booleans(),
    size=st.integers(1, 4),
    staying=st.integers(0, 9),
    before=writes,
    between=st.lists(writes, max_size=20),
)
def test_row_that_stands_throughout_comes_once_and_in_order(
    order: tuple[str, str],
    descending: bool,
    size: int,
    staying: int,
    before: list[Write],
    between: list[list[Write]],
) -> None:
    kind, name = order
    with tempfile.TemporaryDirectory(prefix="ftc-pages-") as directory:
        store = open_lmdb(Path(directory), create=True)
        try:
            world = World(Scene(store), staying)
            world.write(before)
            seen = walk(world, kind, PageRequest(size=size, order=name, descending=descending), between)
            with store.view() as view:
                rows: list[Enrollment] | list[Device]
                if kind == "enrollments":
                    rows = view.list_enrollments(world.account.id, after=None, limit=99)
                else:
                    rows = view.list_devices(world.account.id, after=None, limit=99)
        finally:
            store.close()
    still = {
        row.fingerprint: value(row, name)
        for row in rows
        if row.fingerprint
        in {fingerprint(number) for number in range(FIRST_STAYING, FIRST_STAYING + staying)}
    }
    assert [one for one in seen if one in still] == sorted(still, key=still.__getitem__, reverse=descending)
