"""The commands on the events as a whole: what keeps them bounded, and what begins them anew."""

from __future__ import annotations

from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CompactEvents, Done, Swept
from ftc_core.storage.epoch_commands import BeginEpoch
from ftc_core.storage.lmdb.tables import number_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["begin_epoch", "compact_events"]


def compact_events(writer: Writer, command: CompactEvents) -> Swept:
    """See the command."""
    tables, view = writer.tables, writer.view
    surplus = view.count_events() - command.keep
    removed: list[int] = []
    more = False
    for event in view.events(after_revision=0, limit=command.limit + 1):
        if len(removed) >= surplus and event.at >= command.before:
            break
        if len(removed) == command.limit:
            more = True
            break
        removed.append(event.revision)
    for revision in removed:
        writer.delete(tables.events, number_key(revision))
    if removed:
        writer.put(tables.meta, b"compacted", number_key(removed[-1]))
    return Swept(len(removed), more)


def begin_epoch(writer: Writer, command: BeginEpoch) -> Done:
    """See the command."""
    if command.revision <= writer.revision:
        raise FtcError(Reason.FIELD_INVALID, f"the store is at revision {writer.revision}", field="revision")
    writer.clear(writer.tables.events)
    writer.revision = command.revision
    writer.put(writer.tables.meta, b"compacted", number_key(command.revision))
    return Done(command.revision)
