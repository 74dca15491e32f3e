"""Checkpoints of the ledger and the keys that sign them.

The ledger only grows, and each entry has its revision: the heads as of a revision are the same whenever they
are read. So a checkpoint is made in short steps, each in a thread, with a snapshot of its own and a rest of
the same length after it: nothing is held in between, and no snapshot keeps the store from reusing its pages.

The same pass makes the tree of the checkpoint before once more. A ledger that does not give it has been
tampered with since, and is not signed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import zip_longest

from ftc_core.application.context import ApplicationContext
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.checkpoint import (
    Checkpoint,
    HeadFinder,
    HeadTree,
    LedgerTile,
    SignedCheckpoint,
    checkpoint_hash,
    root_of,
    sign_checkpoint,
)
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger_keys import KeyStatement, make_statement
from ftc_core.domain.merkle import TILE_LEAVES
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import LEDGER_READ_AT_ONCE
from ftc_core.storage.commands import Command, Submission
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from ftc_core.storage.port import Store

__all__ = ["make_checkpoint", "rotate_key"]

_ATTEMPTS = 3
"""How often somebody else may be quicker."""


async def make_checkpoint(context: ApplicationContext, keys: LedgerKeyFiles) -> SignedCheckpoint:
    """A checkpoint that covers the ledger as it is now: the last one, if nothing was entered since.

    Raises FtcError INTERNAL_5 if the ledger is not what the last one covers, DATA_DIRECTORY_INCOMPATIBLE if
    keys and store do not belong together, FILE_UNREADABLE.
    """
    for _ in range(_ATTEMPTS):
        with context.store.view() as view:
            last, revision, entries = view.last_checkpoint(), view.revision(), view.count_ledger()
        if last is not None and last.checkpoint.entry_count == entries:
            return last
        made = await _make(context, keys, None if last is None else last.checkpoint, revision)
        if made is not None:
            return made
    raise FtcError(Reason.ETAG_MISMATCH, "the ledger's checkpoints or keys change too quickly")


async def rotate_key(context: ApplicationContext, keys: LedgerKeyFiles) -> KeyStatement:
    """Let a new key sign from the next checkpoint on; the old one is gone afterwards.

    Raises FtcError DATA_DIRECTORY_INCOMPATIBLE if keys and store do not belong together, FILE_UNREADABLE.
    """
    # A rotation that was cut short left its key in the place of the next one: it has its turn before another.
    keys.load((await _statements(context, keys))[-1].public_key)
    new = keys.prepare()
    for _ in range(_ATTEMPTS):
        present = await _statements(context, keys)
        with context.store.view() as view:
            last = view.last_checkpoint()
        statement = make_statement(
            present[-1],
            new,
            keys.load(present[-1].public_key),
            made_at=context.now(),
            first_checkpoint=1 if last is None else last.checkpoint.number + 1,
        )
        if await _was_first(context, AddLedgerKey(statement)):
            keys.load(statement.public_key)
            return statement
    raise FtcError(Reason.ETAG_MISMATCH, "the ledger's checkpoints or keys change too quickly")


async def _make(
    context: ApplicationContext, keys: LedgerKeyFiles, last: Checkpoint | None, revision: int
) -> SignedCheckpoint | None:
    """The checkpoint after `last`, as of `revision`; None if somebody else was quicker."""
    reading = await _read_heads(context.store, revision, last)
    tree, tiles = reading.tree, reading.tree.finish()
    if last is not None:
        _check_reproduced(context.store, last, reading.before.finish())
    statement = (await _statements(context, keys))[-1]
    checkpoint = Checkpoint(
        number=1 if last is None else last.number + 1,
        made_at=context.now(),
        revision=revision,
        head_count=tree.head_count,
        entry_count=tree.entry_count,
        root_hash=root_of(tiles),
        previous_hash=checkpoint_hash(last),
        key_id=statement.key_id,
    )
    signed = sign_checkpoint(checkpoint, keys.load(statement.public_key))
    return signed if await _was_first(context, AddCheckpoint(signed, tuple(tiles))) else None


def _check_reproduced(store: Store, last: Checkpoint, tiles: Sequence[LedgerTile]) -> None:
    """Raises FtcError INTERNAL_5 if these are not the tiles of the last checkpoint."""
    if root_of(tiles) == last.root_hash:
        return
    with store.view() as view:
        pairs = zip_longest(tiles, view.list_ledger_tiles())
        differing = next((now or was for now, was in pairs if now != was), None)
    where = ""
    if differing is not None:
        where = f": among {TILE_LEAVES} devices from {format_enrollment_id(differing.first)} on"
    raise FtcError(Reason.INTERNAL_5, f"the ledger is not what checkpoint {last.number} covers{where}")


async def _read_heads(store: Store, revision: int, last: Checkpoint | None) -> _HeadReading:
    reading = _HeadReading(store, revision, 0 if last is None else last.revision)
    while True:
        began = time.monotonic()
        if not await asyncio.to_thread(reading.step):
            return reading
        await asyncio.sleep(time.monotonic() - began)


class _HeadReading:
    """Reads the ledger from its beginning to its end, a step at a time: `tree` as of `revision`, and `before`
    as of an earlier one.
    """

    def __init__(self, store: Store, revision: int, earlier: int) -> None:
        self.tree = HeadTree()
        self.before = HeadTree()
        self._store = store
        self._growing = ((HeadFinder(revision), self.tree), (HeadFinder(earlier), self.before))
        self._after: tuple[bytes, int] | None = None

    def step(self) -> bool:
        """Whether there is more."""
        with self._store.view() as view:
            entries = view.list_ledger(after=self._after, limit=LEDGER_READ_AT_ONCE)
        for finder, tree in self._growing:
            for entry in entries:
                if (head := finder.add(entry, entry.revision)) is not None:
                    tree.add(head)
        if len(entries) == LEDGER_READ_AT_ONCE:
            self._after = (entries[-1].fingerprint, entries[-1].sequence)
            return True
        for finder, tree in self._growing:
            if (head := finder.finish()) is not None:
                tree.add(head)
        return False


async def _statements(context: ApplicationContext, keys: LedgerKeyFiles) -> list[KeyStatement]:
    """The store's list of keys, which begins with the data directory's first one; enters that if need be."""
    first = keys.first_public_key()
    with context.store.view() as view:
        statements = view.list_ledger_keys()
    if not statements:
        key = keys.load(first)
        statement = make_statement(None, key, key, made_at=context.now(), first_checkpoint=1)
        await _was_first(context, AddLedgerKey(statement))
        with context.store.view() as view:
            statements = view.list_ledger_keys()
    if statements[0].public_key != first:
        raise FtcError(
            Reason.DATA_DIRECTORY_INCOMPATIBLE,
            "the store's ledger begins with another key than the data directory's",
        )
    return statements


async def _was_first(context: ApplicationContext, command: Command) -> bool:
    try:
        await context.commit.execute(Submission(command))
    except FtcError as error:
        if error.reason is Reason.ETAG_MISMATCH:
            return False
        raise
    return True
