"""Two-party transfers, and the offers that devices are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from ftc_core.domain.integrity import Finding
from ftc_core.domain.transfer import DeviceTransfer, OfferedDevice, TransferState
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, named, place
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, ID_BYTES, NUMBER_BYTES, pack_id, time_key
from ftc_core.storage.lmdb.transfer_reads import OFFERED, RECEIVED

__all__ = ["check_transfers"]

_CODE_HASH_BYTES = 32


def check_transfers(snapshot: Snapshot) -> Iterator[Finding]:
    """Every transfer and its indexes; accounts may be gone, and devices may have left an open offer."""

    def inspect(own: bytes, transfer: DeviceTransfer) -> Iterator[Finding]:
        where, label = place("transfers", own), _name(transfer)
        is_open = transfer.state is TransferState.OFFERED
        if is_open is not (transfer.decided_at is None):
            found = f"state {transfer.state.value}, decided_at {transfer.decided_at}"
            yield impossible(where, label, "decided_at in every state but OFFERED", found)
        if transfer.code_hash is not None and len(transfer.code_hash) != _CODE_HASH_BYTES:
            found = f"{len(transfer.code_hash)} bytes"
            yield impossible(where, label, f"a hash of {_CODE_HASH_BYTES} bytes", found)

    def entries(own: bytes, transfer: DeviceTransfer) -> Iterable[Entry]:
        yield Entry("transfers_by_account", pack_id(transfer.account_id) + own, OFFERED)
        if transfer.receiver_account_id is not None:
            yield Entry("transfers_by_account", pack_id(transfer.receiver_account_id) + own, RECEIVED)
        if transfer.state is not TransferState.OFFERED:
            if transfer.decided_at is not None:
                yield Entry("transfers_decided", time_key(transfer.decided_at) + own)
            return
        yield Entry("transfer_expiry", time_key(transfer.expires_at) + own)
        for offered in transfer.devices:
            if _still_offered(snapshot, transfer, offered):
                yield Entry("transfer_by_fingerprint", offered.fingerprint, own)

    yield from check_records(
        snapshot,
        RecordTable(
            name="transfers",
            key_bytes=ID_BYTES,
            decode=records.TRANSFER.decode,
            key=lambda transfer: pack_id(transfer.id),
            label=_name,
            revision=attrgetter("revision"),
            entries=entries,
            inspect=inspect,
            indexes={
                "transfers_by_account": Index(2 * ID_BYTES, lambda _, key, value: key[ID_BYTES:]),
                "transfer_by_fingerprint": Index(FINGERPRINT_BYTES, lambda _, key, value: value),
                "transfer_expiry": Index(NUMBER_BYTES + ID_BYTES, lambda _, key, value: key[NUMBER_BYTES:]),
                "transfers_decided": Index(NUMBER_BYTES + ID_BYTES, lambda _, key, value: key[NUMBER_BYTES:]),
            },
        ),
    )


def _still_offered(snapshot: Snapshot, transfer: DeviceTransfer, offered: OfferedDevice) -> bool:
    """Whether the owner still has it: a device that was released has left the offer."""
    key = pack_id(transfer.account_id) + pack_id(offered.device_id)
    return snapshot.get("devices_by_fingerprint", offered.fingerprint) == key


def _name(transfer: DeviceTransfer) -> str:
    return named(transfer.account_id, "deviceTransfers", transfer.id)
