"""Exporting the ledger: everything for an operator, its own part for an account.

The document is made in pieces, each in a thread, with a rest of the same length after it; nothing but the
tiles of the checkpoint's tree and one tile's histories is held.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from itertools import groupby

from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.ledger_proofs import LedgerProofs, Tile
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.domain.ledger_disclosure import disclose
from ftc_core.domain.ledger_export import (
    CheckpointRecord,
    EntryRecord,
    ExportWriter,
    HeaderRecord,
    HistoryRecord,
    KeyRecord,
)
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import LEDGER_PIECE_BYTES, LEDGER_READ_AT_ONCE, LEDGER_STEP_S
from ftc_core.storage.port import Store

__all__ = ["export_ledger"]


async def export_ledger(
    context: ApplicationContext, keys: LedgerKeyFiles, viewer: str | None
) -> AsyncGenerator[bytes, None]:
    """The document for an account, None: for an operator, in pieces of whole lines.

    It is the ledger as of the last checkpoint, whatever has become of it since: one must have been made.
    Raises FtcError RESOURCE_NOT_FOUND for an account that there is not, INTERNAL_5 if there is no checkpoint,
    DATA_DIRECTORY_INCOMPATIBLE if keys and store do not belong together, FILE_UNREADABLE.
    """
    if viewer is not None:
        with context.store.view() as view:
            require_account(view, viewer)
    lines = _lines(context, keys, viewer)
    ended = False
    while not ended:
        began = time.monotonic()
        piece, ended = await asyncio.to_thread(_next_piece, lines, began + LEDGER_STEP_S)
        await asyncio.sleep(time.monotonic() - began)
        if piece:
            yield piece


def _next_piece(lines: Iterator[bytes], until: float) -> tuple[bytes, bool]:
    """Lines, until there are enough of them or it is time; and whether these are the last."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= LEDGER_PIECE_BYTES or time.monotonic() >= until:
            return bytes(piece), False
    return bytes(piece), True


def _lines(context: ApplicationContext, keys: LedgerKeyFiles, viewer: str | None) -> Iterator[bytes]:
    """Those of the document, and an empty one for each step that gives none."""
    store, writer = context.store, ExportWriter()
    with store.view() as view:
        last, statements = view.last_checkpoint(), view.list_ledger_keys()
        tiles = view.list_ledger_tiles()
    if last is None:
        raise FtcError(Reason.INTERNAL_5, "the ledger has lost its checkpoints")
    key, proofs = keys.load(statements[-1].public_key), LedgerProofs(last.checkpoint, tiles)
    yield writer.line(HeaderRecord(1, context.now(), viewer))
    for statement in statements:
        yield writer.line(KeyRecord(statement))
    for signed in [last] if viewer is not None else _checkpoints(store, last):
        yield writer.line(CheckpointRecord(signed))
    for number, wanted in _every(proofs) if viewer is None else _owned(store, proofs, viewer):
        entries: list[LedgerEntry] = []
        for page in proofs.pages(number, store):
            entries += page
            yield b""
        yield from _histories(writer, proofs.tile(number, entries), wanted, viewer)
    yield writer.end(last.checkpoint, key)


def _checkpoints(store: Store, last: SignedCheckpoint) -> Iterator[SignedCheckpoint]:
    """All, up to the last one of the document."""
    after = 0
    while after < last.checkpoint.number:
        with store.view() as view:
            page = view.list_checkpoints(after=after, limit=LEDGER_READ_AT_ONCE)
        if not page:
            raise FtcError(Reason.INTERNAL_5, "the ledger has lost checkpoints")
        for signed in page:
            after = signed.checkpoint.number
            if after <= last.checkpoint.number:
                yield signed


def _every(proofs: LedgerProofs) -> Iterator[tuple[int, None]]:
    """Each tile, and all of it."""
    return ((number, None) for number in range(proofs.tile_count))


def _owned(store: Store, proofs: LedgerProofs, account_id: str) -> Iterator[tuple[int, list[bytes]]]:
    """Each tile in which the account has histories, and which those may be."""
    after: bytes | None = None
    while True:
        with store.view() as view:
            page = view.list_owned(account_id, after=after, limit=LEDGER_READ_AT_ONCE)
        if not page:
            return
        if proofs.tile_count:
            for number, fingerprints in groupby(page, proofs.tile_of):
                yield number, list(fingerprints)
        after = page[-1]


def _histories(
    writer: ExportWriter, tile: Tile, wanted: list[bytes] | None, viewer: str | None
) -> Iterator[bytes]:
    for fingerprint in tile.fingerprints if wanted is None else wanted:
        proven = tile.prove(fingerprint)
        if proven is None:  # it came after the checkpoint
            continue
        shown = disclose(proven.entries, viewer)
        if shown:
            yield writer.line(HistoryRecord(proven.head, proven.proof))
            for entry in shown:
                yield writer.line(EntryRecord(entry))
