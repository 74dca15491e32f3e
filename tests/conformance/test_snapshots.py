"""Copies of a store beside whoever writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftc_core.errors import FtcError, Reason
from ftc_core.storage.engines import check_store, open_snapshot, open_store
from ftc_core.storage.port import Store
from ftc_core.storage.snapshot import StoreSnapshot
from tests.conformance.scene import Scene
from tests.conformance.test_processes import answers_in, enroll, start_writer

WRITES = 400


def copied(snapshot: StoreSnapshot, *, at_once: int = 10_007) -> bytes:
    """A copy, read in pieces of an odd size; it must have the size that it says."""
    with snapshot.copy() as copy:
        pieces = [copy.read(at_once)]
        while len(pieces[-1]) == at_once:
            pieces.append(copy.read(at_once))
        assert copy.read(1) == b""
    data = b"".join(pieces)
    assert len(data) == copy.size
    return data


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], Scene]:
    """Makes a store of a copy; the check must find it whole."""

    def open_copy(data: bytes) -> Scene:
        place = tmp_path / "copy"
        place.mkdir()
        (place / "data.mdb").write_bytes(data)
        url = f"lmdb://{place}"
        assert check_store(url).passed
        return Scene(open_store(url))

    return open_copy


def test_a_copy_has_what_was_committed_and_none_of_what_was_refused(
    store: Store, url: str, opened: Callable[[bytes], Scene]
) -> None:
    scene = Scene(store)
    accounts = [scene.trusting_account(quota=20) for _ in range(2)]
    for number in range(60):
        scene.try_all(*(scene.create_enrollment(account, number) for account in accounts))
        scene.try_all(scene.claim_command(number), scene.claim_command(number + 1_000))
        scene.run(scene.create_enrollment(accounts[0], number + 500), validate_only=True)
        if number % 3 == 0:
            enrollment = scene.find_enrollment(number)
            assert enrollment is not None
            scene.release(enrollment)
    before = scene.snapshot()
    store.close()

    with open_snapshot(url) as snapshot:
        assert snapshot.view.revision() == before[0]
        data = copied(snapshot)

    copy = opened(data)
    assert copy.snapshot() == before
    copy.store.close()


def test_a_copy_is_of_the_moment_of_the_snapshot_whatever_is_written_meanwhile(
    store: Store, url: str, opened: Callable[[bytes], Scene]
) -> None:
    before = enroll(store, WRITES).snapshot()
    store.close()

    with open_snapshot(url) as snapshot:
        writer = start_writer(url, 0, WRITES // 2, 10)
        output, _ = writer.communicate(timeout=60)  # its commits are durable: nobody waited for the snapshot
        assert len(answers_in(output)) == WRITES // 2
        writer = start_writer(url, WRITES // 2, WRITES // 2, 1)
        data = copied(snapshot, at_once=512)
        assert snapshot.view.count_all_devices() == 0
    output, _ = writer.communicate(timeout=60)
    assert len(answers_in(output)) == WRITES // 2

    copy = opened(data)
    assert copy.snapshot() == before
    copy.store.close()


def test_a_copy_that_nobody_reads_to_its_end_ends(store: Store, url: str) -> None:
    enroll(store, 20_000)  # more than a pipe and LMDB's own buffers hold
    store.close()
    with open_snapshot(url) as snapshot:
        with snapshot.copy() as copy:
            assert copy.size > 4 * 1024**2
            assert len(copy.read(100)) == 100
        assert len(copied(snapshot)) == copy.size, "and another can be had"


def test_there_is_no_snapshot_of_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FtcError) as refusal, open_snapshot(f"lmdb://{tmp_path}"):
        pytest.fail("there is none")
    assert refusal.value.reason is Reason.DATA_DIRECTORY_MISSING
