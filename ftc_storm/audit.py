"""Whether the storm did what it must: every welcome device onboarded once, nobody else. Asked afterwards of
the store, of the ledger, and of the devices themselves; all three must agree. And the instance's data must be
whole, every record and index of it (`ftc check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from ftc_core.application.check import check_instance
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.ledger import LedgerEntry, LedgerKind, first_broken
from ftc_core.storage.engines import open_store
from ftc_storm.device import Stage, StormDevice
from ftc_storm.site import store_url

__all__ = ["Audit", "audit"]

_NAMED = 20


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of devices. `faults` names the first of those that are not as they must be, a line each."""

    welcome: int
    """That were to be onboarded."""
    onboarded: int
    """That have been: owned by the account, registered, and they know it."""
    lost: int
    """Welcome, and not onboarded, whatever the reason."""
    twice: int
    """With more than one claim in the ledger, or with a ledger that is broken or says anything else."""
    unwelcome: int
    """That were to be refused."""
    let_in: int
    """Of those, owned by anybody."""
    counted: int
    """What the account's quota counts."""
    not_whole: int
    """Faults that a check of the instance's data found."""
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Every device onboarded, none twice, none lost, nobody else let in, and the data whole."""
        wrong = self.lost or self.twice or self.let_in or self.not_whole
        return self.onboarded == self.welcome == self.counted and not wrong


def audit(data_dir: Path, account_id: str, devices: Sequence[StormDevice]) -> Audit:
    """Judge the store of the instance with this data directory, which may run. Blocks."""
    lost: list[str] = []
    twice: list[str] = []
    let_in: list[str] = []
    welcome = 0
    with closing(open_store(store_url(data_dir), read_only=True)) as store, store.view() as view:
        records = view.find_devices([device.fingerprint for device in devices])
        for device, record in zip(devices, records, strict=True):
            name = f"device {device.plan.index} ({device.plan.kind})"
            ledger = view.ledger(device.fingerprint)
            if not device.plan.kind.welcome:
                if record is not None or ledger:
                    let_in.append(f"{name}: owned, but was to be refused")
                continue
            welcome += 1
            if (fault := _lost(device, record, account_id)) is not None:
                lost.append(f"{name}: {fault}")
            if not _claimed_at_most_once(ledger, account_id):
                twice.append(f"{name}: its ledger has {[entry.kind.value for entry in ledger]}")
        counted = view.count_devices(account_id)
    checked = check_instance(data_dir)
    not_whole = [finding.text for finding in checked.findings]
    return Audit(
        welcome=welcome,
        onboarded=welcome - len(lost),
        lost=len(lost),
        twice=len(twice),
        unwelcome=len(devices) - welcome,
        let_in=len(let_in),
        counted=counted,
        not_whole=checked.findings_count,
        faults=tuple((*twice, *let_in, *not_whole, *lost)[:_NAMED]),
    )


def _lost(device: StormDevice, record: Device | None, account_id: str) -> str | None:
    """What keeps it from being onboarded; None if nothing does."""
    if record is None:
        return f"never claimed; {device.refusal or 'no failure seen'}"
    if record.account_id != account_id or device.account_id not in ("", account_id):
        return "claimed by another account"
    if device.stage is not Stage.ONBOARDED:
        return f"claimed, but not registered; {device.refusal or 'no failure seen'}"
    if record.state is not DeviceState.REGISTERED or record.id != device.device_id:
        return f"{record.state} as {record.id}; the device holds itself for {device.device_id}"
    return None


def _claimed_at_most_once(ledger: Sequence[LedgerEntry], account_id: str) -> bool:
    """No claim is the business of `_lost`; two, or one that another account made, are this one's."""
    kinds = [(entry.kind, entry.account_id) for entry in ledger]
    return kinds in ([], [(LedgerKind.CLAIMED, account_id)]) and first_broken(ledger) is None
