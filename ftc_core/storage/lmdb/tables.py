"""What is stored where: the named databases of the file and the layout of their keys.

IDs are 16 bytes (the 32 hex characters decoded), fingerprints 32 bytes (SHA-256), numbers and times 8 bytes,
big-endian, so that LMDB's byte order is the order of time. Values are records (`records`) unless said
otherwise; `–` is an empty value.

| table | key | value |
|---|---|---|
| meta | `format`, `engine`, `revision`, `compacted` | text, text, number, number |
| accounts | account | counts (4 numbers), then the record |
| api_keys | key ID | record |
| api_keys_by_account | account, key ID | – |
| certificates | account, certificate | record |
| certificates_by_fingerprint | account, fingerprint, service (1 byte) | certificate |
| trust_anchors | fingerprint | number of certificates that hold it, revision since when, the CA in DER |
| trust_anchors_by_subject | SHA-256 of the DER subject, revision as above, fingerprint | – |
| ca_holders | fingerprint, account, certificate | – (of devices, whatever their status) |
| inactive_cas | SHA-256 of the DER subject, account, certificate | – (INACTIVE ones of devices only) |
| enrollments | fingerprint | record |
| enrollments_by_account | account, enrollment | fingerprint |
| enrollments_by_claim | account, time of the claim (0: it waits), enrollment | – |
| enrollment_expiry | time, fingerprint | – (unclaimed ones only) |
| enrollment_notice | time of expiry, fingerprint | – (unclaimed ones whose expiry was not announced) |
| devices | account, device | record |
| devices_by_fingerprint | fingerprint | account, device |
| devices_by_time | account, which time (1 byte), time (0: it has none), device | – |
| last_bootstraps | account, device | record |
| endpoint_names | account, name in UTF-8 (≤256 bytes; LMDB takes keys of 511) | fingerprint of its holder |
| registration_expiry | time, account, device | – (registered ones only) |
| ledger | fingerprint, sequence | record |
| ledger_by_account | account, fingerprint | – (of what it owns or has owned) |
| ledger_tiles | number of the tile in the last checkpoint's tree | fingerprint of its first leaf, its root |
| ledger_keys | number | record |
| checkpoints | number | record |
| events | revision | record |
| requests | SHA-256 of scope and request ID | record of the outcome |
| request_expiry | time, key in `requests` | – |
| bulk_jobs | job | record |
| bulk_jobs_by_account | account, job | – |
| bulk_unfinished | job | – |
| bulk_completed | time of completion, job | – |
| bulk_batches | job, byte of the input at which it begins | record |
| transfers | transfer | record |
| transfers_by_account | account, transfer | 1 byte: it offers (`O`), it is or was offered to (`R`) |
| transfer_by_fingerprint | fingerprint | transfer (open ones only) |
| transfer_expiry | time, transfer | – (open ones only) |
| transfers_decided | time, transfer | – (all others) |
| blocks | account (zeros: the operator), fingerprint | record |
| denials | party (account, zeros: the operator), denial | record |
| denials_by_cause | party, 32 bytes of device and cause | denial |
| denials_by_time | party, time last seen, denial | – |
| denial_expiry | time last seen, party, denial | – |
| denial_counts | party | number of its denials |

Enrollments lie under their fingerprint because that is how devices ask for them: one descent of one tree.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Self

import lmdb

from ftc_core.domain.certificate import CertificateService
from ftc_core.domain.device import DeviceTime
from ftc_core.domain.ordering import sortable_time
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import ENDPOINT_NAME_MAX_BYTES

__all__ = [
    "FINGERPRINT_BYTES",
    "ID_BYTES",
    "NUMBER_BYTES",
    "Tables",
    "certificate_key",
    "device_time_prefix",
    "endpoint_key",
    "fingerprint_key",
    "number_key",
    "pack_id",
    "prefix_end",
    "time_key",
    "time_order_key",
    "unpack_number",
]

ID_BYTES = 16
FINGERPRINT_BYTES = 32
NUMBER_BYTES = 8

_TIME_BYTE = {DeviceTime.CLAIMED_AT: b"C", DeviceTime.REGISTERED_AT: b"R", DeviceTime.LAST_SEEN_AT: b"S"}
_SERVICE_BYTE = {CertificateService.BOOTSTRAP: b"B", CertificateService.LWM2M: b"L"}


@dataclass(frozen=True, slots=True)
class Tables:
    """Handles of the named databases; good for every transaction of one environment."""

    meta: lmdb._Database
    accounts: lmdb._Database
    api_keys: lmdb._Database
    api_keys_by_account: lmdb._Database
    certificates: lmdb._Database
    certificates_by_fingerprint: lmdb._Database
    trust_anchors: lmdb._Database
    trust_anchors_by_subject: lmdb._Database
    ca_holders: lmdb._Database
    inactive_cas: lmdb._Database
    enrollments: lmdb._Database
    enrollments_by_account: lmdb._Database
    enrollments_by_claim: lmdb._Database
    enrollment_expiry: lmdb._Database
    enrollment_notice: lmdb._Database
    devices: lmdb._Database
    devices_by_fingerprint: lmdb._Database
    devices_by_time: lmdb._Database
    last_bootstraps: lmdb._Database
    endpoint_names: lmdb._Database
    registration_expiry: lmdb._Database
    ledger: lmdb._Database
    ledger_by_account: lmdb._Database
    ledger_tiles: lmdb._Database
    ledger_keys: lmdb._Database
    checkpoints: lmdb._Database
    events: lmdb._Database
    requests: lmdb._Database
    request_expiry: lmdb._Database
    bulk_jobs: lmdb._Database
    bulk_jobs_by_account: lmdb._Database
    bulk_unfinished: lmdb._Database
    bulk_completed: lmdb._Database
    bulk_batches: lmdb._Database
    transfers: lmdb._Database
    transfers_by_account: lmdb._Database
    transfer_by_fingerprint: lmdb._Database
    transfer_expiry: lmdb._Database
    transfers_decided: lmdb._Database
    blocks: lmdb._Database
    denials: lmdb._Database
    denials_by_cause: lmdb._Database
    denials_by_time: lmdb._Database
    denial_expiry: lmdb._Database
    denial_counts: lmdb._Database

    @classmethod
    def names(cls) -> list[str]:
        """Of every table."""
        return [field.name for field in fields(cls)]

    @classmethod
    def open(
        cls, environment: lmdb.Environment, txn: lmdb.Transaction[bytes] | None, *, create: bool
    ) -> Self:
        """Every table; with `create`, those missing are made in `txn`. Raises lmdb.NotFoundError.

        A read-only environment takes no `txn`: handles opened in a reading one end with it.
        """
        return cls(*(environment.open_db(name.encode(), txn=txn, create=create) for name in cls.names()))


def pack_id(resource_id: str) -> bytes:
    """16 bytes. Raises ValueError unless `resource_id` is 32 lower-case hex characters."""
    packed = bytes.fromhex(resource_id)
    # fromhex takes white space and capitals too: two spellings of one ID must not meet in one key.
    if len(packed) != ID_BYTES or packed.hex() != resource_id:
        raise ValueError(f"{resource_id!r} is not 32 lower-case hex characters")
    return packed


def fingerprint_key(fingerprint: bytes) -> bytes:
    """`fingerprint` itself. Raises ValueError unless it has 32 bytes, on which composite keys rely."""
    if len(fingerprint) != FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(fingerprint)}")
    return fingerprint


def number_key(number: int) -> bytes:
    """8 bytes, big-endian."""
    return number.to_bytes(NUMBER_BYTES, "big")


def unpack_number(packed: bytes) -> int:
    """The number at the start of `packed`."""
    return int.from_bytes(packed[:NUMBER_BYTES], "big")


def time_key(at: datetime) -> bytes:
    """Microseconds since 1970; anything earlier sorts with 1970, which is past just as well."""
    return sortable_time(at)


def time_order_key(prefix: bytes, at: datetime | None, resource_id: bytes) -> bytes:
    """Of an index by time under `prefix`; the ID is packed. What is absent sorts before all times."""
    return prefix + sortable_time(at) + resource_id


def prefix_end(prefix: bytes) -> bytes:
    """A key above every key of the form `prefix` and a number."""
    return prefix + b"\xff" * (NUMBER_BYTES + 1)


def device_time_prefix(account: bytes, which: DeviceTime) -> bytes:
    """Of `devices_by_time`; `account` is packed."""
    return account + _TIME_BYTE[which]


def certificate_key(account: bytes, fingerprint: bytes, service: CertificateService) -> bytes:
    """Of `certificates_by_fingerprint`; `account` is packed."""
    return account + fingerprint + _SERVICE_BYTE[service]


def endpoint_key(account: bytes, name: str) -> bytes:
    """Of `endpoint_names`; `account` is packed.

    Raises FtcError ENDPOINT_NAME_INVALID (not encodable as UTF-8) or ENDPOINT_NAME_TOO_LONG.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise FtcError(Reason.ENDPOINT_NAME_INVALID) from None
    if len(encoded) > ENDPOINT_NAME_MAX_BYTES:
        raise FtcError(Reason.ENDPOINT_NAME_TOO_LONG)
    return account + encoded
