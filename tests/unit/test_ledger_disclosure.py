"""What an account is shown of a history: its own part, and nothing that tells of others."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import msgspec
import pytest

from ftc_core.domain.ledger import commit
from ftc_core.domain.ledger_disclosure import (
    EntryContent,
    Opening,
    ShownEntry,
    disclose,
    opened,
    own_entries,
    recomputed_hash,
)
from tests.ledgers import ACCOUNTS, Ledger, fingerprint

A, B, C = ACCOUNTS


@pytest.fixture
def ledger() -> Ledger:
    """Claimed by A, given to B, who releases it; claimed by C, who gives it to A."""
    ledger = Ledger()
    ledger.claim(1, A)
    ledger.transfer(1, B)
    ledger.release(1)
    ledger.claim(1, C)
    ledger.transfer(1, A)
    return ledger


def shown(ledger: Ledger, account: str | None) -> list[ShownEntry]:
    return disclose(ledger.histories[fingerprint(1)], account)


def content(entry: ShownEntry) -> EntryContent:
    assert isinstance(entry.content, EntryContent)
    return entry.content


def accounts_in(entries: list[ShownEntry]) -> list[tuple[int, str | None, str | None]]:
    return [
        (entry.sequence, opened(content(entry).account_id), opened(content(entry).from_account_id))
        for entry in own_entries(entries)
    ]


def test_an_operator_sees_all(ledger: Ledger) -> None:
    assert accounts_in(shown(ledger, None)) == [
        (1, A, None),
        (2, B, A),
        (3, B, None),
        (4, C, None),
        (5, A, C),
    ]


@pytest.mark.parametrize(
    ("account", "part"),
    [
        (A, [(1, A, None), (2, None, A), (5, A, None)]),
        (B, [(2, B, None), (3, B, None)]),
        (C, [(4, C, None), (5, None, C)]),
    ],
)
def test_an_account_sees_how_it_got_and_gave_up_the_device(
    ledger: Ledger, account: str, part: list[tuple[int, str | None, str | None]]
) -> None:
    assert accounts_in(shown(ledger, account)) == part


def test_who_never_had_the_device_sees_nothing(ledger: Ledger) -> None:
    assert shown(ledger, "e" * 32) == []
    assert disclose([], A) == disclose([], None) == []


@pytest.mark.parametrize("account", [None, *ACCOUNTS])
def test_every_view_of_a_history_is_the_same_chain(ledger: Ledger, account: str | None) -> None:
    entries = shown(ledger, account)
    stored = ledger.histories[fingerprint(1)]
    assert [(entry.sequence, entry.hash) for entry in entries] == [(e.sequence, e.hash) for e in stored]
    assert all(recomputed_hash(entry) == entry.hash for entry in entries)
    assert all(later.previous_hash == earlier.hash for earlier, later in pairwise(entries))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_what_is_shown_holds_no_value_or_time_of_others(ledger: Ledger, account: str) -> None:
    text = msgspec.json.encode(shown(ledger, account)).decode()
    assert all(other not in text for other in ACCOUNTS if other != account)
    for entry in ledger.histories[fingerprint(1)]:
        if account not in (entry.account_id, entry.from_account_id):
            assert entry.at.isoformat().removesuffix("+00:00") not in text
            assert entry.device_id not in text or any(
                entry.device_id == opened(content(own).device_id)
                for own in own_entries(shown(ledger, account))
            )


def test_no_salt_that_is_shown_fits_a_commitment_that_is_not(ledger: Ledger) -> None:
    """So an account cannot try the IDs that it knows of others."""
    entries = own_entries(shown(ledger, B))
    withheld = [
        commitment
        for entry in entries
        for commitment in (content(entry).account_id, content(entry).from_account_id)
        if isinstance(commitment, bytes)
    ]
    assert len(withheld) == 1
    salts = {
        value.salt
        for entry in entries
        for field in ("account_id", "device_id", "from_account_id", "transfer_id")
        if isinstance(value := getattr(content(entry), field), Opening)
    }
    assert len(salts) == 5
    guesses = {
        commit(field, salt, account)
        for salt in salts
        for account in ACCOUNTS
        for field in ("account_id", "from_account_id")
    }
    assert not guesses & set(withheld)


def test_a_content_of_text_that_cannot_be_encoded_has_no_hash(ledger: Ledger) -> None:
    entry = shown(ledger, None)[0]
    odd = msgspec.structs.replace(content(entry), device_id=Opening("\ud800", bytes(16)))
    assert recomputed_hash(msgspec.structs.replace(entry, content=odd)) is None


def test_a_withheld_entry_is_its_content_hash_alone(ledger: Ledger) -> None:
    entry = shown(ledger, B)[0]
    assert isinstance(entry.content, bytes)
    place = entry.fingerprint + (1).to_bytes(8, "big") + bytes(32)
    assert entry.hash == hashlib.sha256(b"ftc-ledger-entry-v2\x00" + place + entry.content).digest()
