"""What the store has kept of one round: ledger and events of its devices, and what follows from them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from ftc_core.domain.event import Event, EventKind
from ftc_core.domain.ledger import LedgerEntry, LedgerKind, first_broken
from ftc_core.storage.port import View
from tests.proof.scenario import DEVICES, Scenario

__all__ = ["Change", "Records", "Timeline", "read_changes"]

Value = TypeVar("Value")
_PAGE = 10_000
_ON_THE_LIST = (EventKind.ENROLLMENT_CREATED, EventKind.ENROLLMENT_TRANSFERRED)
_OFF_THE_LIST = (EventKind.ENROLLMENT_DELETED, EventKind.ENROLLMENT_EXPIRED)


class Change(msgspec.Struct, frozen=True):
    """One change of ownership: who has the device from this revision on, and who had it before."""

    revision: int
    device: int
    kind: LedgerKind
    device_id: str
    owner: str | None
    former: str | None
    transfer_id: str | None


class Timeline(Generic[Value]):
    """A value, and the revisions from which on it was another."""

    def __init__(self, first: Value) -> None:
        self._revisions = [0]
        self._values = [first]

    def set(self, revision: int, value: Value) -> None:
        """From this revision on; they rise."""
        assert revision > self._revisions[-1]
        self._revisions.append(revision)
        self._values.append(value)

    def at(self, revision: int) -> Value:
        """What it was at this revision."""
        return self._values[bisect_right(self._revisions, revision) - 1]

    @property
    def last(self) -> Value:
        """What it is now."""
        return self._values[-1]


class Records:
    """Of the devices of a round, from `view`, after the revision `after`.

    Asserts that each ledger is a chain in which every entry follows from the one before; so each certificate
    has one owner, or none, at every revision.
    """

    def __init__(self, view: View, scenario: Scenario, after: int) -> None:
        numbers = {scenario.fingerprint(number): number for number in range(DEVICES)}
        self.revision = view.revision()
        self.events = [event for event in _events(view, after) if event.fingerprint in numbers]
        self.changes = sorted(
            (
                change
                for fingerprint, number in numbers.items()
                for change in read_changes(number, view.ledger(fingerprint))
            ),
            key=lambda change: change.revision,
        )
        self.owner: dict[int, Timeline[tuple[str, str] | None]] = {
            number: Timeline(None) for number in range(DEVICES)
        }
        self.owned: dict[str, Timeline[int]] = {party.id: Timeline(0) for party in scenario.parties}
        for change in self.changes:
            has = None if change.owner is None else (change.owner, change.device_id)
            self.owner[change.device].set(change.revision, has)
            for account, more in ((change.owner, 1), (change.former, -1)):
                if account is not None:
                    count = self.owned[account]
                    count.set(change.revision, count.last + more)
        self.listed: dict[int, Timeline[str | None]] = {number: Timeline(None) for number in range(DEVICES)}
        for event in self.events:
            if event.kind in (*_ON_THE_LIST, *_OFF_THE_LIST):
                assert event.fingerprint is not None
                account = event.account_id if event.kind in _ON_THE_LIST else None
                self.listed[numbers[event.fingerprint]].set(event.revision, account)

    def revisions(self, before: int, after: int | None) -> range:
        """Those that a call may have met that began at one and ended at the other; None: it may never end."""
        return range(before, (self.revision if after is None else after) + 1)


def read_changes(device: int, entries: Sequence[LedgerEntry]) -> Iterator[Change]:
    """What a ledger tells. Asserts that it is whole, and that each change follows from the one before."""
    assert first_broken(entries) is None, f"ledger of device {device}"
    owner, device_id = None, ""
    for entry in entries:
        about = f"device {device}, owner {owner}: {entry}"
        former = owner
        match entry.kind:
            case LedgerKind.CLAIMED:
                assert owner is None, about
                owner, device_id = entry.account_id, entry.device_id
            case LedgerKind.RELEASED:
                assert (owner, device_id) == (entry.account_id, entry.device_id), about
                owner = None
            case LedgerKind.TRANSFERRED:
                assert (owner, device_id) == (entry.from_account_id, entry.device_id), about
                assert entry.account_id != owner, about
                owner = entry.account_id
        yield Change(entry.revision, device, entry.kind, device_id, owner, former, entry.transfer_id)


def _events(view: View, after: int) -> Iterator[Event]:
    while page := view.events(after_revision=after, limit=_PAGE):
        yield from page
        after = page[-1].revision
