"""The check of an LMDB store finds every kind of damage, names where it is, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import lmdb.verify
import msgspec
import pytest

from ftc_core.domain.account import AccountStatus
from ftc_core.domain.bulk import BulkStatus
from ftc_core.domain.certificate import CertificateStatus
from ftc_core.domain.integrity import FindingKind as Kind
from ftc_core.domain.ledger import LedgerKind, append
from ftc_core.domain.transfer import TransferState
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.engines import check_store, open_store
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.counts import Counts, join_account, split_account
from ftc_core.storage.lmdb.records import Codec
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, Tables, number_key, unpack_number
from tests.conformance.scene import HOUR, NOW, Scene, fingerprint
from tests.whole_store import StoreHands, make_whole_store

NOBODY = "e" * 32
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
"""LMDB's, too."""
RECORDS: Final[dict[str, Codec[Any]]] = {
    "api_keys": records.API_KEY,
    "bulk_batches": records.BULK_BATCH,
    "bulk_jobs": records.BULK_JOB,
    "blocks": records.BLOCK,
    "certificates": records.CERTIFICATE,
    "checkpoints": records.CHECKPOINT,
    "denials": records.DENIAL,
    "devices": records.DEVICE,
    "enrollments": records.ENROLLMENT,
    "events": records.EVENT,
    "last_bootstraps": records.LAST_BOOTSTRAP,
    "ledger": records.LEDGER_ENTRY,
    "ledger_keys": records.LEDGER_KEY,
    "transfers": records.TRANSFER,
}

Damage = Callable[[StoreHands], None]
Found = list[tuple[Kind, str]]
"""Kinds and tables of what must be found, in any order."""


@dataclass(frozen=True)
class Case:
    name: str
    damage: Damage
    expected: Found


CASES: list[Case] = []


def case(name: str, damage: Damage, *expected: tuple[Kind, str]) -> None:
    CASES.append(Case(name, damage, list(expected)))


def damaged(*expected: tuple[Kind, str]) -> Callable[[Damage], Damage]:
    """Adds the function below as a case."""

    def add(damage: Damage) -> Damage:
        case(damage.__name__, damage, *expected)
        return damage

    return add


def index_of(hands: StoreHands, table: str, codec: Codec[Any], **fields: Any) -> bytes:
    """The key of the first record with these values."""
    for key, stored in hands.rows(table):
        record = codec.decode(stored)
        if all(getattr(record, name) == value for name, value in fields.items()):
            return key
    raise AssertionError(fields)


# --- the same for many tables ------------------------------------------------------------------------


def _unreadable(table: str) -> Damage:
    return lambda hands: hands.put(table, hands.first(table)[0], b"\x01\xc1")


def _another_version(table: str) -> Damage:
    def damage(hands: StoreHands) -> None:
        key, stored = hands.first(table)
        hands.put(table, key, bytes([stored[0] + 1]) + stored[1:])

    return damage


def _short_key(table: str) -> Damage:
    return lambda hands: hands.put(table, b"\xff\xff", hands.first(table)[1])


def _elsewhere(table: str) -> Damage:
    """The first record, once more under a key on which there is none."""

    def damage(hands: StoreHands) -> None:
        key, stored = hands.first(table)
        hands.put(table, b"\xee" * len(key), stored)

    return damage


def _lost(table: str) -> Damage:
    return lambda hands: hands.delete(table, hands.first(table)[0])


def _left_over(table: str) -> Damage:
    """The first entry, once more under a key that none has."""

    def damage(hands: StoreHands) -> None:
        key, value = hands.first(table)
        hands.put(table, key[:-1] + bytes([key[-1] ^ 0x80]), value)

    return damage


def _wrong_value(table: str) -> Damage:
    def damage(hands: StoreHands) -> None:
        key, value = hands.first(table)
        hands.put(table, key, value[:-1] + bytes([value[-1] ^ 0x80]))

    return damage


def _ahead(table: str) -> Damage:
    return lambda hands: hands.change(table, RECORDS[table], hands.first(table)[0], revision=1 << 40)


for table in (*RECORDS, "accounts", "requests"):
    case(f"unreadable: {table}", _unreadable(table), (Kind.RECORD_UNREADABLE, table))
for table in RECORDS:
    case(f"another version: {table}", _another_version(table), (Kind.RECORD_UNREADABLE, table))
    if table not in ("bulk_batches", "last_bootstraps"):  # these do not tell their job, or device
        case(
            f"elsewhere: {table}",
            _elsewhere(table),
            (Kind.RECORD_MISPLACED, table),
            *([(Kind.COUNT_WRONG, "denial_counts")] if table == "denials" else []),
        )

_OTHERWISE_MALFORMED = {
    "meta": Kind.ENTRY_STALE,
    "last_bootstraps": Kind.ENTRY_STALE,
    "endpoint_names": Kind.ENTRY_STALE,
    "bulk_batches": Kind.ENTRY_STALE,
    "denial_counts": Kind.ENTRY_STALE,
    "ledger_tiles": Kind.ENTRY_WRONG,
}
for table in Tables.names():
    kind = _OTHERWISE_MALFORMED.get(table, Kind.KEY_MALFORMED)
    more = [(Kind.COUNT_WRONG, "denial_counts")] if table == "denials" else []
    case(f"short key: {table}", _short_key(table), (kind, table), *more)

COUNTED = {
    "api_keys_by_account": (Kind.COUNT_WRONG, "accounts"),
    "enrollments_by_account": (Kind.COUNT_WRONG, "accounts"),
}
INDEXES = (
    *("api_keys_by_account", "certificates_by_fingerprint", "inactive_cas", "trust_anchors_by_subject"),
    *("enrollments_by_account", "enrollments_by_claim", "enrollment_expiry"),
    *("devices_by_fingerprint", "devices_by_time", "endpoint_names", "registration_expiry"),
    *("ledger_by_account", "request_expiry"),
    *("bulk_jobs_by_account", "bulk_unfinished", "bulk_completed"),
    *("transfers_by_account", "transfer_by_fingerprint", "transfer_expiry", "transfers_decided"),
    *("denials_by_cause", "denials_by_time", "denial_expiry", "trust_anchors"),
)
for table in INDEXES:
    also = [COUNTED[table]] if table in COUNTED else []
    case(f"lost: {table}", _lost(table), (Kind.ENTRY_MISSING, table), *also)
for table in (*INDEXES, "ca_holders", "enrollment_notice", "denial_counts", "last_bootstraps"):
    also = [COUNTED[table]] if table in COUNTED else []
    case(f"left over: {table}", _left_over(table), (Kind.ENTRY_STALE, table), *also)
for table in (
    *("certificates_by_fingerprint", "enrollments_by_account", "devices_by_fingerprint", "endpoint_names"),
    *("transfers_by_account", "transfer_by_fingerprint", "denials_by_cause", "trust_anchors"),
):
    case(f"wrong value: {table}", _wrong_value(table), (Kind.ENTRY_WRONG, table))
for table in ("api_keys", "certificates", "enrollments", "devices", "transfers", "blocks", "denials"):
    case(f"ahead of the store: {table}", _ahead(table), (Kind.REVISION_IMPOSSIBLE, table))


# --- accounts ----------------------------------------------------------------------------------------


def _miscounted(name: str) -> Damage:
    def damage(hands: StoreHands) -> None:
        key, stored = hands.first("accounts")
        counts, record = split_account(stored)
        changed = counts._replace(**{name: getattr(counts, name) + 1})
        hands.put("accounts", key, join_account(changed, record))

    return damage


for name in Counts._fields:
    case(f"miscounted: {name}", _miscounted(name), (Kind.COUNT_WRONG, "accounts"))


@damaged((Kind.REVISION_IMPOSSIBLE, "accounts"))
def account_ahead_of_the_store(hands: StoreHands) -> None:
    key, stored = hands.first("accounts")
    counts, record = split_account(stored)
    account = msgspec.structs.replace(
        records.ACCOUNT.decode(record), revision=1 << 40, status=AccountStatus.SUSPENDED
    )
    hands.put("accounts", key, join_account(counts, records.ACCOUNT.encode(account)))


@damaged((Kind.REFERENCE_BROKEN, "certificates"), (Kind.REFERENCE_BROKEN, "devices"))
def account_lost_with_a_certificate_and_a_device(hands: StoreHands) -> None:
    hands.delete("accounts", hands.rows("accounts")[2][0])


@damaged((Kind.COUNT_WRONG, "accounts"))
def account_of_which_nothing_is_there_counts_something(hands: StoreHands) -> None:
    key, stored = hands.rows("accounts")[3]
    hands.put("accounts", key, join_account(Counts(devices=1), split_account(stored)[1]))


@damaged((Kind.RECORD_IMPOSSIBLE, "api_keys"))
def api_key_with_half_a_hash(hands: StoreHands) -> None:
    hands.change("api_keys", records.API_KEY, hands.first("api_keys")[0], secret_hash=bytes(16))


@damaged((Kind.RECORD_IMPOSSIBLE, "api_keys"))
def api_key_of_what_is_no_account_id(hands: StoreHands) -> None:
    hands.change("api_keys", records.API_KEY, hands.first("api_keys")[0], account_id="nobody")


# --- certificates ------------------------------------------------------------------------------------


@damaged((Kind.RECORD_IMPOSSIBLE, "certificates"), (Kind.ENTRY_WRONG, "trust_anchors"))
def certificate_with_a_flipped_byte(hands: StoreHands) -> None:
    hands.change("certificates", records.CERTIFICATE, hands.first("certificates")[0], certificate_der=b"b CA")


@damaged((Kind.ENTRY_MISSING, "inactive_cas"), (Kind.COUNT_WRONG, "trust_anchors"))
def certificate_deactivated_without_its_index(hands: StoreHands) -> None:
    key = hands.first("certificates")[0]
    hands.change("certificates", records.CERTIFICATE, key, status=CertificateStatus.INACTIVE)


@damaged((Kind.ENTRY_MISSING, "ca_holders"), (Kind.COUNT_WRONG, "trust_anchors"))
def holder_of_a_trust_anchor_lost(hands: StoreHands) -> None:
    fingerprint_of_it = hands.first("trust_anchors")[0]
    rows = (key for key, _ in hands.rows("ca_holders") if key.startswith(fingerprint_of_it))
    hands.delete("ca_holders", next(rows))


@damaged((Kind.COUNT_WRONG, "trust_anchors"))
def trust_anchor_miscounted(hands: StoreHands) -> None:
    key, value = hands.first("trust_anchors")
    hands.put("trust_anchors", key, number_key(unpack_number(value) + 1) + value[NUMBER_BYTES:])


@damaged((Kind.ENTRY_MISSING, "trust_anchors_by_subject"), (Kind.ENTRY_STALE, "trust_anchors_by_subject"))
def trust_anchor_trusted_since_another_revision(hands: StoreHands) -> None:
    key, value = hands.first("trust_anchors")
    hands.put("trust_anchors", key, value[:NUMBER_BYTES] + number_key(1) + value[2 * NUMBER_BYTES :])


# --- enrollments and devices -------------------------------------------------------------------------


def _claimed(hands: StoreHands) -> bytes:
    return index_of(hands, "enrollments", records.ENROLLMENT, fingerprint=fingerprint(2))


@damaged((Kind.RECORD_IMPOSSIBLE, "enrollments"), (Kind.OWNERSHIP_CONTRADICTED, "devices"))
def enrollment_claimed_by_no_device(hands: StoreHands) -> None:
    hands.change("enrollments", records.ENROLLMENT, _claimed(hands), enrolled_device_id=None)


@damaged((Kind.OWNERSHIP_CONTRADICTED, "enrollments"), (Kind.OWNERSHIP_CONTRADICTED, "devices"))
def enrollment_claimed_by_another_device(hands: StoreHands) -> None:
    hands.change("enrollments", records.ENROLLMENT, _claimed(hands), enrolled_device_id=NOBODY)


@damaged((Kind.RECORD_IMPOSSIBLE, "enrollments"))
def enrollment_with_half_a_verifier(hands: StoreHands) -> None:
    hands.change("enrollments", records.ENROLLMENT, _claimed(hands), claim_verifier=bytes(16))


@damaged(
    (Kind.ENTRY_STALE, "enrollments_by_account"),
    (Kind.ENTRY_STALE, "enrollments_by_claim"),
    (Kind.OWNERSHIP_CONTRADICTED, "devices"),
)
def enrollment_lost_that_is_claimed(hands: StoreHands) -> None:
    hands.delete("enrollments", _claimed(hands))


@damaged((Kind.ENTRY_MISSING, "enrollment_expiry"), (Kind.ENTRY_STALE, "enrollment_expiry"))
def enrollment_that_expires_at_another_time(hands: StoreHands) -> None:
    key = index_of(hands, "enrollments", records.ENROLLMENT, fingerprint=fingerprint(4))
    hands.change("enrollments", records.ENROLLMENT, key, expires_at=NOW + 9 * HOUR)


@damaged(
    (Kind.ENTRY_STALE, "devices_by_fingerprint"),
    (Kind.ENTRY_STALE, "endpoint_names"),
    *[(Kind.ENTRY_STALE, "devices_by_time")] * 3,
    (Kind.OWNERSHIP_CONTRADICTED, "enrollments"),
    (Kind.OWNERSHIP_CONTRADICTED, "ledger"),
    (Kind.COUNT_WRONG, "accounts"),
)
def device_lost(hands: StoreHands) -> None:
    hands.delete("devices", index_of(hands, "devices", records.DEVICE, fingerprint=fingerprint(2)))


@damaged((Kind.OWNERSHIP_CONTRADICTED, "devices"))
def device_by_another_enrollment(hands: StoreHands) -> None:
    key = index_of(hands, "devices", records.DEVICE, fingerprint=fingerprint(2))
    hands.change("devices", records.DEVICE, key, enrollment_id=NOBODY)


@damaged((Kind.ENTRY_MISSING, "endpoint_names"), (Kind.ENTRY_STALE, "endpoint_names"))
def device_of_another_name(hands: StoreHands) -> None:
    key = hands.first("devices")[0]
    hands.change("devices", records.DEVICE, key, endpoint_name="another")


@damaged((Kind.RECORD_IMPOSSIBLE, "devices"))
def device_with_a_name_that_no_key_holds(hands: StoreHands) -> None:
    key = hands.first("devices")[0]
    hands.change("devices", records.DEVICE, key, endpoint_name="x" * 300)


@damaged((Kind.ENTRY_MISSING, "devices_by_time"), (Kind.ENTRY_STALE, "devices_by_time"))
def device_claimed_at_another_time(hands: StoreHands) -> None:
    key = hands.first("devices")[0]
    hands.change("devices", records.DEVICE, key, claimed_at=NOW + timedelta(days=1))


# --- the ledger --------------------------------------------------------------------------------------


def _entry(hands: StoreHands, number: int, sequence: int) -> bytes:
    return index_of(hands, "ledger", records.LEDGER_ENTRY, fingerprint=fingerprint(number), sequence=sequence)


@damaged(
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.ENTRY_MISSING, "ledger_by_account"),
    (Kind.ENTRY_STALE, "ledger_by_account"),
)
def entry_of_another_account(hands: StoreHands) -> None:
    """Its hash does not fit, and the next one is by an account that did not own it."""
    key = _entry(hands, 9, 1)
    account = hands.rows("accounts")[3][0].hex()
    hands.change("ledger", records.LEDGER_ENTRY, key, account_id=account)


@damaged((Kind.LEDGER_BROKEN, "ledger"))
def entry_dropped_from_the_middle(hands: StoreHands) -> None:
    hands.delete("ledger", _entry(hands, 9, 2))


@damaged(
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.OWNERSHIP_CONTRADICTED, "ledger"),
    (Kind.ENTRY_STALE, "ledger_by_account"),
)
def entry_dropped_from_the_end(hands: StoreHands) -> None:
    """It is covered by the last checkpoint, whose root the ledger does not give any more."""
    hands.delete("ledger", _entry(hands, 9, 3))


@damaged((Kind.OWNERSHIP_CONTRADICTED, "ledger"), (Kind.ENTRY_STALE, "ledger_by_account"))
def history_lost_that_no_checkpoint_covers(hands: StoreHands) -> None:
    hands.delete("ledger", _entry(hands, 10, 1))


@damaged(
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.OWNERSHIP_CONTRADICTED, "ledger"),
    (Kind.ENTRY_STALE, "ledger_by_account"),
)
def history_lost_that_a_checkpoint_covers(hands: StoreHands) -> None:
    hands.delete("ledger", _entry(hands, 2, 1))


@damaged(
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.OWNERSHIP_CONTRADICTED, "ledger"),
    (Kind.ENTRY_STALE, "ledger_by_account"),
)
def entry_of_another_kind(hands: StoreHands) -> None:
    hands.change("ledger", records.LEDGER_ENTRY, _entry(hands, 9, 3), kind=LedgerKind.RELEASED)


@damaged(
    (Kind.LEDGER_BROKEN, "ledger"),
    (Kind.RECORD_IMPOSSIBLE, "ledger"),
    (Kind.ENTRY_STALE, "ledger_by_account"),
)
def entry_of_what_is_no_account_id(hands: StoreHands) -> None:
    hands.change("ledger", records.LEDGER_ENTRY, _entry(hands, 10, 1), account_id="nobody")


@damaged((Kind.LEDGER_BROKEN, "ledger"), (Kind.REVISION_IMPOSSIBLE, "ledger"))
def entry_ahead_of_the_store(hands: StoreHands) -> None:
    hands.change("ledger", records.LEDGER_ENTRY, _entry(hands, 10, 1), revision=1 << 40)


@damaged((Kind.LEDGER_BROKEN, "ledger"), (Kind.RECORD_IMPOSSIBLE, "ledger"))
def entry_with_half_its_salts(hands: StoreHands) -> None:
    hands.change("ledger", records.LEDGER_ENTRY, _entry(hands, 10, 1), salts=bytes(32))


@damaged((Kind.LEDGER_BROKEN, "ledger"))
def history_rewritten_with_all_its_hashes(hands: StoreHands) -> None:
    """Only the checkpoint tells."""
    key = _entry(hands, 2, 1)
    entry = records.LEDGER_ENTRY.decode(dict(hands.rows("ledger"))[key])
    forged = append(
        None,
        fingerprint=entry.fingerprint,
        kind=entry.kind,
        account_id=entry.account_id,
        device_id=entry.device_id,
        at=entry.at + HOUR,
        revision=entry.revision,
        salts=entry.salts,
    )
    hands.put("ledger", key, records.LEDGER_ENTRY.encode(forged))


@damaged((Kind.ENTRY_WRONG, "ledger_tiles"))
def tile_changed(hands: StoreHands) -> None:
    key, value = hands.first("ledger_tiles")
    hands.put("ledger_tiles", key, value[:-1] + bytes([value[-1] ^ 1]))


@damaged((Kind.ENTRY_WRONG, "ledger_tiles"))
def tile_lost(hands: StoreHands) -> None:
    hands.delete("ledger_tiles", hands.first("ledger_tiles")[0])


@damaged((Kind.ENTRY_STALE, "ledger_tiles"))
def all_checkpoints_lost(hands: StoreHands) -> None:
    for key, _ in hands.rows("checkpoints"):
        hands.delete("checkpoints", key)


@damaged((Kind.CHECKPOINT_INVALID, "checkpoints"))
def checkpoint_lost_before_another(hands: StoreHands) -> None:
    hands.delete("checkpoints", number_key(1))


@damaged((Kind.CHECKPOINT_INVALID, "checkpoints"))
def checkpoint_with_another_signature(hands: StoreHands) -> None:
    hands.change("checkpoints", records.CHECKPOINT, number_key(1), signature=bytes(64))


@damaged((Kind.CHECKPOINT_INVALID, "checkpoints"), (Kind.CHECKPOINT_INVALID, "checkpoints"))
def checkpoint_changed(hands: StoreHands) -> None:
    """It is not what was signed, nor what the next one goes on from."""
    signed = records.CHECKPOINT.decode(dict(hands.rows("checkpoints"))[number_key(1)])
    changed = msgspec.structs.replace(signed.checkpoint, root_hash=bytes(32))
    hands.change("checkpoints", records.CHECKPOINT, number_key(1), checkpoint=changed)


@damaged((Kind.LEDGER_KEY_INVALID, "ledger_keys"), (Kind.CHECKPOINT_INVALID, "checkpoints"))
def first_ledger_key_lost(hands: StoreHands) -> None:
    hands.delete("ledger_keys", number_key(1))


@damaged((Kind.CHECKPOINT_INVALID, "checkpoints"))
def last_ledger_key_lost(hands: StoreHands) -> None:
    hands.delete("ledger_keys", number_key(2))


@damaged((Kind.LEDGER_KEY_INVALID, "ledger_keys"))
def ledger_key_with_another_signature(hands: StoreHands) -> None:
    hands.change("ledger_keys", records.LEDGER_KEY, number_key(2), signature=bytes(64))


# --- history -----------------------------------------------------------------------------------------


@damaged((Kind.REVISION_IMPOSSIBLE, "events"))
def event_of_a_revision_that_was_compacted(hands: StoreHands) -> None:
    hands.put("meta", b"compacted", number_key(unpack_number(hands.first("events")[0])))


@damaged((Kind.RECORD_UNREADABLE, "meta"))
def compacted_revision_of_four_bytes(hands: StoreHands) -> None:
    hands.put("meta", b"compacted", bytes(4))


@damaged((Kind.REVISION_IMPOSSIBLE, "events"), (Kind.REVISION_IMPOSSIBLE, "enrollments"))
def revision_of_the_store_set_back_by_one(hands: StoreHands) -> None:
    hands.put("meta", b"revision", number_key(unpack_number(dict(hands.rows("meta"))[b"revision"]) - 1))


@damaged((Kind.ENTRY_STALE, "request_expiry"))
def request_lost(hands: StoreHands) -> None:
    hands.delete("requests", hands.first("requests")[0])


@damaged((Kind.ENTRY_MISSING, "request_expiry"))
def request_once_more_under_another_key(hands: StoreHands) -> None:
    hands.put("requests", hashlib.sha256(b"another").digest(), hands.first("requests")[1])


# --- bulk jobs ---------------------------------------------------------------------------------------


@damaged((Kind.RECORD_IMPOSSIBLE, "bulk_jobs"))
def job_ahead_of_its_batches(hands: StoreHands) -> None:
    key = index_of(hands, "bulk_jobs", records.BULK_JOB, status=BulkStatus.PROCESSING)
    hands.change("bulk_jobs", records.BULK_JOB, key, offset=200)


@damaged((Kind.RECORD_IMPOSSIBLE, "bulk_jobs"))
def job_with_another_number_of_errors(hands: StoreHands) -> None:
    hands.change("bulk_jobs", records.BULK_JOB, hands.first("bulk_jobs")[0], errors_count=9)


@damaged((Kind.RECORD_IMPOSSIBLE, "bulk_jobs"))
def job_that_is_new_and_has_batches(hands: StoreHands) -> None:
    key = index_of(hands, "bulk_jobs", records.BULK_JOB, status=BulkStatus.PROCESSING)
    hands.change("bulk_jobs", records.BULK_JOB, key, status=BulkStatus.NEW)


@damaged((Kind.RECORD_IMPOSSIBLE, "bulk_jobs"), (Kind.ENTRY_STALE, "bulk_completed"))
def job_completed_at_no_time(hands: StoreHands) -> None:
    key = index_of(hands, "bulk_jobs", records.BULK_JOB, status=BulkStatus.COMPLETED)
    hands.change("bulk_jobs", records.BULK_JOB, key, completed_at=None)


@damaged((Kind.RECORD_IMPOSSIBLE, "bulk_batches"), (Kind.RECORD_IMPOSSIBLE, "bulk_jobs"))
def batch_lost_before_another(hands: StoreHands) -> None:
    """The next one does not go on where the one before ended, and errors are missing."""
    hands.delete("bulk_batches", hands.first("bulk_batches")[0])


@damaged((Kind.RECORD_MISPLACED, "bulk_batches"))
def batch_that_begins_elsewhere(hands: StoreHands) -> None:
    hands.change("bulk_batches", records.BULK_BATCH, hands.first("bulk_batches")[0], start=7)


@damaged((Kind.ENTRY_STALE, "bulk_batches"))
def batch_of_no_job(hands: StoreHands) -> None:
    key, value = hands.first("bulk_batches")
    hands.put("bulk_batches", b"\xee" * 16 + key[16:], value)


# --- transfers, blocks, denials ----------------------------------------------------------------------


def _open_transfer(hands: StoreHands) -> bytes:
    return index_of(hands, "transfers", records.TRANSFER, state=TransferState.OFFERED)


@damaged((Kind.RECORD_IMPOSSIBLE, "transfers"))
def transfer_open_and_decided(hands: StoreHands) -> None:
    hands.change("transfers", records.TRANSFER, _open_transfer(hands), decided_at=NOW)


@damaged((Kind.RECORD_IMPOSSIBLE, "transfers"))
def transfer_with_half_a_code_hash(hands: StoreHands) -> None:
    hands.change("transfers", records.TRANSFER, _open_transfer(hands), code_hash=bytes(16))


@damaged(
    (Kind.ENTRY_STALE, "transfers_by_account"),
    (Kind.ENTRY_STALE, "transfers_by_account"),
    (Kind.ENTRY_STALE, "transfer_expiry"),
    (Kind.ENTRY_STALE, "transfer_by_fingerprint"),
)
def transfer_lost_that_is_open(hands: StoreHands) -> None:
    hands.delete("transfers", _open_transfer(hands))


@damaged((Kind.ENTRY_STALE, "transfer_by_fingerprint"))
def device_in_the_offer_of_another_transfer(hands: StoreHands) -> None:
    hands.put("transfer_by_fingerprint", fingerprint(2), _open_transfer(hands))


@damaged((Kind.REFERENCE_BROKEN, "blocks"))
def block_of_a_device_that_the_account_does_not_own(hands: StoreHands) -> None:
    key = index_of(hands, "blocks", records.BLOCK, fingerprint=fingerprint(1))
    block = records.BLOCK.decode(dict(hands.rows("blocks"))[key])
    foreign = msgspec.structs.replace(block, fingerprint=fingerprint(9))
    hands.put("blocks", key[:16] + fingerprint(9), records.BLOCK.encode(foreign))


@damaged((Kind.RECORD_IMPOSSIBLE, "denials"))
def denial_seen_no_time(hands: StoreHands) -> None:
    hands.change("denials", records.DENIAL, hands.first("denials")[0], count=0)


@damaged((Kind.COUNT_WRONG, "denial_counts"))
def denials_miscounted(hands: StoreHands) -> None:
    key, value = hands.first("denial_counts")
    hands.put("denial_counts", key, number_key(unpack_number(value) + 1))


@damaged((Kind.COUNT_WRONG, "denial_counts"))
def denials_not_counted(hands: StoreHands) -> None:
    hands.delete("denial_counts", hands.first("denial_counts")[0])


@damaged(
    (Kind.ENTRY_STALE, "denials_by_cause"),
    (Kind.ENTRY_STALE, "denials_by_time"),
    (Kind.ENTRY_STALE, "denial_expiry"),
    (Kind.COUNT_WRONG, "denial_counts"),
)
def denial_lost(hands: StoreHands) -> None:
    hands.delete("denials", hands.rows("denials")[-1][0])


# --- the tests ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "store"
    make_whole_store(path)
    return path


def test_a_store_with_everything_in_it_is_whole(whole: Path) -> None:
    report = check_store(f"lmdb://{whole}")
    assert [finding.text for finding in (*report.findings, *report.notes)] == []
    assert report.passed
    assert report.pages_proven
    assert set(report.counts) == set(Tables.names())
    assert 0 not in report.counts.values(), "a table without a row is not looked at"


@pytest.mark.parametrize("damage", CASES, ids=lambda case: case.name)
def test_damage_is_found_where_it_is(damage: Case, whole: Path, tmp_path: Path) -> None:
    hands = StoreHands.on_a_copy(whole, tmp_path / "store")
    damage.damage(hands)

    report = check_store(f"lmdb://{hands.path}")

    found = Counter((finding.kind, finding.where.split()[0]) for finding in report.findings)
    assert found == Counter(damage.expected), "\n".join(finding.text for finding in report.findings)
    assert report.findings_count == len(report.findings)
    assert not report.passed


def test_every_table_is_damaged_by_some_case(whole: Path, tmp_path: Path) -> None:
    touched: set[str] = set()
    for number, each in enumerate(CASES):
        hands = StoreHands.on_a_copy(whole, tmp_path / str(number))
        each.damage(hands)
        touched |= hands.damaged
    assert touched == set(Tables.names())


def test_findings_are_counted_beyond_those_that_are_named(whole: Path, tmp_path: Path) -> None:
    hands = StoreHands.on_a_copy(whole, tmp_path / "store")
    for number in range(1_200):
        hands.put("events", number_key((1 << 40) + number), b"")
    report = check_store(f"lmdb://{hands.path}")
    assert (len(report.findings), report.findings_count) == (1_000, 1_200)


@pytest.mark.parametrize("table", Tables.names())
def test_no_flipped_bit_ends_the_check(table: str, whole: Path, tmp_path: Path) -> None:
    """In any value. In an index each is found; in a record, some tell another story that may be true."""
    hands, random = StoreHands.on_a_copy(whole, tmp_path / "store"), Random(table)
    for key, value in hands.rows(table):
        for _ in range(4 if value else 0):
            flipped = bytearray(value)
            flipped[random.randrange(len(value))] ^= 1 << random.randrange(8)
            hands.put(table, key, bytes(flipped))
            report = check_store(f"lmdb://{hands.path}", still=False)
            assert all(finding.text.isprintable() for finding in report.findings)
            assert not (report.passed and table in INDEXES), flipped.hex()
            hands.put(table, key, value)


@pytest.mark.parametrize("table", Tables.names())
def test_no_altered_key_goes_unnoticed(table: str, whole: Path, tmp_path: Path) -> None:
    hands, random = StoreHands.on_a_copy(whole, tmp_path / "store"), Random(table)
    rows = hands.rows(table)
    for key, value in rows:
        altered = bytearray(key)
        altered[random.randrange(len(key))] ^= 1 << random.randrange(8)
        if bytes(altered) not in dict(rows):
            hands.delete(table, key)
            hands.put(table, bytes(altered), value)
            assert not check_store(f"lmdb://{hands.path}", still=False).passed, altered.hex()
            hands.delete(table, bytes(altered))
            hands.put(table, key, value)


def test_a_finding_is_one_line_whatever_is_in_a_damaged_record(whole: Path, tmp_path: Path) -> None:
    hands = StoreHands.on_a_copy(whole, tmp_path / "store")
    key = hands.first("api_keys")[0]
    hands.change("api_keys", records.API_KEY, key, account_id="no\n\x1b[31mID\u2028" + "x" * 300)
    [finding] = check_store(f"lmdb://{hands.path}").findings
    assert finding.text.isprintable()
    assert r"accounts/no\n\x1b[31mID\u2028x" in finding.text


# --- the file ----------------------------------------------------------------------------------------


def test_no_page_can_be_overwritten_unnoticed(whole: Path, tmp_path: Path) -> None:
    """LMDB itself would trust it, and end this process. Free pages alone may hold anything."""
    image = (whole / "data.mdb").read_bytes()
    unnoticed = []
    for start in range(0, len(image), PAGE_BYTES):
        file = tmp_path / f"{start}" / "data.mdb"
        file.parent.mkdir()
        file.write_bytes(image[:start] + b"\xa5" * PAGE_BYTES + image[start + PAGE_BYTES :])
        report = check_store(f"lmdb://{file.parent}")
        assert {finding.kind for finding in report.findings} <= {Kind.PAGE_DAMAGED}
        if report.passed:
            unnoticed.append(start // PAGE_BYTES)
    assert set(unnoticed) == free_pages(whole)


def free_pages(path: Path) -> set[int]:
    """What LMDB's list of free pages has."""
    file = path / "data.mdb"
    with file.open("rb") as opened:
        verifier = lmdb.verify._Verifier(opened, file.stat().st_size)  # type: ignore[no-untyped-call]
        assert verifier.verify() == []  # type: ignore[no-untyped-call]
    return {number for number, is_free in enumerate(verifier.free) if is_free}


@pytest.mark.parametrize("size", [0, 100, PAGE_BYTES, 2 * PAGE_BYTES, 9 * PAGE_BYTES + 17])
def test_a_file_that_is_cut_is_found(size: int, whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "store")
    os.truncate(path / "data.mdb", size)
    report = check_store(f"lmdb://{path}")
    assert {finding.kind for finding in report.findings} == {Kind.PAGE_DAMAGED}


def test_a_file_of_another_format_cannot_be_read(whole: Path, tmp_path: Path) -> None:
    hands = StoreHands.on_a_copy(whole, tmp_path / "store")
    hands.put("meta", b"format", b"1")
    [finding] = check_store(f"lmdb://{hands.path}").findings
    assert (finding.kind, "'1'" in finding.found) == (Kind.STORE_UNREADABLE, True)


def test_pages_of_a_file_that_is_written_meanwhile_are_not_judged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copytree(whole, tmp_path / "store")
    verify = lmdb.verify.verify

    def verify_while_somebody_writes(file: str) -> list[str]:
        store = open_store(f"lmdb://{path}")
        Scene(store, first_id=1_000).account()
        store.close()
        return [*verify(file), "a page of before and one of after"]  # type: ignore[no-untyped-call]

    monkeypatch.setattr(lmdb.verify, "verify", verify_while_somebody_writes)
    report = check_store(f"lmdb://{path}")
    assert report.passed
    assert not report.pages_proven
    assert [note.kind for note in report.notes] == [Kind.PAGES_NOT_PROVEN]


def test_a_store_that_this_process_has_open_is_refused(whole: Path) -> None:
    store = open_store(f"lmdb://{whole}", read_only=True)
    with pytest.raises(FtcError) as refusal:
        check_store(f"lmdb://{whole}")
    store.close()
    assert refusal.value.reason is Reason.DATA_DIRECTORY_IN_USE
