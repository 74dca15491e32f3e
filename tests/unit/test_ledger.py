"""The ownership ledger: what is appended follows, and every edit is seen."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ftc_core.domain.ledger import GENESIS_HASH, SALTS_BYTES, LedgerEntry, LedgerKind, append, first_broken

AT = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)
FINGERPRINT = hashlib.sha256(b"device").digest()


def chain(length: int, fingerprint: bytes = FINGERPRINT) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    for number in range(length):
        entries.append(
            append(
                entries[-1] if entries else None,
                fingerprint=fingerprint,
                kind=LedgerKind.RELEASED if number % 2 else LedgerKind.CLAIMED,
                account_id="a" * 32,
                device_id="d" * 32,
                at=AT + timedelta(seconds=number),
                revision=10 + number,
                salts=bytes(range(number, number + SALTS_BYTES)),
            )
        )
    return entries


def test_a_history_begins_at_one_with_the_genesis_hash() -> None:
    [entry] = chain(1)
    assert (entry.sequence, entry.previous_hash) == (1, GENESIS_HASH)
    assert len(entry.hash) == 32


def test_each_entry_holds_the_hash_of_the_one_before() -> None:
    first, second, third = chain(3)
    assert [second.sequence, third.sequence] == [2, 3]
    assert [second.previous_hash, third.previous_hash] == [first.hash, second.hash]


def test_the_hash_is_that_of_the_documented_content() -> None:
    """Computed apart from the module: the file format of exported ledgers hangs on it."""
    [claimed] = chain(1)
    moved = append(
        claimed,
        fingerprint=FINGERPRINT,
        kind=LedgerKind.TRANSFERRED,
        account_id="b" * 32,
        device_id="d" * 32,
        at=AT,
        revision=11,
        salts=bytes(range(100, 164)),
        from_account_id="a" * 32,
        transfer_id="f" * 32,
    )

    def sha256(context: bytes, *parts: bytes) -> bytes:
        return hashlib.sha256(context + b"\x00" + b"".join(parts)).digest()

    def commitment(field: bytes, first_salt_byte: int, value: bytes) -> bytes:
        salt = bytes(range(first_salt_byte, first_salt_byte + 16))
        return sha256(b"ftc-ledger-commitment-v2", field, b"\x00", salt, value)

    for entry, content, place in (
        (
            claimed,
            [
                "CLAIMED",
                AT,
                10,
                commitment(b"account_id", 0, b"a" * 32),
                commitment(b"device_id", 16, b"d" * 32),
                None,
                None,
            ],
            b"\x00" * 7 + b"\x01" + bytes(32),
        ),
        (
            moved,
            [
                "TRANSFERRED",
                AT,
                11,
                commitment(b"account_id", 100, b"b" * 32),
                commitment(b"device_id", 116, b"d" * 32),
                commitment(b"from_account_id", 132, b"a" * 32),
                commitment(b"transfer_id", 148, b"f" * 32),
            ],
            b"\x00" * 7 + b"\x02" + claimed.hash,
        ),
    ):
        content_hash = sha256(b"ftc-ledger-content-v2", msgspec.msgpack.encode(content))
        assert entry.hash == sha256(b"ftc-ledger-entry-v2", FINGERPRINT, place, content_hash)


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_an_untouched_history_is_whole(length: int) -> None:
    assert first_broken(chain(length)) is None


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize(
    "edit",
    [
        {"fingerprint": bytes(32)},
        {"sequence": 7},
        {"kind": "other"},
        {"account_id": "b" * 32},
        {"device_id": "e" * 32},
        {"at": AT + timedelta(microseconds=1, days=1)},
        {"revision": 99},
        {"salts": bytes(SALTS_BYTES)},
        {"from_account_id": "b" * 32},
        {"transfer_id": "f" * 32},
        {"previous_hash": b"\x01" * 32},
        {"hash": b"\x01" * 32},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edit_of_any_field_breaks_the_chain_there(position: int, edit: dict[str, Any]) -> None:
    entries = chain(3)
    if edit == {"kind": "other"}:
        was = entries[position].kind
        edit = {"kind": LedgerKind.CLAIMED if was is LedgerKind.RELEASED else LedgerKind.RELEASED}
    entries[position] = msgspec.structs.replace(entries[position], **edit)
    assert first_broken(entries) == position


def test_an_entry_that_is_dropped_is_missed() -> None:
    first, _, third = chain(3)
    assert first_broken([first, third]) == 1
    assert first_broken(chain(3)[1:]) == 0


def test_entries_out_of_order_are_seen() -> None:
    first, second, third = chain(3)
    assert first_broken([first, third, second]) == 1


def test_an_entry_twice_is_seen() -> None:
    first, second = chain(2)
    assert first_broken([first, second, second]) == 2


def test_an_entry_of_another_device_does_not_follow() -> None:
    """Even where its own hash and links are right."""
    first = chain(1)[0]
    foreign = append(
        first,
        fingerprint=bytes(32),
        kind=LedgerKind.RELEASED,
        account_id="a" * 32,
        device_id="d" * 32,
        at=AT,
        revision=11,
        salts=bytes(SALTS_BYTES),
    )
    assert first_broken([first, foreign]) == 1
