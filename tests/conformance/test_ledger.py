"""The ledger in the store: entries in pages, who owned what, checkpoints with their tiles, keys."""

from __future__ import annotations

import msgspec
import pytest

from ftc_core.domain.checkpoint import Checkpoint, LedgerTile, SignedCheckpoint, heads_at
from ftc_core.domain.ledger import SALTS_BYTES, LedgerEntry, first_broken
from ftc_core.domain.ledger_keys import make_statement
from ftc_core.errors import Reason
from ftc_core.storage.commands import Done
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from tests.conformance.scene import NOW, Scene, fingerprint
from tests.conformance.test_transfers import accepted, offered
from tests.ledgers import checkpoint_of, keys, signing_key

KEYS = keys(3)


def all_entries(scene: Scene, *, page: int = 1_000) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    after: tuple[bytes, int] | None = None
    while True:
        with scene.store.view() as view:
            more = view.list_ledger(after=after, limit=page)
        if not more:
            return entries
        entries += more
        after = (more[-1].fingerprint, more[-1].sequence)


def owned(scene: Scene, account_id: str, *, after: bytes | None = None, limit: int = 100) -> list[bytes]:
    with scene.store.view() as view:
        return view.list_owned(account_id, after=after, limit=limit)


def standing(scene: Scene) -> tuple[SignedCheckpoint | None, list[LedgerTile], int]:
    with scene.store.view() as view:
        return view.last_checkpoint(), view.list_ledger_tiles(), len(view.list_ledger_keys())


def next_checkpoint(scene: Scene, previous: Checkpoint | None = None, *, key: int = 0) -> AddCheckpoint:
    heads = list(heads_at(all_entries(scene), scene.revision()))
    signed = checkpoint_of(heads, scene.revision(), previous=previous, key=key)
    tiles = tuple(LedgerTile(head.fingerprint, head.hash) for head in heads)
    return AddCheckpoint(signed, tiles)


# --- entries ---------------------------------------------------------------------------------------


def test_each_entry_has_salts_that_no_other_has(scene: Scene) -> None:
    account = scene.trusting_account()
    for number in range(2):
        scene.enrollment(account, number)
    scene.try_all(*(scene.claim_command(number) for number in range(2)))
    entries = all_entries(scene)
    assert len(entries) == 2
    salts = {entry.salts[at : at + 16] for entry in entries for at in range(0, SALTS_BYTES, 16)}
    assert len(salts) == 2 * 4


def test_the_whole_ledger_is_read_in_pages_of_any_size(scene: Scene) -> None:
    account = scene.trusting_account()
    for number in range(4):
        for _ in range(number):
            enrollment = scene.enrollment(account, number)
            scene.claim(number)
            scene.release(enrollment)
    with scene.store.view() as view:
        fingerprints = sorted(map(fingerprint, range(4)))
        expected = [entry for device in fingerprints for entry in view.ledger(device)]
        assert view.count_ledger() == len(expected) == 12
        assert view.list_ledger(after=None, limit=0) == []
    for page in (1, 2, 5, 12, 13):
        assert all_entries(scene, page=page) == expected


def test_a_page_that_is_read_later_has_no_other_history(scene: Scene) -> None:
    """Heads as of a revision are the same whenever they are read."""
    account = scene.trusting_account()
    for number in range(5):
        scene.enrollment(account, number)
    for number in range(3):
        scene.claim(number)
    revision = scene.revision()
    then = list(heads_at(all_entries(scene), revision))
    enrollment = scene.find_enrollment(1)
    assert enrollment is not None
    scene.release(enrollment)
    for number in (3, 4):
        scene.claim(number)
    assert list(heads_at(all_entries(scene), revision)) == then
    assert len(then) == 3


def test_an_account_s_ledger_has_all_that_it_ever_owned(scene: Scene) -> None:
    owner, receiver = scene.trusting_account(), scene.trusting_account()
    enrollments = [scene.enrollment(owner, number) for number in range(3)]
    devices = [scene.claim(number).device for number in range(2)]
    assert owned(scene, owner.id) == sorted(map(fingerprint, range(2)))
    scene.release(enrollments[0])
    accepted(scene, offered(scene, owner, devices[1], to=receiver), receiver)
    assert owned(scene, owner.id) == sorted(map(fingerprint, range(2)))
    assert owned(scene, receiver.id) == [fingerprint(1)]
    assert owned(scene, "no ID") == owned(scene, scene.new_id()) == []
    first, second = sorted(map(fingerprint, range(2)))
    assert owned(scene, owner.id, limit=1) == [first]
    assert owned(scene, owner.id, after=first) == [second]
    assert owned(scene, owner.id, after=second) == owned(scene, owner.id, limit=0) == []
    with scene.store.view() as view:
        assert all(first_broken(view.ledger(fingerprint(number))) is None for number in range(2))


# --- keys and checkpoints --------------------------------------------------------------------------


def test_keys_are_kept_in_order(scene: Scene) -> None:
    before = scene.revision()
    scene.run(AddLedgerKey(KEYS[0]))
    second = make_statement(KEYS[0], signing_key(1), signing_key(0), made_at=NOW, first_checkpoint=1)
    assert scene.run(AddLedgerKey(second)) == Done(before + 2)
    with scene.store.view() as view:
        assert view.list_ledger_keys() == [KEYS[0], second]


def test_a_key_that_does_not_follow_is_refused(scene: Scene) -> None:
    assert scene.refused(AddLedgerKey(KEYS[1])).reason is Reason.ETAG_MISMATCH
    scene.run(AddLedgerKey(KEYS[0]))
    forged = make_statement(KEYS[0], signing_key(1), signing_key(2), made_at=NOW, first_checkpoint=1)
    for statement in (KEYS[0], KEYS[1], forged):  # the second begins with a checkpoint that is not the next
        assert scene.refused(AddLedgerKey(statement)).reason is Reason.ETAG_MISMATCH
    assert standing(scene) == (None, [], 1)


@pytest.mark.made_up
def test_checkpoints_are_kept_and_their_tiles_take_the_place_of_those_before(scene: Scene) -> None:
    account = scene.trusting_account()
    scene.run(AddLedgerKey(KEYS[0]))
    empty = next_checkpoint(scene)
    scene.run(empty)
    assert standing(scene) == (empty.signed, [], 1)
    for number in range(3):
        scene.enrollment(account, number)
        scene.claim(number)
    three = next_checkpoint(scene, empty.signed.checkpoint)
    scene.run(three)
    assert standing(scene) == (three.signed, list(three.tiles), 1)
    fewer = next_checkpoint(scene, three.signed.checkpoint)
    fewer = AddCheckpoint(fewer.signed, fewer.tiles[:1])
    assert isinstance(scene.run(fewer), Done)
    assert standing(scene) == (fewer.signed, list(fewer.tiles), 1)
    with scene.store.view() as view:
        assert view.list_checkpoints(after=0, limit=10) == [empty.signed, three.signed, fewer.signed]
        assert view.list_checkpoints(after=1, limit=1) == [three.signed]
        assert view.list_checkpoints(after=3, limit=10) == []


def test_a_checkpoint_that_does_not_follow_is_refused(scene: Scene) -> None:
    assert scene.refused(next_checkpoint(scene)).reason is Reason.ETAG_MISMATCH, "there is no key"
    scene.run(AddLedgerKey(KEYS[0]))
    first = next_checkpoint(scene)
    scene.run(first)
    other = msgspec.structs.replace(first.signed.checkpoint, revision=0)
    for late in (
        first,
        next_checkpoint(scene, other),
        next_checkpoint(scene, first.signed.checkpoint, key=1),
    ):
        assert scene.refused(late).reason is Reason.ETAG_MISMATCH
    assert standing(scene) == (first.signed, [], 1)


def test_of_two_at_the_same_time_one_is_kept(scene: Scene) -> None:
    scene.run(AddLedgerKey(KEYS[0]))
    command = next_checkpoint(scene)
    answers = scene.try_all(command, command)
    assert [isinstance(answer, Done) for answer in answers] == [True, False]


def test_a_key_begins_with_the_next_checkpoint_and_the_one_before_ends_there(scene: Scene) -> None:
    scene.run(AddLedgerKey(KEYS[0]))
    first = next_checkpoint(scene)
    scene.run(first)
    scene.run(AddLedgerKey(KEYS[1]))
    assert KEYS[1].first_checkpoint == 2
    assert (
        scene.refused(next_checkpoint(scene, first.signed.checkpoint, key=0)).reason is Reason.ETAG_MISMATCH
    )
    assert isinstance(scene.run(next_checkpoint(scene, first.signed.checkpoint, key=1)), Done)
