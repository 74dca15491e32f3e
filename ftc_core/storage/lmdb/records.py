"""Records as bytes: one byte of schema version, then the struct as a MessagePack map.

Field names are kept, so that a field with a default can be added without a new version; a version is raised
when a field changes its meaning or form. Times keep their microseconds (MessagePack timestamp, UTC).
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.block import Block
from ftc_core.domain.bulk import BulkBatch, BulkJob
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.denial import Denial
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.domain.ledger_keys import KeyStatement
from ftc_core.domain.transfer import DeviceTransfer
from ftc_core.storage.lmdb.faults import corrupt

__all__ = [
    "ACCOUNT",
    "API_KEY",
    "BLOCK",
    "BULK_BATCH",
    "BULK_JOB",
    "CERTIFICATE",
    "CHECKPOINT",
    "DENIAL",
    "DEVICE",
    "ENROLLMENT",
    "EVENT",
    "LAST_BOOTSTRAP",
    "LEDGER_ENTRY",
    "LEDGER_KEY",
    "TRANSFER",
    "Codec",
]

T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder()


class Codec(Generic[T]):
    """Encodes and decodes one type of record, at one version."""

    __slots__ = ("_decode", "_name", "_version")

    def __init__(self, record_type: Any, version: int) -> None:
        self._decode = msgspec.msgpack.Decoder(record_type).decode
        self._version = version
        self._name = str(record_type)

    def encode(self, record: T) -> bytes:
        """The bytes to store."""
        return bytes((self._version,)) + _ENCODER.encode(record)

    def decode(self, stored: bytes) -> T:
        """The record in `stored`. Raises FtcError INTERNAL_5 if it cannot be one."""
        try:
            if stored[0] == self._version:
                record: T = self._decode(stored[1:])
                return record
        except (IndexError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            # Of text that is no UTF-8 and times that are none, the decoder raises what Python does.
            raise corrupt(f"{self._name}: {error}") from error
        raise corrupt(f"{self._name} of version {stored[0]}")


ACCOUNT: Final[Codec[Account]] = Codec(Account, 1)
API_KEY: Final[Codec[ApiKey]] = Codec(ApiKey, 1)
CERTIFICATE: Final[Codec[TrustedCertificate]] = Codec(TrustedCertificate, 1)
ENROLLMENT: Final[Codec[Enrollment]] = Codec(Enrollment, 1)
DEVICE: Final[Codec[Device]] = Codec(Device, 1)
LAST_BOOTSTRAP: Final[Codec[LastBootstrap]] = Codec(LastBootstrap, 1)
LEDGER_ENTRY: Final[Codec[LedgerEntry]] = Codec(LedgerEntry, 2)
LEDGER_KEY: Final[Codec[KeyStatement]] = Codec(KeyStatement, 1)
CHECKPOINT: Final[Codec[SignedCheckpoint]] = Codec(SignedCheckpoint, 1)
EVENT: Final[Codec[Event]] = Codec(Event, 1)
BULK_JOB: Final[Codec[BulkJob]] = Codec(BulkJob, 1)
BULK_BATCH: Final[Codec[BulkBatch]] = Codec(BulkBatch, 1)
TRANSFER: Final[Codec[DeviceTransfer]] = Codec(DeviceTransfer, 1)
BLOCK: Final[Codec[Block]] = Codec(Block, 1)
DENIAL: Final[Codec[Denial]] = Codec(Denial, 1)
