"""An export of the ledger on its way: how far it has come, and what it does not cover yet."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ftc_core.cli.terminal import say
from ftc_core.domain.checkpoint import Checkpoint
from ftc_core.domain.ledger_export import CheckpointRecord, HeaderRecord, decode_record
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.watch_pb2 import DeviceEvent, WatchDevicesRequest
from ftc_grpc.cli.connection import Connection

__all__ = ["ExportBar", "tell_unsigned"]

_GAINED = frozenset({DeviceEvent.CLAIMED, DeviceEvent.TRANSFERRED_IN})
_GIVEN_UP = frozenset({DeviceEvent.RELEASED, DeviceEvent.TRANSFERRED_OUT})
_SILENT_S = 1
"""Seconds without an event after which the server says that there are no more: the least that it allows."""


class ExportBar(Progress):
    """How much of an export has come, on standard error if that is a terminal; counts its entries.

    `account_id` is that of the account that it is for, None: an operator; `checkpoint` the last in it.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        super().__init__(
            TextColumn("changes of ownership"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.entries = 0
        self.account_id: str | None = None
        self.checkpoint: Checkpoint | None = None
        self._task = self.add_task("", total=None)

    def add(self, piece: bytes) -> None:
        """The next piece, of whole lines."""
        for line in piece.splitlines():
            if line.startswith(b'{"type":"entry"'):
                self.entries += 1
            elif line.startswith((b'{"type":"header"', b'{"type":"checkpoint"')):
                self._note(line)
        self.update(self._task, completed=self.entries)

    def _note(self, line: bytes) -> None:
        record = decode_record(line)
        if isinstance(record, HeaderRecord):
            self.account_id = record.account_id
        elif isinstance(record, CheckpointRecord):
            self.checkpoint = record.signed.checkpoint
            self.update(self._task, total=self.checkpoint.entry_count)


def tell_unsigned(connection: Connection, checkpoint: Checkpoint) -> None:
    """Say how the account's devices changed hands since `checkpoint`: that is neither signed nor exported."""
    since = f"since checkpoint {checkpoint.number} of {checkpoint.made_at.isoformat(timespec='seconds')}"
    try:
        gained, given_up = _changes(connection, checkpoint.revision)
    except FtcError as error:
        if error.reason is not Reason.REVISION_COMPACTED:
            raise
        say(f"note: it is older than the events that are kept; what came {since} is not in it", err=True)
        return
    if gained or given_up:
        say(
            f"note: not signed yet, so not in it: devices gained: {gained}, given up: {given_up}, {since}. "
            "The next checkpoint covers them; an operator makes one with: ftc ledger checkpoint",
            err=True,
        )


def _changes(connection: Connection, revision: int) -> tuple[int, int]:
    """How often the account gained a device, and gave one up, after `revision`."""
    api = connection.api
    request = WatchDevicesRequest(parent=connection.parent, start_revision=revision + 1)
    request.progress_interval.FromSeconds(_SILENT_S)
    kinds: list[int] = []
    for number, response in enumerate(api.stream(api.devices.WatchDevices, request)):
        kinds += [event.kind for event in response.events]
        if number and not response.events:  # the first is told at once: the watch has begun
            break
    return sum(kind in _GAINED for kind in kinds), sum(kind in _GIVEN_UP for kind in kinds)
