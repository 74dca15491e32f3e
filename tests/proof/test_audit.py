"""The audit itself: what a sound store and honest answers give passes, and each falsification is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from ftc_core.domain import ledger
from ftc_core.domain.ledger import LedgerEntry, LedgerKind
from ftc_core.errors import Reason
from ftc_core.storage.commands import ClaimDevice, Claimed, Created, CreateEnrollments, DeleteEnrollment
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.port import View
from tests.conformance.scene import NOW, Scene, claim_request
from tests.instance import make_data_directory
from tests.proof.audit import audit_calls, audit_data, audit_store, audit_watch
from tests.proof.history import Action, Answer, Claim, Entry, Release
from tests.proof.records import Records, read_changes
from tests.proof.scenario import Party, Scenario
from tests.proof.watching import Told
from tests.whole_store import StoreHands


class World:
    """Device 0 was claimed, released, and claimed again by one account, and another account looked on."""

    def __init__(self, store_at: Path) -> None:
        self.store = open_lmdb(store_at, create=True)
        self._scene = Scene(self.store)
        accounts = [self._scene.trusting_account(quota=1), self._scene.trusting_account()]
        owner, other = (Party(account.id, "", account.device_quota, True) for account in accounts)
        self.owner, self.other = owner, other
        self.scenario = Scenario("world", [owner, other])
        self.start = self._scene.revision()
        self.entries: list[Entry] = []
        enrollment_id = self._enroll()
        self._claim()
        self._act(Release(0, owner.id, enrollment_id), DeleteEnrollment(owner.id, enrollment_id, NOW))
        self._enroll()
        self._claim()

    def view(self) -> AbstractContextManager[View]:
        return self.store.view()

    def records(self) -> Records:
        with self.view() as view:
            return Records(view, self.scenario, self.start)

    def call(self, action: Action, answer: Answer | None, before: int, after: int) -> Entry:
        return Entry(
            client="",
            action=action,
            answer=answer,
            invoked=0,
            returned=None if answer is None else 0,
            revision_before=before,
            revision_after=None if answer is None else after,
            began_at=NOW,
            ended_at=None if answer is None else NOW,
        )

    def _act(self, action: Action, command: ClaimDevice | DeleteEnrollment) -> None:
        before = self._scene.revision()
        outcome = self._scene.run(command)
        answer = Answer()
        if isinstance(outcome, Claimed):
            answer = Answer(account_id=outcome.device.account_id, device_id=outcome.device.id)
        self.entries.append(self.call(action, answer, before, self._scene.revision()))

    def _enroll(self) -> str:
        row = msgspec.structs.replace(
            self._scene.new_enrollment(self.owner.id, 0), fingerprint=self.scenario.fingerprint(0)
        )
        outcome = self._scene.run(CreateEnrollments((row,), NOW))
        assert isinstance(outcome, Created)
        return row.id

    def _claim(self) -> None:
        request = msgspec.structs.replace(claim_request(0), fingerprint=self.scenario.fingerprint(0))
        self._act(Claim(0), ClaimDevice(request, self._scene.new_id(), NOW))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def found_by_the_store_s_audit(world: World, records: Records, scenario: Scenario | None = None) -> bool:
    with world.view() as view:
        try:
            audit_store(view, scenario or world.scenario, records)
        except AssertionError:
            return True
    return False


def found_by_the_calls_audit(world: World, entries: list[Entry]) -> bool:
    try:
        audit_calls(entries, world.scenario, world.records())
    except AssertionError:
        return True
    return False


# --- ledgers ---------------------------------------------------------------------------------------


def chain(*steps: tuple[LedgerKind, str, str, str | None]) -> list[LedgerEntry]:
    """A sound chain: kind, account, device, and from whom."""
    entries: list[LedgerEntry] = []
    for revision, (kind, account, device, former) in enumerate(steps, start=1):
        entries.append(
            ledger.append(
                entries[-1] if entries else None,
                fingerprint=bytes(32),
                kind=kind,
                account_id=account,
                device_id=device,
                at=NOW,
                revision=revision,
                salts=bytes(ledger.SALTS_BYTES),
                from_account_id=former,
                transfer_id=None if former is None else "t",
            )
        )
    return entries


CLAIMED = (LedgerKind.CLAIMED, "A", "d", None)
MOVED = (LedgerKind.TRANSFERRED, "B", "d", "A")
RELEASED = (LedgerKind.RELEASED, "B", "d", None)


def test_a_ledger_in_which_each_change_follows_from_the_one_before_is_read() -> None:
    changes = list(read_changes(0, chain(CLAIMED, MOVED, RELEASED, CLAIMED)))
    assert [(change.former, change.owner) for change in changes] == [
        (None, "A"),
        ("A", "B"),
        ("B", None),
        (None, "A"),
    ]


@pytest.mark.parametrize(
    "entries",
    [
        chain(CLAIMED, CLAIMED),
        chain(CLAIMED, (LedgerKind.CLAIMED, "B", "e", None)),
        chain(CLAIMED, RELEASED),
        chain(CLAIMED, MOVED, MOVED),
        chain(CLAIMED, (LedgerKind.TRANSFERRED, "A", "d", "A")),
        chain(CLAIMED, (LedgerKind.TRANSFERRED, "B", "e", "A")),
        chain(MOVED),
        chain(RELEASED),
        chain(CLAIMED, MOVED, RELEASED)[1:],
        [*chain(CLAIMED, MOVED)[:1], *chain(CLAIMED, MOVED)],
    ],
    ids=lambda entries: "-".join(entry.kind for entry in entries),
)
def test_a_ledger_with_two_owners_or_none_to_give_is_rejected(entries: list[LedgerEntry]) -> None:
    with pytest.raises(AssertionError):
        list(read_changes(0, entries))


# --- the store -------------------------------------------------------------------------------------


def test_a_sound_store_passes(world: World) -> None:
    assert not found_by_the_store_s_audit(world, world.records())
    assert len(world.records().changes) == 3


@pytest.mark.parametrize("place", range(3))
def test_a_lost_or_doubled_entry_is_found(world: World, place: int) -> None:
    lost, doubled = world.records(), world.records()
    del lost.changes[place]
    doubled.changes.insert(place, doubled.changes[place])
    assert found_by_the_store_s_audit(world, lost)
    assert found_by_the_store_s_audit(world, doubled)


def test_data_that_is_not_whole_is_found(tmp_path: Path) -> None:
    directory = make_data_directory(tmp_path / "data")
    audit_data(directory.root)
    hands = StoreHands(directory.store)
    hands.delete("api_keys_by_account", hands.first("api_keys_by_account")[0])
    with pytest.raises(AssertionError, match="ENTRY_MISSING: api_keys_by_account"):
        audit_data(directory.root)


def test_an_event_that_is_missing_is_found(world: World) -> None:
    records = world.records()
    records.events = [event for event in records.events if event.revision != records.changes[1].revision]
    assert found_by_the_store_s_audit(world, records)


def test_a_quota_that_was_exceeded_for_a_moment_is_found(world: World) -> None:
    stricter = Scenario("world", [msgspec.structs.replace(world.owner, quota=0), world.other])
    assert found_by_the_store_s_audit(world, world.records(), stricter)


# --- answers ---------------------------------------------------------------------------------------


def test_honest_answers_pass_also_where_some_got_lost(world: World) -> None:
    assert not found_by_the_calls_audit(world, world.entries)
    assert not found_by_the_calls_audit(world, [entry.without_answer() for entry in world.entries])


@pytest.mark.parametrize("place", range(3))
def test_a_change_that_nobody_asked_for_is_found(world: World, place: int) -> None:
    assert found_by_the_calls_audit(world, [*world.entries[:place], *world.entries[place + 1 :]])


def test_an_acknowledgement_of_what_did_not_happen_is_found(world: World) -> None:
    claim = world.entries[0]
    assert claim.revision_after is not None
    other = Answer(account_id=world.other.id, device_id="d" * 32)
    false_claim = msgspec.structs.replace(claim, answer=other)
    assert found_by_the_calls_audit(world, [*world.entries, false_claim])
    release = world.call(
        Release(0, world.owner.id, "e" * 32), Answer(), claim.revision_after, claim.revision_after
    )
    assert found_by_the_calls_audit(world, [*world.entries, release])


def test_a_quota_or_a_name_that_refuses_for_no_reason_is_found(world: World) -> None:
    free, full = world.entries[0].revision_before, world.records().revision
    quota, name = Answer(reason=Reason.QUOTA_REACHED), Answer(reason=Reason.DUPLICATE_ENDPOINT)
    assert not found_by_the_calls_audit(world, [*world.entries, world.call(Claim(0), quota, full, full)])
    assert found_by_the_calls_audit(world, [*world.entries, world.call(Claim(0), quota, free, free)])
    assert found_by_the_calls_audit(world, [*world.entries, world.call(Claim(0), name, full, full)])


# --- watches ---------------------------------------------------------------------------------------


def test_a_watch_that_leaves_out_repeats_or_delays_an_event_is_found(world: World) -> None:
    records = world.records()
    devices = [Told(change.revision, change.kind.value, change.device_id, b"") for change in records.changes]
    kinds = {
        "ENROLLMENT_CREATED": "CREATED",
        "ENROLLMENT_CLAIMED": "CLAIMED",
        "ENROLLMENT_DELETED": "DELETED",
    }
    enrollments = [
        Told(event.revision, kinds[event.kind], str(event.enrollment_id), b"")
        for event in records.events
        if event.kind in kinds
    ]
    audit_watch(world.owner, devices, enrollments, records)
    audit_watch(world.other, [], [], records)
    for told in (devices[1:], [*devices, devices[-1]], [devices[1], devices[0], devices[2]]):
        with pytest.raises(AssertionError):
            audit_watch(world.owner, told, enrollments, records)
    for told in (enrollments[1:], enrollments[::-1]):
        with pytest.raises(AssertionError):
            audit_watch(world.owner, devices, told, records)
    with pytest.raises(AssertionError):
        audit_watch(world.other, devices, [], records)
