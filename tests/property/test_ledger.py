"""Ledgers: any harm to a document is found, and to an entry it is named; proofs prove one leaf alone."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.domain.ledger import first_broken
from ftc_core.domain.ledger_disclosure import EntryContent, Opening, ShownEntry
from ftc_core.domain.ledger_export import EntryRecord, Record, decode_record
from ftc_core.domain.ledger_keys import public_bytes
from ftc_core.domain.merkle import TILE_LEAVES, Subtree, TreeHash, includes, leaf_hash
from tests.ledgers import ACCOUNTS, Ledger, export, fingerprint, signing_key, verify

PIN = public_bytes(signing_key(0))


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Of up to five devices, each with a history that can be."""
    ledger = Ledger(seed=draw(st.integers(0, 99)))
    for device, account, step in draw(
        st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from(ACCOUNTS), st.booleans()), min_size=1, max_size=20
        )
    ):
        history = ledger.histories.get(fingerprint(device), [])
        if not history or history[-1].kind == "RELEASED":
            ledger.claim(device, account)
        elif step or history[-1].account_id == account:
            ledger.release(device)
        else:
            ledger.transfer(device, account)
    return ledger


def flip(data: bytes, bit: int) -> bytes:
    """One bit of it is another."""
    at = bit % (8 * len(data))
    return data[: at // 8] + bytes((data[at // 8] ^ 1 << at % 8,)) + data[at // 8 + 1 :]


def mutated(entry: ShownEntry, field: str, bit: int) -> ShownEntry:
    """The entry with another value in one of its fields, or in one of its content."""
    content = entry.content
    if field in ("fingerprint", "previous_hash", "hash"):
        return msgspec.structs.replace(entry, **{field: flip(getattr(entry, field), bit)})
    if field == "sequence":
        return msgspec.structs.replace(entry, sequence=entry.sequence + 1 + bit % 3)
    if isinstance(content, bytes):
        return msgspec.structs.replace(entry, content=flip(content, bit))
    value: Any = getattr(content, field)
    if isinstance(value, Opening):
        if bit % 2:
            value = Opening(value.value, flip(value.salt, bit))
        else:
            value = Opening(value.value[1:] + "0", value.salt) if value.value != "0" * 32 else bytes(32)
    elif isinstance(value, bytes):
        value = flip(value, bit)
    elif field == "kind":
        value = "RELEASED" if value != "RELEASED" else "CLAIMED"
    elif field == "at":
        value = value.replace(microsecond=(value.microsecond + 1 + bit % 5) % 1_000_000)
    elif field == "revision":
        value += 1 + bit % 5
    else:  # it has none
        value = Opening("f" * 32, bytes(16))
    changed = msgspec.structs.replace(content, **{field: value})
    return msgspec.structs.replace(
        entry, content=msgspec.convert(changed, EntryContent, from_attributes=True)
    )


FIELDS = ("fingerprint", "sequence", "previous_hash", "hash", *EntryContent.__struct_fields__)


def places(lines: list[bytes]) -> list[int]:
    """Of the entries."""
    return [at for at, line in enumerate(lines) if line.startswith(b'{"type":"entry"')]


def entry_at(lines: list[bytes], at: int) -> ShownEntry:
    record: Record = decode_record(lines[at])
    assert isinstance(record, EntryRecord)
    return record.entry


def names(lines: list[bytes]) -> set[tuple[bytes | None, int | None]]:
    return {(finding.fingerprint, finding.sequence) for finding in verify(lines, PIN)}


viewers = st.sampled_from([None, *ACCOUNTS])


@given(ledgers(), viewers)
def test_a_document_as_it_was_written_passes(ledger: Ledger, viewer: str | None) -> None:
    assert all(first_broken(history) is None for history in ledger.histories.values())
    assert verify(export(ledger, account_id=viewer), PIN) == []


@given(st.data(), ledgers(), viewers, st.sampled_from(FIELDS), st.integers(0, 10_000))
def test_any_change_of_any_field_of_any_entry_is_named(
    data: st.DataObject, ledger: Ledger, viewer: str | None, field: str, bit: int
) -> None:
    lines = export(ledger, account_id=viewer)
    if not (entries := places(lines)):
        return
    at = data.draw(st.sampled_from(entries))
    entry = entry_at(lines, at)
    changed = mutated(entry, field, bit)
    if changed == entry:  # a bit of a value that was drawn as it was
        return
    lines[at] = msgspec.json.encode(EntryRecord(changed)) + b"\n"
    assert (entry.fingerprint, entry.sequence) in names(lines)


@given(st.data(), ledgers(), viewers)
def test_an_entry_that_is_dropped_is_named(data: st.DataObject, ledger: Ledger, viewer: str | None) -> None:
    lines = export(ledger, account_id=viewer)
    if not (entries := places(lines)):
        return
    at = data.draw(st.sampled_from(entries))
    entry = entry_at(lines, at)
    del lines[at]
    assert (entry.fingerprint, entry.sequence) in names(lines)


@given(st.data(), ledgers(), viewers)
def test_entries_that_changed_places_are_named(
    data: st.DataObject, ledger: Ledger, viewer: str | None
) -> None:
    """Whether of one device or of two: one of the two stands where it does not belong, or both."""
    lines = export(ledger, account_id=viewer)
    if len(entries := places(lines)) < 2:
        return
    one, other = data.draw(st.lists(st.sampled_from(entries), min_size=2, max_size=2, unique=True))
    moved = {(e.fingerprint, e.sequence) for e in (entry_at(lines, one), entry_at(lines, other))}
    lines[one], lines[other] = lines[other], lines[one]
    assert moved & names(lines)


@given(st.data(), ledgers(), ledgers(), viewers)
def test_an_entry_that_is_inserted_or_spliced_in_is_named(
    data: st.DataObject, ledger: Ledger, foreign: Ledger, viewer: str | None
) -> None:
    """One of another ledger, though every hash of it is right, in the place of an entry or between two."""
    lines, others = export(ledger, account_id=viewer), export(foreign)
    if not (entries := places(lines)):
        return
    at, stranger = data.draw(st.sampled_from(entries)), data.draw(st.sampled_from(places(others)))
    intruder, there = entry_at(others, stranger), entry_at(lines, at)
    splice = data.draw(st.booleans())
    if splice and intruder.hash == there.hash:  # the very entry, though more of it is shown
        return
    lines[at : at + splice] = [others[stranger]]
    assert {(e.fingerprint, e.sequence) for e in (intruder, there)} & names(lines)


@given(st.data(), ledgers(), viewers, st.integers(0, 10_000))
def test_any_other_byte_in_a_document_is_seen(
    data: st.DataObject, ledger: Ledger, viewer: str | None, bit: int
) -> None:
    lines = export(ledger, account_id=viewer)
    at = data.draw(st.integers(0, len(lines) - 2))
    lines[at] = flip(lines[at], bit)
    assert verify(lines, PIN)


@given(st.integers(0, 18), st.data())
def test_a_proof_proves_its_leaf_in_its_place_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    tree = Subtree(leaves)
    streamed = TreeHash()
    for leaf in leaves:
        streamed.add(leaf)
    assert streamed.root() == tree.root
    for index in range(size):
        path = tree.path(index)
        assert [
            (at, number)
            for at in range(-1, size + 1)
            for number, leaf in enumerate(leaves)
            if includes(tree.root, size, at, leaf, path)
        ] == [(index, index)]
        assert not includes(tree.root, size, index, leaves[index], [*path, bytes(32)])
        if path:
            assert not includes(tree.root, size, index, leaves[index], path[:-1])
            broken = list(path)
            at = data.draw(st.integers(0, len(path) - 1))
            broken[at] = flip(broken[at], data.draw(st.integers(0, 255)))
            assert not includes(tree.root, size, index, leaves[index], broken)


def test_the_tree_of_tiles_is_the_tree_of_leaves() -> None:
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(3 * TILE_LEAVES + 5)]
    for size in (1, TILE_LEAVES - 1, TILE_LEAVES, TILE_LEAVES + 1, 2 * TILE_LEAVES, len(leaves)):
        tiles = [Subtree(leaves[at : min(size, at + TILE_LEAVES)]) for at in range(0, size, TILE_LEAVES)]
        above = Subtree([tile.root for tile in tiles])
        assert above.root == Subtree(leaves[:size]).root
        for index in (0, size // 2, size - 1):
            tile, leaf = divmod(index, TILE_LEAVES)
            path = [*tiles[tile].path(leaf), *above.path(tile)]
            assert includes(above.root, size, index, leaves[index], path)
