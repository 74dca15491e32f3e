"""A store that has something in every table, made by commands alone; and hands that damage a store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.bulk import BulkJob, BulkKind
from ftc_core.domain.certificate import CertificateService, CertificateStatus
from ftc_core.domain.checkpoint import Checkpoint, HeadTree, SignedCheckpoint, heads_at
from ftc_core.domain.denial import Denial, Sighting
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.domain.transfer import DeviceTransfer
from ftc_core.errors import Reason
from ftc_core.storage.block_commands import PlaceBlock
from ftc_core.storage.bulk_commands import AdvanceBulkJob, BulkRow, CreateBulkJob
from ftc_core.storage.commands import (
    AnnounceExpiries,
    CompactEvents,
    CreateApiKey,
    IdempotencyKey,
    MarkBootstrapped,
)
from ftc_core.storage.denial_commands import RecordDenials
from ftc_core.storage.engines import open_store
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from ftc_core.storage.lmdb.records import Codec
from ftc_core.storage.lmdb.tables import Tables
from ftc_core.storage.transfer_commands import AcceptTransfer, CreateTransfer
from tests.conformance.scene import HOUR, NOW, OTHER_CA, Scene, fingerprint
from tests.ledgers import checkpoint_of, keys

__all__ = ["StoreHands", "fill", "make_whole_store"]

_KEYS = keys(2, first_checkpoints=(1, 2))
_CODE = hashlib.sha256(b"the code").digest()


def make_whole_store(path: Path) -> None:
    """At `path`, which is not there yet."""
    with closing(open_store(f"lmdb://{path}", create=True)) as store:
        fill(Scene(store))


def fill(scene: Scene) -> None:
    """Two checkpoints with two keys, and everything that an account can have, in more than one state."""
    alice, bob = scene.trusting_account(quota=100), scene.trusting_account()
    dave = scene.trusting_account(enrollment_mode=False)
    scene.account()
    for account in (alice, alice, bob):
        scene.run(CreateApiKey(scene.new_key(account.id)))
    scene.certificate(bob, ca=OTHER_CA, status=CertificateStatus.INACTIVE)
    scene.certificate(alice, ca=OTHER_CA, service=CertificateService.LWM2M)
    soon, later = NOW + HOUR, NOW + 5 * HOUR
    for number in range(1, 11):
        scene.enrollment(alice, number, expires_at={4: soon, 5: later, 6: later}.get(number))
    scene.run(AnnounceExpiries(NOW, soon))
    scene.run(AddLedgerKey(_KEYS[0]))
    first = _checkpoint(scene, None, key=0)
    scene.run(AddLedgerKey(_KEYS[1]))
    one = scene.registered(1)
    bootstrap = LastBootstrap(steps=(), ended_at=NOW)
    scene.run(MarkBootstrapped(alice.id, one.id, NOW, bootstrap))
    scene.claim(2)
    scene.claim(6)
    scene.claim(9, account_id=None)
    scene.claim(20, account_id=dave.id)
    released = scene.find_enrollment(9)
    assert released is not None
    scene.release(released)
    scene.enrollment(bob, 9)
    scene.claim(9, now=NOW + HOUR)
    moved, offered = scene.registered(7), scene.registered(8)
    accepted = _offer(scene, alice.id, moved.id, code_hash=_CODE)
    scene.run(AcceptTransfer(bob.id, accepted, NOW, code_hash=_CODE))
    _offer(scene, alice.id, offered.id, receiver_account_id=bob.id)
    _checkpoint(scene, first, key=1)
    scene.claim(10)
    scene.run(_block(1, alice.id, BlockedKind.DEVICE))
    scene.run(_block(50, None, BlockedKind.DEVICE))
    scene.run(_block(51, bob.id, BlockedKind.CERTIFICATE_AUTHORITY))
    _deny(scene)
    _bulk(scene, alice.id)
    key = IdempotencyKey("scope", "a request", bytes(32), NOW)
    scene.run(scene.create_enrollment(bob, 30), idempotency=key)
    scene.run(CompactEvents(before=NOW - HOUR, keep=5, limit=3))


def _checkpoint(scene: Scene, previous: Checkpoint | None, *, key: int) -> Checkpoint:
    with scene.store.view() as view:
        entries, revision = view.list_ledger(after=None, limit=1_000), view.revision()
    heads = list(heads_at(entries, revision))
    tree = HeadTree()
    for head in heads:
        tree.add(head)
    signed: SignedCheckpoint = checkpoint_of(heads, revision, previous=previous, key=key)
    scene.run(AddCheckpoint(signed, tuple(tree.finish())))
    return signed.checkpoint


def _offer(scene: Scene, owner_id: str, device_id: str, **changes: Any) -> str:
    transfer = DeviceTransfer(
        id=scene.new_id(), account_id=owner_id, devices=(), created_at=NOW, expires_at=NOW + HOUR, **changes
    )
    scene.run(CreateTransfer(transfer, (device_id,), 10))
    return transfer.id


def _block(number: int, account_id: str | None, kind: BlockedKind) -> PlaceBlock:
    return PlaceBlock(
        Block(fingerprint=fingerprint(number), kind=kind, account_id=account_id, blocked_at=NOW)
    )


def _deny(scene: Scene) -> None:
    causes = ((4, Reason.QUOTA_REACHED), (4, Reason.DUPLICATE_ENDPOINT), (None, Reason.CA_NOT_UPLOADED))
    for number, reason in causes:
        denial = Denial(
            id=scene.new_id(),
            reason=reason,
            fingerprint=None if number is None else fingerprint(number),
            address="192.0.2.1:40000",
            first_seen_at=NOW,
            last_seen_at=NOW,
            count=1,
        )
        scene.run(RecordDenials((Sighting(denial=denial),), NOW))


def _bulk(scene: Scene, account_id: str) -> None:
    """One job that is completed after two batches, one in the middle, one that is new."""
    for number, batches in enumerate((2, 1, 0)):
        job = BulkJob(
            id=scene.new_id(), account_id=account_id, kind=BulkKind.CREATE, created_at=NOW, total_count=9
        )
        scene.run(CreateBulkJob(job, kept_max=9))
        for at in range(batches):
            # The second row of each is refused: it stands on a list.
            rows = (
                BulkRow(0, fingerprint(100 + 10 * number + at), scene.new_id()),
                BulkRow(1, fingerprint(4), scene.new_id()),
            )
            command = AdvanceBulkJob(job.id, 100 * at, 100 * at + 100, rows, 1, at == 1, NOW)
            scene.run(command)


class StoreHands:
    """Reads and changes single rows of a store that this process has not open, behind the engine's back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: set[str] = set()

    @classmethod
    def on_a_copy(cls, source: Path, path: Path) -> StoreHands:
        """Of a store that stays as it is."""
        shutil.copytree(source, path)
        return cls(path)

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        """All of a table."""
        return list(self._rows(table))

    def first(self, table: str) -> tuple[bytes, bytes]:
        """The first row."""
        return self.rows(table)[0]

    def put(self, table: str, key: bytes, value: bytes = b"") -> None:
        self._write(table, key, value)

    def delete(self, table: str, key: bytes) -> None:
        self._write(table, key, None)

    def change(self, table: str, codec: Codec[Any], key: bytes, **fields: Any) -> None:
        """Give some fields of a record other values."""
        stored = dict(self.rows(table))[key]
        self.put(table, key, codec.encode(msgspec.structs.replace(codec.decode(stored), **fields)))

    def _rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        with self._open() as environment:
            handle = environment.open_db(table.encode(), create=False)
            with environment.begin(db=handle) as txn:
                yield from txn.cursor()

    def _write(self, table: str, key: bytes, value: bytes | None) -> None:
        self.damaged.add(table)
        with self._open() as environment:
            handle = environment.open_db(table.encode(), create=False)
            with environment.begin(write=True, db=handle) as txn:
                done = txn.delete(key) if value is None else txn.put(key, value)
        assert done, f"{table} {key.hex()}"

    def _open(self) -> lmdb.Environment:
        return lmdb.open(str(self.path), lib_version=0, max_dbs=len(Tables.names()), map_size=1 << 30)
