"""Compares what clients were told with what the store has kept: ledger, events, counts, watches.

The store numbers every change, so here the order is known, and what must hold at each revision can be looked
at there. What clients saw is judged without that order by `linearizability`.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ftc_core.domain.event import Event, EventKind
from ftc_core.domain.ledger import LedgerKind
from ftc_core.domain.transfer import TransferState
from ftc_core.errors import Reason
from ftc_core.storage.port import View
from tests.instance import FTC
from tests.proof.history import Claim, Decide, Decision, Entry, Release
from tests.proof.records import Change, Records
from tests.proof.scenario import DEVICES, Party, Scenario
from tests.proof.watching import Told

__all__ = ["audit_calls", "audit_data", "audit_store", "audit_watch"]

CHECK_S = 120.0
_EVENTS = {
    LedgerKind.CLAIMED: EventKind.DEVICE_CLAIMED,
    LedgerKind.RELEASED: EventKind.DEVICE_RELEASED,
    LedgerKind.TRANSFERRED: EventKind.DEVICE_TRANSFERRED,
}
_WATCHED = {
    EventKind.ENROLLMENT_CREATED: "CREATED",
    EventKind.ENROLLMENT_CLAIMED: "CLAIMED",
    EventKind.ENROLLMENT_DELETED: "DELETED",
    EventKind.ENROLLMENT_EXPIRED: "EXPIRED",
    EventKind.ENROLLMENT_EXPIRING: "EXPIRING",
}


# --- the store by itself -----------------------------------------------------------------------------


def audit_store(view: View, scenario: Scenario, records: Records) -> None:
    """Asserts that ledger, events, records and counts tell one story.

    In it, no quota was ever exceeded, and no account had two devices of one name.
    """
    told = [
        (event.revision, event.kind, event.account_id, event.from_account_id)
        for event in records.events
        if event.kind in _EVENTS.values()
    ]
    kept = [
        (
            change.revision,
            _EVENTS[change.kind],
            change.owner or change.former,
            change.former if change.kind is LedgerKind.TRANSFERRED else None,
        )
        for change in records.changes
    ]
    assert told == kept, "events and ledger differ"
    for number in range(DEVICES):
        _audit_device(view, scenario.fingerprint(number), number, records)
    for party in scenario.parties:
        count = records.owned[party.id].last
        listed = view.list_devices(party.id, after=None, limit=DEVICES + 1)
        assert count == view.count_devices(party.id) == len(listed), f"devices of {party.id}"
        enrolled = sum(timeline.last == party.id for timeline in records.listed.values())
        enrollments = view.list_enrollments(party.id, after=None, limit=DEVICES + 1)
        assert enrolled == view.count_enrollments(party.id) == len(enrollments), f"enrollments of {party.id}"
        _audit_quota(party, records)
    _audit_names(scenario, records)
    _audit_transfers(view, scenario, records)


def audit_data(data_dir: Path) -> None:
    """Asserts that the instance's data is whole, whatever goes on: `ftc check`, in a process of its own."""
    command = [*FTC, "check", "--data-dir", str(data_dir)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _audit_device(view: View, fingerprint: bytes, number: int, records: Records) -> None:
    [device], [enrollment] = view.find_devices([fingerprint]), view.find_enrollments([fingerprint])
    owner = None if device is None else (device.account_id, device.id)
    assert owner == records.owner[number].last, f"device {number}"
    listed = None if enrollment is None else enrollment.account_id
    assert listed == records.listed[number].last, f"enrollment of device {number}"
    claimed = enrollment is not None and enrollment.enrolled_device_id is not None
    assert claimed is (device is not None), f"device {number} and its enrollment"
    if device is not None and enrollment is not None:
        assert (device.account_id, device.id, device.enrollment_id) == (
            enrollment.account_id,
            enrollment.enrolled_device_id,
            enrollment.id,
        ), f"device {number} and its enrollment"


def _audit_quota(party: Party, records: Records) -> None:
    for change in records.changes:
        count = records.owned[party.id].at(change.revision)
        assert party.quota is None or count <= party.quota, f"{count} devices at {change} of {party.id}"


def _audit_names(scenario: Scenario, records: Records) -> None:
    for change in records.changes:
        owners = ((number, records.owner[number].at(change.revision)) for number in range(DEVICES))
        names = Counter((owner[0], scenario.endpoint_name(number)) for number, owner in owners if owner)
        assert set(names.values()) <= {1}, f"one name twice in an account at {change}: {names}"


def _audit_transfers(view: View, scenario: Scenario, records: Records) -> None:
    """Each accepted transfer moved all of its devices at once; no other moved any."""
    moved: dict[str, list[Change]] = {}
    for change in records.changes:
        if change.transfer_id is not None:
            moved.setdefault(change.transfer_id, []).append(change)
    for transfer_id, changes in moved.items():
        [receiver] = {change.owner for change in changes}
        transfer = view.get_transfer(str(receiver), transfer_id)
        assert transfer is not None, f"transfer {transfer_id} is not the receiver's to see"
        fingerprints = {offered.fingerprint for offered in transfer.devices}
        assert fingerprints == {scenario.fingerprint(change.device) for change in changes}, transfer
        span = range(changes[0].revision, changes[-1].revision + 1)
        between = {event.fingerprint for event in records.events if event.revision in span}
        assert between == fingerprints, f"something happened in the middle of {transfer}"
    for party in scenario.parties:
        for transfer in view.list_transfers(party.id, after=None, limit=10_000):
            assert (transfer.state is TransferState.ACCEPTED) is (transfer.id in moved), transfer


# --- what clients were told --------------------------------------------------------------------------


def audit_calls(entries: Sequence[Entry], scenario: Scenario, records: Records) -> None:
    """Asserts that the ledger has what was acknowledged, once, and nothing that nobody asked for."""
    for entry in entries:
        _audit_effect(entry, records)
        _audit_refusal(entry, scenario, records)
    ids = Counter(change.device_id for change in records.changes if change.kind is LedgerKind.CLAIMED)
    assert set(ids.values()) <= {1}, f"claimed twice: {ids}"
    for change in records.changes:
        causes = [entry for entry in entries if _caused(entry, change)]
        assert causes, f"nobody asked for {change}"


def _audit_effect(entry: Entry, records: Records) -> None:
    """What was acknowledged has happened, while the call lasted."""
    answer = entry.answer
    if answer is None or answer.reason is not None:
        return
    span = records.revisions(entry.revision_before, entry.revision_after)
    match entry.action:
        case Claim(device):
            granted = (answer.account_id, answer.device_id)
            assert any(records.owner[device].at(revision) == granted for revision in span), str(entry)
        case Release(device):
            assert any(records.listed[device].at(revision) is None for revision in span), str(entry)
        case Decide(decision=Decision.ACCEPT, transfer_id=transfer_id):
            moved = [
                change.device
                for change in records.changes
                if change.transfer_id == transfer_id and change.revision in span[1:]
            ]
            assert sorted(moved) == sorted(entry.action.devices), str(entry)


def _caused(entry: Entry, change: Change) -> bool:
    """Whether the change may be that call's doing."""
    late = entry.revision_after is not None and change.revision > entry.revision_after
    if late or change.revision <= entry.revision_before:
        return False
    answer = entry.answer
    if answer is not None and answer.reason is not None:
        return False
    match entry.action:
        case Claim(device) if change.kind is LedgerKind.CLAIMED:
            return device == change.device and (answer is None or answer.device_id == change.device_id)
        case Release(device, account) if change.kind is LedgerKind.RELEASED:
            return (device, account) == (change.device, change.former)
        case Decide(decision=Decision.ACCEPT, transfer_id=transfer_id):
            return transfer_id == change.transfer_id
        case _:
            return False


def _audit_refusal(entry: Entry, scenario: Scenario, records: Records) -> None:
    """A quota was reached, or a name taken, at some revision while the call lasted."""
    answer = entry.answer
    if answer is None or answer.reason not in (Reason.QUOTA_REACHED, Reason.DUPLICATE_ENDPOINT):
        return
    for revision in records.revisions(entry.revision_before, entry.revision_after):
        match entry.action:
            case Claim(device):
                account, more = records.listed[device].at(revision), 1
            case Decide(devices=devices, account_id=account):
                device, more = devices[0] if answer.about is None else answer.about, len(devices)
            case _:
                raise AssertionError(str(entry))
        if account is None:
            continue
        if answer.reason is Reason.QUOTA_REACHED:
            quota = scenario.party(account).quota
            if quota is not None and records.owned[account].at(revision) + more > quota:
                return
        else:
            owners = (
                records.owner[other].at(revision)
                for other in range(DEVICES)
                if other != device and scenario.endpoint_name(other) == scenario.endpoint_name(device)
            )
            if any(owner is not None and owner[0] == account for owner in owners):
                return
    raise AssertionError(f"refused for no reason: {entry}")


# --- watches -----------------------------------------------------------------------------------------


def audit_watch(party: Party, devices: Sequence[Told], enrollments: Sequence[Told], records: Records) -> None:
    """Asserts that the account was told of each change of ownership at its revision, of every event once."""

    def so_far(events: Iterable[Told]) -> list[tuple[int, str, str]]:
        return [(each.revision, each.kind, each.id) for each in events if each.revision <= records.revision]

    told = so_far(devices)
    ownership = [event for event in told if event[1] in _OWNERSHIP]
    assert ownership == list(_ownership_of(party.id, records.changes)), f"devices of {party.id}"
    events = [event for event in records.events if party.id in (event.account_id, event.from_account_id)]
    of_devices = [event.revision for event in events if event.kind.startswith("DEVICE_")]
    assert [event[0] for event in told] == of_devices, f"watch of the devices of {party.id}"
    of_enrollments = [
        (event.revision, _enrollment_kind(event, party.id), event.enrollment_id)
        for event in events
        if event.kind.startswith("ENROLLMENT_") and event.kind is not EventKind.ENROLLMENT_DENIED
    ]
    assert so_far(enrollments) == of_enrollments, f"watch of the enrollments of {party.id}"


_OWNERSHIP = ("CLAIMED", "RELEASED", "TRANSFERRED_IN", "TRANSFERRED_OUT")


def _ownership_of(account_id: str, changes: Iterable[Change]) -> Iterable[tuple[int, str, str]]:
    """What the ledger tells one account."""
    for change in changes:
        moved = change.kind is LedgerKind.TRANSFERRED
        if change.owner == account_id:
            yield change.revision, "TRANSFERRED_IN" if moved else "CLAIMED", change.device_id
        if change.former == account_id:
            yield change.revision, "TRANSFERRED_OUT" if moved else "RELEASED", change.device_id


def _enrollment_kind(event: Event, account_id: str) -> str:
    if event.kind is EventKind.ENROLLMENT_TRANSFERRED:
        return "TRANSFERRED_IN" if event.account_id == account_id else "TRANSFERRED_OUT"
    return _WATCHED[event.kind]
