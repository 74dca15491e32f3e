"""One store, several processes; and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import lmdb.verify
import pytest

from ftc_core.domain.ledger import first_broken
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_core.storage.commands import CreateEnrollments
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import Store
from tests.conformance.scene import NOW, Scene, fingerprint

QUOTA_TEXT = CATALOGUE[Reason.QUOTA_REACHED].text


def enroll(store: Store, count: int, *, quota: int | None = None) -> Scene:
    """A store with `count` devices on the list of one account."""
    scene = Scene(store)
    account = scene.trusting_account(quota=quota)
    scene.run(CreateEnrollments(tuple(scene.new_enrollment(account.id, n) for n in range(count)), NOW))
    return scene


def start_writer(url: str, first: int, count: int, batch: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.conformance.writer_process"]
    return subprocess.Popen(
        [*command, url, str(first), str(count), str(batch)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def answers_in(output: str) -> dict[int, str]:
    return {int(number): answer for number, answer in (line.split(" ", 1) for line in output.splitlines())}


def owners(store: Store, count: int) -> dict[int, str]:
    """Device number → device ID, of those that are claimed."""
    with store.view() as view:
        devices = view.find_devices([fingerprint(number) for number in range(count)])
    return {number: device.id for number, device in enumerate(devices) if device is not None}


def assert_sound(store: Store, count: int) -> None:
    """Revisions in order, each ledger unbroken and ending with the owner, counts equal to what is there."""
    owned = owners(store, count)
    with store.view() as view:
        revisions = [event.revision for event in view.events(after_revision=0, limit=10**6)]
        assert all(earlier < later for earlier, later in pairwise(revisions))
        assert revisions[-1] <= view.revision()
        [account] = view.list_accounts(after=None, limit=2)
        assert account.device_count == view.count_devices(account.id) == len(owned)
        assert len(view.list_devices(account.id, after=None, limit=10**6)) == len(owned)
        for number in range(count):
            entries = view.ledger(fingerprint(number))
            assert first_broken(entries) is None
            assert [entry.device_id for entry in entries] == ([owned[number]] if number in owned else [])


def assert_file_sound(url: str) -> None:
    """Every page of the file, by LMDB's offline verifier, which never opens it through the engine."""
    if url.startswith("lmdb://"):
        assert lmdb.verify.verify(url.removeprefix("lmdb://")) == []  # type: ignore[no-untyped-call]


def test_processes_that_compete_agree_on_one_owner_and_on_the_quota(url: str, store: Store) -> None:
    enroll(store, 600, quota=400)
    writers = [start_writer(url, 0, 600, 7), start_writer(url, 0, 600, 13)]
    told = [answers_in(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert told[0] == told[1], "whoever asks is told the same device, or the same refusal"
    granted = {number: answer for number, answer in told[0].items() if answer != QUOTA_TEXT}
    assert len(granted) == 400
    assert owners(store, 600) == granted
    assert_sound(store, 600)


def test_what_was_acknowledged_survives_the_death_of_its_writer(url: str, store: Store) -> None:
    rounds = [(1, 0.0), (10, 0.01), (200, 0.0)]  # claims in a transaction, seconds until the kill
    count = 1_500 * len(rounds)
    enroll(store, count)
    store.close()
    acknowledged: dict[int, str] = {}
    for round_, (batch, delay) in enumerate(rounds):
        writer = start_writer(url, round_ * 1_500, 1_500, batch)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        rest, _ = writer.communicate()
        assert writer.returncode == -signal.SIGKILL
        answers = answers_in(first + rest)
        assert 0 < len(answers) < 1_500, "it was killed in the middle of its work"
        acknowledged |= answers
        assert_file_sound(url)
    reopened = open_store(url)
    try:
        owned = owners(reopened, count)
        assert acknowledged.items() <= owned.items()
        assert_sound(reopened, count)
        assert not Scene(reopened, first_id=10**6).claim(0).first_claim
    finally:
        reopened.close()


def test_a_process_that_dies_while_it_writes_blocks_nobody(url: str, store: Store) -> None:
    scene = enroll(store, 3_000)
    writer = start_writer(url, 0, 3_000, 100)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.kill()
    writer.communicate()
    assert len(owners(store, 3_000)) < 3_000
    assert scene.claim(2_999).first_claim
    assert_sound(store, 3_000)


@pytest.mark.made_up
def test_the_verifier_sees_damage(url: str, store: Store) -> None:
    """`assert_file_sound` is worth nothing if it cannot fail."""
    if not url.startswith("lmdb://"):
        pytest.skip("the verifier is LMDB's")
    enroll(store, 100)
    store.close()
    assert_file_sound(url)
    data = Path(url.removeprefix("lmdb://")) / "data.mdb"
    content = bytearray(data.read_bytes())
    for page in range(2 * 4096, len(content), 4096):
        content[page] ^= 0xFF  # the number that a page stores of itself
    data.write_bytes(content)
    with pytest.raises(AssertionError):
        assert_file_sound(url)


def test_a_store_that_is_not_there_is_missing(url: str) -> None:
    with pytest.raises(FtcError) as refusal:
        open_store(url)
    assert refusal.value.reason is Reason.DATA_DIRECTORY_MISSING
