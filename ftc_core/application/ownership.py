"""Who has owned a device: its history, as far as the caller may see it, and whether it is whole."""

from __future__ import annotations

import asyncio

import msgspec

from ftc_core.application.context import ApplicationContext
from ftc_core.application.ledger_proofs import LedgerProofs
from ftc_core.application.named_device import NamedDevice, find_fingerprint
from ftc_core.domain import ledger_keys
from ftc_core.domain.checkpoint import (
    Checkpoint,
    Head,
    LedgerTile,
    SignedCheckpoint,
    proves,
    verify_signature,
)
from ftc_core.domain.ledger import LedgerEntry, LedgerKind
from ftc_core.domain.ledger_disclosure import ShownEntry, disclose, own_entries
from ftc_core.domain.ledger_keys import KeyStatement, signer_of
from ftc_core.domain.ledger_verification import Finding, HistoryCheck, LedgerFault
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import Store, View

__all__ = ["OwnershipHistory", "OwnershipVerification", "ownership_history", "verify_ownership"]


class OwnershipHistory(msgspec.Struct, frozen=True):
    """A device's history. `entries` are those that concern the viewer, none of them withheld as a whole."""

    fingerprint: bytes
    entries: tuple[ShownEntry, ...]
    owned_now: bool


class OwnershipVerification(msgspec.Struct, frozen=True):
    """What was found. `entries` is the number of those that concern the viewer.

    `covered` is the sequence of the last of them that `checkpoint` covers, 0 if it covers none: what came
    after it is chained, but not yet signed.
    """

    fingerprint: bytes
    entries: int
    checkpoint: SignedCheckpoint | None
    covered: int
    findings: tuple[Finding, ...]


async def ownership_history(
    context: ApplicationContext, viewer: str | None, target: NamedDevice
) -> OwnershipHistory:
    """The history of a device for an account, None: for an operator.

    Raises FtcError RESOURCE_NOT_FOUND if there is none, or the account has never owned the device;
    ENROLLMENT_ID_INVALID, ENROLLMENT_ID_VERSION_UNSUPPORTED.
    """
    with context.store.view() as view:
        fingerprint = find_fingerprint(view, target)
        shown = _shown(view.ledger(fingerprint), viewer)
        [device] = view.find_devices([fingerprint])
    owned_now = device is not None and viewer in (None, device.account_id)
    return OwnershipHistory(fingerprint, tuple(shown), owned_now)


async def verify_ownership(
    context: ApplicationContext, viewer: str | None, target: NamedDevice
) -> OwnershipVerification:
    """Verify the whole history of a device, with the entries of others, against the last checkpoint.

    Raises FtcError as `ownership_history`.
    """
    return await asyncio.to_thread(_verify, context.store, viewer, target)


def _verify(store: Store, viewer: str | None, target: NamedDevice) -> OwnershipVerification:
    with store.view() as view:
        fingerprint = find_fingerprint(view, target)
        entries = view.ledger(fingerprint)
        own = _shown(entries, viewer)
        other_owner = _check_record(view, entries[-1])
        signed, tiles, statements = view.last_checkpoint(), view.list_ledger_tiles(), view.list_ledger_keys()
    findings, head = [], None
    if signed is not None:
        findings += _check_signature(statements, signed)
        head, unproven = _check_proof(store, signed.checkpoint, tiles, fingerprint)
        findings += unproven
    check = HistoryCheck(fingerprint, head, newer=True)
    for entry in disclose(entries, None):
        check.add(entry)
    findings += [*check.finish(), *other_owner]
    covered = [entry.sequence for entry in own if head is not None and entry.sequence <= head.sequence]
    return OwnershipVerification(fingerprint, len(own), signed, max(covered, default=0), tuple(findings))


def _shown(entries: list[LedgerEntry], viewer: str | None) -> list[ShownEntry]:
    shown = own_entries(disclose(entries, viewer))
    if not shown:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
    return shown


def _check_signature(statements: list[KeyStatement], signed: SignedCheckpoint) -> list[Finding]:
    findings = []
    for position, statement in enumerate(statements):
        wrong = ledger_keys.what_is_wrong(statements[position - 1] if position else None, statement)
        if wrong is not None:
            findings.append(Finding(LedgerFault.KEY_INVALID, f"key {statement.number}: {wrong}"))
    signer = signer_of(statements, signed.checkpoint.number)
    if signer is None or not verify_signature(signed, signer.public_key):
        detail = f"checkpoint {signed.checkpoint.number}: the key whose turn it was has not signed it"
        findings.append(Finding(LedgerFault.CHECKPOINT_INVALID, detail))
    return findings


def _check_proof(
    store: Store, checkpoint: Checkpoint, tiles: list[LedgerTile], fingerprint: bytes
) -> tuple[Head | None, list[Finding]]:
    """The head that the checkpoint proves, if it covers the device."""
    genuine, proven = LedgerProofs(checkpoint, tiles).find(store, fingerprint)
    head = None if proven is None else proven.head
    if genuine and (proven is None or proves(checkpoint, proven.head, proven.proof)):
        return head, []
    detail = "the checkpoint does not prove this history, or not one of those beside it"
    sequence = None if head is None else head.sequence
    return None, [Finding(LedgerFault.HISTORY_UNPROVEN, detail, fingerprint, sequence)]


def _check_record(view: View, last: LedgerEntry) -> list[Finding]:
    """The ledger and the record of the device name the same owner."""
    [device] = view.find_devices([last.fingerprint])
    owner = None if device is None else (device.account_id, device.id)
    if owner == (None if last.kind is LedgerKind.RELEASED else (last.account_id, last.device_id)):
        return []
    detail = "the record of the device names another owner than its last entry"
    return [Finding(LedgerFault.OWNER_MISMATCH, detail, last.fingerprint, last.sequence)]
