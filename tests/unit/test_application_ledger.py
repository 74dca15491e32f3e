"""The ledger's use cases over a real store: checkpoints, keys, histories, exports; and an edited store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ftc_core.application import ledger_checkpoints
from ftc_core.application.context import ApplicationContext
from ftc_core.application.ledger_checkpoints import make_checkpoint, rotate_key
from ftc_core.application.ledger_export import export_ledger
from ftc_core.application.named_device import NamedDevice
from ftc_core.application.ownership import OwnershipVerification, ownership_history, verify_ownership
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger import LedgerEntry, LedgerKind, append
from ftc_core.domain.ledger_disclosure import EntryContent, ShownEntry, opened
from ftc_core.domain.ledger_verification import LedgerFault
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.ledger_commands import AddLedgerKey
from ftc_core.storage.lmdb import open_lmdb, records
from ftc_core.storage.lmdb.store import LmdbStore
from ftc_core.storage.lmdb.tables import number_key
from ftc_core.storage.port import Store
from tests.conformance.scene import NOW, Scene, fingerprint
from tests.conformance.test_transfers import accepted, offered
from tests.ledgers import verify


class DirectCommit:
    """One submission in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, submission: Submission) -> Outcome:
        [answer] = self._store.write([submission])
        if isinstance(answer, FtcError):
            raise answer
        return answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    store = open_lmdb(tmp_path / "store", create=True)
    yield store
    store.close()


@pytest.fixture
def scene(store: LmdbStore) -> Scene:
    return Scene(store)


@pytest.fixture
def keys(tmp_path: Path) -> LedgerKeyFiles:
    directory = DataDirectory(tmp_path / "data")
    directory.pki.mkdir(parents=True)
    files = LedgerKeyFiles(directory)
    files.create()
    return files


@pytest.fixture
def context(store: Store) -> ApplicationContext:
    return ApplicationContext(store=store, commit=DirectCommit(store), pepper=b"", now=lambda: NOW)


class World:
    """Accounts A and B, and devices: 1 of A, 2 given by A to B, 3 released by A, 4 claimed again by B."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.a, self.b = scene.trusting_account(), scene.trusting_account()
        enrollments = {number: scene.enrollment(self.a, number) for number in range(1, 5)}
        devices = {number: scene.claim(number).device for number in range(1, 5)}
        self.device_of_a = devices[1]
        accepted(scene, offered(scene, self.a, devices[2], to=self.b), self.b)
        for number in (3, 4):
            scene.release(enrollments[number])
        scene.enrollment(self.b, 4)
        scene.claim(4)

    def claim(self, number: int) -> None:
        self.scene.enrollment(self.a, number)
        self.scene.claim(number)


@pytest.fixture
def world(scene: Scene) -> World:
    return World(scene)


def device(number: int) -> NamedDevice:
    return NamedDevice(enrollment_identity=format_enrollment_id(fingerprint(number)))


async def document(context: ApplicationContext, keys: LedgerKeyFiles, viewer: str | None) -> list[bytes]:
    await make_checkpoint(context, keys)
    pieces = [piece async for piece in export_ledger(context, keys, viewer)]
    return b"".join(pieces).splitlines(keepends=True)


def faults(verification: OwnershipVerification) -> list[tuple[LedgerFault, int | None]]:
    return [(finding.fault, finding.sequence) for finding in verification.findings]


# --- checkpoints -----------------------------------------------------------------------------------


async def test_a_checkpoint_covers_all_that_was_entered(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    signed = await make_checkpoint(context, keys)
    checkpoint = signed.checkpoint
    assert (checkpoint.number, checkpoint.head_count, checkpoint.entry_count) == (1, 4, 1 + 2 + 2 + 3)
    assert checkpoint.made_at == NOW
    with context.store.view() as view:
        assert view.last_checkpoint() == signed


async def test_none_is_made_if_nothing_was_entered_since(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    first = await make_checkpoint(context, keys)
    world.scene.enrollment(world.a, 9)
    assert await make_checkpoint(context, keys) == first
    world.scene.claim(9)
    second = await make_checkpoint(context, keys)
    assert (second.checkpoint.number, second.checkpoint.head_count) == (2, 5)


async def test_a_ledger_without_entries_has_a_checkpoint(
    context: ApplicationContext, keys: LedgerKeyFiles
) -> None:
    signed = await make_checkpoint(context, keys)
    assert (signed.checkpoint.head_count, signed.checkpoint.entry_count) == (0, 0)
    assert verify(await document(context, keys, None), keys.first_public_key()) == []


async def test_what_is_entered_while_it_is_made_waits_for_the_next(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_checkpoints, "LEDGER_READ_AT_ONCE", 1)
    making = asyncio.create_task(make_checkpoint(context, keys))
    await asyncio.sleep(0)  # it begins
    for number in range(10, 20):
        world.claim(number)
        await asyncio.sleep(0)
    assert not making.done()
    checkpoint = (await making).checkpoint
    assert (checkpoint.head_count, checkpoint.entry_count) == (4, 8)
    assert verify(await document(context, keys, None), keys.first_public_key()) == []


async def test_of_two_made_at_once_both_get_one_that_stands(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    one, other = await asyncio.gather(make_checkpoint(context, keys), make_checkpoint(context, keys))
    assert one == other
    with context.store.view() as view:
        assert view.list_checkpoints(after=0, limit=9) == [one]


async def test_a_rotation_while_it_is_made_has_it_signed_by_the_new_key(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    await make_checkpoint(context, keys)
    world.claim(9)
    statement, signed = await asyncio.gather(rotate_key(context, keys), make_checkpoint(context, keys))
    assert signed.checkpoint.number == 2
    assert verify(await document(context, keys, None), keys.first_public_key()) == []
    with context.store.view() as view:
        assert view.list_ledger_keys()[-1] == statement


class CutShort(DirectCommit):
    """Its caller is cancelled right after the first commit of a key that follows another."""

    cut = False

    async def execute(self, submission: Submission) -> Outcome:
        outcome = await super().execute(submission)
        command = submission.command
        if isinstance(command, AddLedgerKey) and command.statement.number > 1 and not self.cut:
            self.cut = True
            raise asyncio.CancelledError
        return outcome


async def test_a_rotation_after_one_that_was_cut_short_keeps_its_key(
    store: Store, keys: LedgerKeyFiles, world: World
) -> None:
    context = ApplicationContext(store=store, commit=CutShort(store), pepper=b"", now=lambda: NOW)
    await make_checkpoint(context, keys)
    with pytest.raises(asyncio.CancelledError):
        await rotate_key(context, keys)
    await rotate_key(context, keys)
    world.claim(9)
    assert (await make_checkpoint(context, keys)).checkpoint.number == 2
    assert verify(await document(context, keys, None), keys.first_public_key()) == []
    with store.view() as view:
        assert len(view.list_ledger_keys()) == 3


async def test_old_checkpoints_verify_with_the_first_key_after_rotations(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    pinned = keys.first_public_key()
    before = await document(context, keys, None)
    for number in range(10, 13):
        await rotate_key(context, keys)
        await rotate_key(context, keys)
        world.claim(number)
        await make_checkpoint(context, keys)
    assert keys.first_public_key() == pinned
    assert verify(before, pinned) == []
    after = await document(context, keys, None)
    assert verify(after, pinned) == []
    with context.store.view() as view:
        statements = view.list_ledger_keys()
        assert len(view.list_checkpoints(after=0, limit=9)) == 4
    assert len(statements) == 7
    for statement in statements:
        assert verify(after, statement.public_key) == []


async def test_a_store_with_another_beginning_is_not_signed(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, tmp_path: Path
) -> None:
    await make_checkpoint(context, keys)
    world.claim(9)
    other = DataDirectory(tmp_path / "other")
    other.pki.mkdir(parents=True)
    foreign = LedgerKeyFiles(other)
    foreign.create()
    for use in (make_checkpoint, rotate_key):
        with pytest.raises(FtcError) as caught:
            await use(context, foreign)
        assert caught.value.reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


# --- histories -------------------------------------------------------------------------------------


def told(entries: tuple[ShownEntry, ...]) -> list[tuple[int, LedgerKind, str | None, str | None]]:
    found = []
    for entry in entries:
        assert isinstance(entry.content, EntryContent)
        content = entry.content
        found.append(
            (entry.sequence, content.kind, opened(content.account_id), opened(content.from_account_id))
        )
    return found


async def test_an_operator_reads_the_whole_history(context: ApplicationContext, world: World) -> None:
    history = await ownership_history(context, None, device(4))
    assert told(history.entries) == [
        (1, LedgerKind.CLAIMED, world.a.id, None),
        (2, LedgerKind.RELEASED, world.a.id, None),
        (3, LedgerKind.CLAIMED, world.b.id, None),
    ]
    assert history.owned_now
    assert not (await ownership_history(context, None, device(3))).owned_now


async def test_a_past_owner_reads_its_part_and_no_more(context: ApplicationContext, world: World) -> None:
    history = await ownership_history(context, world.a.id, device(4))
    assert [entry.sequence for entry in history.entries] == [1, 2]
    assert not history.owned_now
    given = await ownership_history(context, world.a.id, device(2))
    assert told(given.entries) == [
        (1, LedgerKind.CLAIMED, world.a.id, None),
        (2, LedgerKind.TRANSFERRED, None, world.a.id),
    ]


async def test_the_present_owner_reads_from_its_beginning(context: ApplicationContext, world: World) -> None:
    history = await ownership_history(context, world.b.id, device(2))
    assert told(history.entries) == [(2, LedgerKind.TRANSFERRED, world.b.id, None)]
    assert history.owned_now
    named = NamedDevice(world.a.id, world.device_of_a.id)
    assert (await ownership_history(context, world.a.id, named)).fingerprint == fingerprint(1)


@pytest.mark.parametrize("number", [1, 99])
async def test_who_never_owned_a_device_learns_nothing_of_it(
    context: ApplicationContext, world: World, number: int
) -> None:
    """Not even whether there is one."""
    for use in (ownership_history, verify_ownership):
        with pytest.raises(FtcError) as caught:
            await use(context, world.b.id, device(number))
        assert (caught.value.reason, caught.value.message) == (Reason.RESOURCE_NOT_FOUND, "device not found")


async def test_a_sound_history_verifies_for_all_who_owned_the_device(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    unsigned = await verify_ownership(context, None, device(4))
    assert (unsigned.checkpoint, unsigned.covered, unsigned.findings) == (None, 0, ())
    signed = await make_checkpoint(context, keys)
    for viewer, entries, covered in ((None, 3, 3), (world.a.id, 2, 2), (world.b.id, 1, 3)):
        verification = await verify_ownership(context, viewer, device(4))
        assert (verification.entries, verification.covered, verification.findings) == (entries, covered, ())
        assert verification.checkpoint == signed


async def test_what_came_after_the_checkpoint_is_chained_and_not_yet_covered(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    await make_checkpoint(context, keys)
    enrollment = world.scene.find_enrollment(4)
    assert enrollment is not None
    world.scene.release(enrollment)
    world.claim(9)
    old, new = [await verify_ownership(context, None, device(number)) for number in (4, 9)]
    assert (old.entries, old.covered, old.findings) == (4, 3, ())
    assert (new.entries, new.covered, new.findings) == (1, 0, ())


# --- exports ---------------------------------------------------------------------------------------


async def test_exports_verify_with_the_pinned_key(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    world.scene.account()
    for viewer, histories in ((None, 4), (world.a.id, 4), (world.b.id, 2)):
        lines = await document(context, keys, viewer)
        assert verify(lines, keys.first_public_key()) == []
        assert sum(line.startswith(b'{"type":"history"') for line in lines) == histories


async def test_an_account_s_export_names_no_other(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    text = b"".join(await document(context, keys, world.a.id)).decode()
    assert world.a.id in text
    assert world.b.id not in text


async def test_an_account_without_devices_has_a_document_without_histories(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    lines = await document(context, keys, world.scene.account().id)
    assert len(lines) == 4
    assert verify(lines, keys.first_public_key()) == []
    with pytest.raises(FtcError) as caught:
        await document(context, keys, "e" * 32)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_trees_of_several_tiles_are_exported_and_proven(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World
) -> None:
    world.scene.try_all(*(world.scene.create_enrollment(world.a, number) for number in range(100, 1200)))
    world.scene.try_all(*(world.scene.claim_command(number) for number in range(100, 1200)))
    signed = await make_checkpoint(context, keys)
    assert signed.checkpoint.head_count == 1104
    with context.store.view() as view:
        assert len(view.list_ledger_tiles()) == 2
    for viewer in (None, world.a.id, world.b.id):
        assert verify(await document(context, keys, viewer), keys.first_public_key()) == []
    for number in range(100, 1200, 137):
        verification = await verify_ownership(context, world.a.id, device(number))
        assert (verification.covered, verification.findings) == (1, ())


# --- a store that was edited -----------------------------------------------------------------------


class Edit:
    """Writes behind the back of the store, as whoever has the file can."""

    def __init__(self, store: LmdbStore) -> None:
        self._environment = store._environment
        self._tables = store._tables

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        database = getattr(self._tables, table)
        with self._environment.begin(write=True) as txn:
            if value is None:
                assert txn.delete(key, db=database)
            else:
                txn.put(key, value, db=database)

    def entry(self, entry: LedgerEntry) -> None:
        self.put("ledger", entry.fingerprint + number_key(entry.sequence), records.LEDGER_ENTRY.encode(entry))

    def drop(self, number: int, sequence: int) -> None:
        self.put("ledger", fingerprint(number) + number_key(sequence), None)


@pytest.fixture
def edit(store: LmdbStore) -> Edit:
    return Edit(store)


def entries_of(context: ApplicationContext, number: int) -> list[LedgerEntry]:
    with context.store.view() as view:
        return view.ledger(fingerprint(number))


def rewritten(entries: list[LedgerEntry], **changes: Any) -> list[LedgerEntry]:
    """A history with changes in its first entry, and all hashes right."""
    made: list[LedgerEntry] = []
    for position, entry in enumerate(entries):
        fields = msgspec.structs.asdict(entry) | (changes if position == 0 else {})
        for derived in ("sequence", "previous_hash", "hash"):
            del fields[derived]
        made.append(append(made[-1] if made else None, **fields))
    return made


async def found_everywhere(
    context: ApplicationContext, keys: LedgerKeyFiles, number: int
) -> tuple[list[tuple[LedgerFault, int | None]], list[tuple[LedgerFault, int | None]]]:
    """Of a device: what the store's own verification finds, and what that of an export does."""
    findings = verify(await document(context, keys, None), keys.first_public_key())
    exported = [(f.fault, f.sequence) for f in findings if f.fingerprint == fingerprint(number)]
    return faults(await verify_ownership(context, None, device(number))), exported


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_a_changed_value_is_named(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit, sequence: int
) -> None:
    await make_checkpoint(context, keys)
    entry = entries_of(context, 4)[sequence - 1]
    edit.entry(msgspec.structs.replace(entry, device_id="e" * 32))
    found, exported = await found_everywhere(context, keys, 4)
    assert (LedgerFault.ENTRY_CHANGED, sequence) in found
    assert (LedgerFault.ENTRY_CHANGED, sequence) in exported


async def test_a_dropped_entry_is_named(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    await make_checkpoint(context, keys)
    edit.drop(4, 2)
    assert (LedgerFault.ENTRY_MISSING, 2) in faults(await verify_ownership(context, None, device(4)))


async def test_a_history_that_lost_its_end_is_not_proven(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    await make_checkpoint(context, keys)
    edit.drop(4, 3)
    assert faults(await verify_ownership(context, None, device(4))) == [
        (LedgerFault.HISTORY_UNPROVEN, 2),
        (LedgerFault.OWNER_MISMATCH, 2),
    ]


@pytest.mark.parametrize("change", [{"device_id": "e" * 32}, {"revision": 10**6}])
async def test_a_history_rewritten_with_all_its_hashes_is_not_proven_and_no_more_signed(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit, change: dict[str, Any]
) -> None:
    """Also one that pretends to be newer than the checkpoint."""
    await make_checkpoint(context, keys)
    for entry in rewritten(entries_of(context, 1), **change):
        edit.entry(entry)
    assert LedgerFault.HISTORY_UNPROVEN in {
        fault for fault, _ in faults(await verify_ownership(context, None, device(1)))
    }
    world.claim(9)
    with pytest.raises(FtcError, match="the ledger is not what checkpoint 1 covers: among 1024") as caught:
        await make_checkpoint(context, keys)
    assert caught.value.reason is Reason.INTERNAL_5
    with context.store.view() as view:
        assert len(view.list_checkpoints(after=0, limit=9)) == 1


async def test_what_was_written_since_the_last_checkpoint_can_still_be_rewritten(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    """The limit of what is promised: until the next checkpoint the chain alone speaks for an entry."""
    await make_checkpoint(context, keys)
    world.claim(9)
    [entry] = rewritten(entries_of(context, 9), at=NOW.replace(year=2020))
    edit.entry(entry)
    assert faults(await verify_ownership(context, None, device(9))) == []


async def test_a_device_with_another_owner_than_its_ledger_says_is_named(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    await make_checkpoint(context, keys)
    edit.put("devices_by_fingerprint", fingerprint(1), None)
    assert faults(await verify_ownership(context, None, device(1))) == [(LedgerFault.OWNER_MISMATCH, 1)]


async def test_an_edited_checkpoint_or_key_is_named(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    signed = await make_checkpoint(context, keys)
    later = msgspec.structs.replace(signed.checkpoint, made_at=NOW.replace(year=2030))
    edited = SignedCheckpoint(later, signed.signature)
    edit.put("checkpoints", number_key(1), records.CHECKPOINT.encode(edited))
    assert faults(await verify_ownership(context, None, device(1))) == [
        (LedgerFault.CHECKPOINT_INVALID, None)
    ]
    with context.store.view() as view:
        [statement] = view.list_ledger_keys()
    forged = msgspec.structs.replace(statement, made_at=NOW.replace(year=2030))
    edit.put("ledger_keys", number_key(1), records.LEDGER_KEY.encode(forged))
    assert (LedgerFault.KEY_INVALID, None) in faults(await verify_ownership(context, None, device(1)))


async def test_a_tree_without_its_tiles_proves_nothing(
    context: ApplicationContext, keys: LedgerKeyFiles, world: World, edit: Edit
) -> None:
    await make_checkpoint(context, keys)
    edit.put("ledger_tiles", number_key(0), None)
    assert faults(await verify_ownership(context, None, device(1))) == [(LedgerFault.HISTORY_UNPROVEN, None)]
