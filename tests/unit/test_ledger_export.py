"""Documents: a sound one passes for every caller, and each kind of harm to one is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from ftc_core.domain.checkpoint import Checkpoint, Head, InclusionProof, SignedCheckpoint, heads_at
from ftc_core.domain.export_verifier import ExportVerifier
from ftc_core.domain.ledger import LedgerEntry, LedgerKind, append
from ftc_core.domain.ledger_disclosure import EntryContent, disclose
from ftc_core.domain.ledger_export import (
    EntryRecord,
    ExportWriter,
    HistoryRecord,
    Record,
    decode_record,
)
from ftc_core.domain.ledger_keys import make_statement, public_bytes
from ftc_core.domain.ledger_verification import Finding, LedgerFault
from ftc_core.limits import LEDGER_LINE_MAX_BYTES
from tests.ledgers import (
    ACCOUNTS,
    NOW,
    Ledger,
    checkpoint_of,
    export,
    fingerprint,
    keys,
    signing_key,
    some_ledger,
    verify,
)

PIN = public_bytes(signing_key(0))
TARGET = fingerprint(4)
"""With five entries."""
Named = tuple[LedgerFault, bytes | None, int | None]


def named(findings: Sequence[Finding]) -> list[Named]:
    return [(finding.fault, finding.fingerprint, finding.sequence) for finding in findings]


def edited(lines: list[bytes], edit: Callable[[list[Record]], list[Record]]) -> list[bytes]:
    """The document after an edit of its records; its end is as it was, for only a key could sign another."""
    records = edit([decode_record(line) for line in lines[:-1]])
    writer = ExportWriter()
    return [*(writer.line(record) for record in records), lines[-1]]  # type: ignore[arg-type]


def place(records: list[Record], device: bytes, sequence: int) -> int:
    """Where an entry stands."""
    [index] = [
        index
        for index, record in enumerate(records)
        if isinstance(record, EntryRecord)
        and (record.entry.fingerprint, record.entry.sequence) == (device, sequence)
    ]
    return index


def history(records: list[Record], device: bytes) -> slice:
    """Where a history stands, with its entries."""
    [start] = [
        index
        for index, record in enumerate(records)
        if isinstance(record, HistoryRecord) and record.head.fingerprint == device
    ]
    end = start + 1
    while end < len(records) and isinstance(records[end], EntryRecord):
        end += 1
    return slice(start, end)


def replaced(record: Record, **changes: Any) -> Record:
    assert isinstance(record, EntryRecord)
    return EntryRecord(msgspec.structs.replace(record.entry, **changes))


# --- sound ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", [None, *ACCOUNTS])
@pytest.mark.parametrize("devices", [0, 1, 2, 5, 8])
def test_a_sound_document_passes(account: str | None, devices: int) -> None:
    assert verify(export(some_ledger(devices), account_id=account), PIN) == []


def test_its_summary_tells_what_it_is() -> None:
    verifier = ExportVerifier(PIN)
    for line in export(some_ledger(), account_id=ACCOUNTS[1]):
        verifier.feed(line)
    verifier.finish()
    summary = verifier.summary
    assert (summary.account_id, summary.histories, summary.entries) == (ACCOUNTS[1], 4, 2 + 3 + 5 + 5)
    assert (summary.pinned, summary.key_ids) == (True, [keys()[0].key_id])
    assert summary.checkpoint is not None
    assert summary.checkpoint.head_count == 5


def test_without_a_key_of_his_own_the_reader_learns_that_nothing_is_pinned() -> None:
    lines = export(some_ledger())
    verifier = ExportVerifier()
    assert [finding for line in lines for finding in verifier.feed(line)] == []
    assert verifier.summary.pinned is False


# --- entries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", range(1, 6))
def test_an_entry_that_is_changed_is_named(sequence: int) -> None:
    def edit(records: list[Record]) -> list[Record]:
        at = place(records, TARGET, sequence)
        record = records[at]
        assert isinstance(record, EntryRecord)
        assert isinstance(record.entry.content, EntryContent)
        later = msgspec.structs.replace(record.entry.content, at=NOW)
        records[at] = replaced(record, content=later)
        return records

    assert named(verify(edited(export(some_ledger()), edit), PIN)) == [
        (LedgerFault.ENTRY_CHANGED, TARGET, sequence),
        (LedgerFault.DOCUMENT_CHANGED, None, None),
    ]


@pytest.mark.parametrize("sequence", range(1, 6))
def test_an_entry_that_is_dropped_is_named(sequence: int) -> None:
    def edit(records: list[Record]) -> list[Record]:
        del records[place(records, TARGET, sequence)]
        return records

    assert named(verify(edited(export(some_ledger()), edit), PIN)) == [
        (LedgerFault.ENTRY_MISSING, TARGET, sequence),
        (LedgerFault.DOCUMENT_CHANGED, None, None),
    ]


def test_the_last_entries_of_a_history_are_missed() -> None:
    def edit(records: list[Record]) -> list[Record]:
        del records[place(records, TARGET, 3) : place(records, TARGET, 5) + 1]
        return records

    found = verify(edited(export(some_ledger()), edit), PIN)
    assert named(found)[0] == (LedgerFault.ENTRY_MISSING, TARGET, 3)
    assert found[0].text.endswith("entry 3: entries 3 to 5 are missing")


def test_entries_that_changed_places_are_named() -> None:
    def edit(records: list[Record]) -> list[Record]:
        second, third = place(records, TARGET, 2), place(records, TARGET, 3)
        records[second], records[third] = records[third], records[second]
        return records

    assert named(verify(edited(export(some_ledger()), edit), PIN)) == [
        (LedgerFault.ENTRY_OUT_OF_ORDER, TARGET, 2),
        (LedgerFault.DOCUMENT_CHANGED, None, None),
    ]


def test_an_entry_that_is_inserted_is_named() -> None:
    def edit(records: list[Record]) -> list[Record]:
        third = place(records, TARGET, 3)
        records.insert(third, replaced(records[third], hash=bytes(32)))
        return records

    assert (LedgerFault.ENTRY_OUT_OF_ORDER, TARGET, 3) in named(
        verify(edited(export(some_ledger()), edit), PIN)
    )


def test_an_entry_after_the_last_one_is_named() -> None:
    ledger = some_ledger()
    lines = export(ledger)
    ledger.release(4)
    [*_, released] = disclose(ledger.histories[TARGET], None)

    def edit(records: list[Record]) -> list[Record]:
        records.insert(place(records, TARGET, 5) + 1, EntryRecord(released))
        return records

    assert (LedgerFault.ENTRY_UNCOVERED, TARGET, 6) in named(verify(edited(lines, edit), PIN))


def test_an_entry_of_another_device_is_named() -> None:
    def edit(records: list[Record]) -> list[Record]:
        at, foreign = place(records, TARGET, 2), place(records, fingerprint(3), 2)
        records[at] = records[foreign]
        return records

    assert named(verify(edited(export(some_ledger()), edit), PIN))[:2] == [
        (LedgerFault.ENTRY_FOREIGN, fingerprint(3), 2),
        (LedgerFault.ENTRY_MISSING, TARGET, 2),
    ]


def test_a_history_rewritten_with_all_its_hashes_does_not_end_as_the_checkpoint_says() -> None:
    ledger = some_ledger()
    lines = export(ledger)
    genuine = ledger.histories.pop(TARGET)
    for _ in genuine:
        ledger.revision -= 1
    ledger.claim(4, ACCOUNTS[2])
    ledger.release(4)
    ledger.claim(4, ACCOUNTS[2])
    ledger.release(4)
    ledger.claim(4, ACCOUNTS[2])

    def edit(records: list[Record]) -> list[Record]:
        entries = disclose(ledger.histories[TARGET], None)
        for entry in entries:
            records[place(records, TARGET, entry.sequence)] = EntryRecord(entry)
        return records

    assert (LedgerFault.HEAD_MISMATCH, TARGET, 5) in named(verify(edited(lines, edit), PIN))


def test_a_history_rewritten_with_its_head_is_not_proven() -> None:
    ledger = some_ledger()
    lines = export(ledger)
    del ledger.histories[TARGET]
    ledger.claim(4, ACCOUNTS[2])

    def edit(records: list[Record]) -> list[Record]:
        where = history(records, TARGET)
        old = records[where.start]
        assert isinstance(old, HistoryRecord)
        entries = ledger.histories[TARGET]
        [head] = heads_at(entries, ledger.revision)
        records[where] = [
            HistoryRecord(head, old.proof),
            *(EntryRecord(entry) for entry in disclose(entries, None)),
        ]
        return records

    assert named(verify(edited(lines, edit), PIN))[0] == (LedgerFault.HISTORY_UNPROVEN, TARGET, 1)


def test_a_change_that_cannot_be_is_named_even_where_all_hashes_are_right() -> None:
    """Whoever holds the signing key can write what he likes; not what makes no sense."""
    ledger = some_ledger()
    history = ledger.histories[fingerprint(0)]
    history.append(
        append(
            history[-1],
            fingerprint=fingerprint(0),
            kind=LedgerKind.CLAIMED,
            account_id=ACCOUNTS[1],
            device_id="d" * 32,
            at=NOW,
            revision=ledger.revision + 1,
            salts=bytes(64),
        )
    )
    ledger.revision += 1
    assert named(verify(export(ledger), PIN)) == [(LedgerFault.CHANGE_IMPOSSIBLE, fingerprint(0), 2)]


# --- histories -------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", range(5))
def test_a_history_that_is_dropped_is_missed_between_its_neighbours(device: int) -> None:
    order = sorted(fingerprint(number) for number in range(5))
    at = order.index(fingerprint(device))

    def edit(records: list[Record]) -> list[Record]:
        del records[history(records, fingerprint(device))]
        return records

    found = verify(edited(export(some_ledger()), edit), PIN)
    assert [finding.fault for finding in found] == [
        LedgerFault.HISTORY_MISSING,
        LedgerFault.DOCUMENT_CHANGED,
    ]
    neighbours = [
        fingerprint.hex(":").upper() for fingerprint in (*order[max(0, at - 1) : at], *order[at + 1 :][:1])
    ]
    assert all(neighbour in found[0].detail for neighbour in neighbours)


def test_a_history_that_is_dropped_from_an_account_s_document_is_missed() -> None:
    def edit(records: list[Record]) -> list[Record]:
        del records[history(records, TARGET)]
        return records

    [finding] = verify(edited(export(some_ledger(), account_id=ACCOUNTS[1]), edit), PIN)
    assert finding.fault is LedgerFault.DOCUMENT_CHANGED
    assert finding.detail == "it was written with 4 histories and 15 entries, and has 3 and 10"


def test_histories_that_changed_places_are_named() -> None:
    first, second, *_ = sorted(fingerprint(number) for number in range(5))

    def edit(records: list[Record]) -> list[Record]:
        one, two = history(records, first), history(records, second)
        return [*records[: one.start], *records[two], *records[one], *records[two.stop :]]

    faults = named(verify(edited(export(some_ledger()), edit), PIN))
    assert faults[1][:2] == (LedgerFault.HISTORY_OUT_OF_ORDER, first)


# --- checkpoints and keys --------------------------------------------------------------------------


def test_old_checkpoints_verify_with_the_first_key_after_rotations() -> None:
    ledger = some_ledger()
    heads = list(heads_at(ledger.entries(), ledger.revision))
    first = checkpoint_of(heads[:2], 2, key=0)
    second = checkpoint_of(heads[:3], 3, previous=first.checkpoint, key=1)
    third = checkpoint_of(heads, ledger.revision, previous=second.checkpoint, key=2)
    lines = export(ledger, statements=keys(3), checkpoints=[first, second, third])
    for number in range(3):
        assert verify(lines, public_bytes(signing_key(number))) == []
    assert named(verify(lines, public_bytes(signing_key(3)))) == [(LedgerFault.KEY_NOT_PINNED, None, None)]


def test_an_old_key_signs_nothing_after_its_time() -> None:
    ledger = some_ledger()
    heads = list(heads_at(ledger.entries(), ledger.revision))
    first = checkpoint_of(heads[:2], 2, key=0)
    stolen = checkpoint_of(heads, ledger.revision, previous=first.checkpoint, key=0)
    lines = export(ledger, statements=keys(2), checkpoints=[first, stolen])
    assert named(verify(lines, PIN)) == [(LedgerFault.CHECKPOINT_INVALID, None, None)]


def test_a_store_that_was_replaced_is_found_with_the_pinned_key() -> None:
    other = signing_key(9)
    statement = make_statement(None, other, other, made_at=NOW, first_checkpoint=1)
    faults = [fault for fault, _, _ in named(verify(export(some_ledger(), statements=[statement]), PIN))]
    assert LedgerFault.KEY_NOT_PINNED in faults


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"public_key": public_bytes(signing_key(7))},
        {"first_checkpoint": 1},
        {"previous_hash": bytes(32)},
        {"signature": bytes(64)},
        {"own_signature": bytes(64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_key_that_the_one_before_has_not_signed_is_none(change: dict[str, Any]) -> None:
    first, second = keys(2)
    lines = export(some_ledger(), statements=[first, msgspec.structs.replace(second, **change)])
    assert LedgerFault.KEY_INVALID in {fault for fault, _, _ in named(verify(lines, PIN))}


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"made_at": NOW.replace(year=2027)},
        {"revision": 99},
        {"head_count": 4},
        {"entry_count": 14},
        {"root_hash": bytes(32)},
        {"previous_hash": b"\x01" * 32},
        {"key_id": bytes(32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_that_is_changed_is_no_longer_signed(change: dict[str, Any]) -> None:
    ledger = some_ledger()
    signed = checkpoint_of(list(heads_at(ledger.entries(), ledger.revision)), ledger.revision)
    changed = msgspec.structs.replace(signed, checkpoint=msgspec.structs.replace(signed.checkpoint, **change))
    lines = export(ledger, checkpoints=[changed])
    assert LedgerFault.CHECKPOINT_INVALID in {fault for fault, _, _ in named(verify(lines, PIN))}


def test_a_checkpoint_that_is_dropped_is_missed() -> None:
    ledger = some_ledger()
    heads = list(heads_at(ledger.entries(), ledger.revision))
    first = checkpoint_of(heads[:2], 2)
    second = checkpoint_of(heads, ledger.revision, previous=first.checkpoint)
    assert verify(export(ledger, checkpoints=[first, second]), PIN) == []
    assert named(verify(export(ledger, checkpoints=[second]), PIN)) == [
        (LedgerFault.CHECKPOINT_UNLINKED, None, None)
    ]


def test_an_older_ledger_does_not_pass_under_a_later_checkpoint() -> None:
    """The last entries dropped, and everything made anew from what is left; but the key is not there."""
    ledger = some_ledger()
    later = checkpoint_of(list(heads_at(ledger.entries(), ledger.revision)), ledger.revision)
    ledger.histories[TARGET].pop()
    faults = verify(export(ledger, checkpoints=[later]), PIN)
    assert (LedgerFault.HISTORY_UNPROVEN, TARGET, 4) in named(faults)


# --- the document ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", range(25))
def test_a_document_that_is_cut_is_seen(kept: int) -> None:
    lines = export(some_ledger())
    assert len(lines) == 25
    assert named(verify(lines[:kept], PIN))[-1] == (LedgerFault.DOCUMENT_CUT, None, None)


@pytest.mark.parametrize("at", range(1, 25))
def test_a_line_that_stands_where_it_does_not_belong_is_named(at: int) -> None:
    lines = export(some_ledger())
    lines.insert(at, lines[0])
    assert LedgerFault.DOCUMENT_MALFORMED in {fault for fault, _, _ in named(verify(lines, PIN))}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"type":"other"}\n',
        b"\xff\n",
        b'{"type":"entry"}\n',
        b'{"type":"ent\xffry"}\n',
        b'{"a":' * 100_000,
    ],
    ids=range(9),
)
def test_a_line_that_is_no_record_is_named(line: bytes) -> None:
    lines = export(some_ledger())
    lines.insert(7, line)
    assert named(verify(lines, PIN))[0] == (LedgerFault.DOCUMENT_MALFORMED, None, None)
    assert verify([line], PIN)[0].detail.startswith("line 1: ")


def test_what_is_quoted_of_a_line_is_short_and_has_no_control_characters() -> None:
    escape = (
        b'{"type":"header","format":1,"made_at":"2026-11-23T12:00:00Z","account_id":null,"\\u001b[2J%s":1}'
    )
    [malformed, _] = verify([escape % (b"x" * 1_000)])
    assert malformed.fault is LedgerFault.DOCUMENT_MALFORMED
    assert malformed.text.isprintable()
    assert "[2Jxxx" in malformed.text
    assert len(malformed.text) < 250


def test_a_header_for_what_is_no_account_is_none() -> None:
    header = b'{"type":"header","format":1,"made_at":"2026-11-23T12:00:00Z","account_id":"%s"}'
    for account in (b"a" * 31, b"A" * 32, b"a" * 32 + b"\\n", b""):
        assert named(verify([header % account]))[0] == (LedgerFault.DOCUMENT_MALFORMED, None, None)
    assert named(verify([header % (b"a" * 32)])) == [(LedgerFault.DOCUMENT_CUT, None, None)]


def test_no_line_is_near_the_bound() -> None:
    """A reader that takes lines up to the bound loses none."""
    head = Head(TARGET, 2**63 - 1, bytes(32))
    widest = InclusionProof(2**63 - 1, (bytes(32),) * 64)
    lines = [*export(some_ledger()), ExportWriter().line(HistoryRecord(head, widest))]
    assert max(map(len, lines)) < LEDGER_LINE_MAX_BYTES / 4


def test_a_document_whose_end_another_key_has_signed_is_not_as_it_was_written() -> None:
    ledger = some_ledger()
    lines = export(ledger)
    writer = ExportWriter()
    for line in lines[:-1]:
        writer.line(decode_record(line))  # type: ignore[arg-type]
    signed = checkpoint_of(list(heads_at(ledger.entries(), ledger.revision)), ledger.revision)
    forged = writer.end(signed.checkpoint, signing_key(5))
    assert named(verify([*lines[:-1], forged], PIN)) == [(LedgerFault.DOCUMENT_CHANGED, None, None)]


# --- against what the reader knows -----------------------------------------------------------------


def verified_after(lines: Sequence[bytes], known: Checkpoint) -> list[LedgerFault]:
    """What a reader finds who has verified an earlier document."""
    verifier = ExportVerifier(PIN, known)
    found = [finding for line in lines for finding in verifier.feed(line)]
    return [finding.fault for finding in (*found, *verifier.finish())]


@pytest.fixture
def grown() -> tuple[Ledger, SignedCheckpoint, SignedCheckpoint]:
    """A ledger that has grown since its first checkpoint, and both."""
    ledger = some_ledger()
    first = checkpoint_of(list(heads_at(ledger.entries(), ledger.revision)), ledger.revision)
    ledger.release(4)
    ledger.claim(7, ACCOUNTS[1])
    heads = list(heads_at(ledger.entries(), ledger.revision))
    return ledger, first, checkpoint_of(heads, ledger.revision, previous=first.checkpoint)


@pytest.mark.parametrize("account", [None, ACCOUNTS[0]])
def test_a_document_that_goes_on_from_a_known_checkpoint_passes(
    grown: tuple[Ledger, SignedCheckpoint, SignedCheckpoint], account: str | None
) -> None:
    ledger, first, second = grown
    checkpoints = [first, second] if account is None else [second]
    lines = export(ledger, account_id=account, checkpoints=checkpoints)
    assert verified_after(lines, first.checkpoint) == verified_after(lines, second.checkpoint) == []


@pytest.mark.parametrize("account", [None, ACCOUNTS[0]])
def test_an_older_document_is_seen_to_be_one(
    grown: tuple[Ledger, SignedCheckpoint, SignedCheckpoint], account: str | None
) -> None:
    _, _, second = grown
    lines = export(some_ledger(), account_id=account)
    assert verify(lines, PIN) == []
    assert verified_after(lines, second.checkpoint) == [LedgerFault.CHECKPOINT_OUTDATED]


def test_another_past_is_seen_even_if_the_key_has_signed_it(
    grown: tuple[Ledger, SignedCheckpoint, SignedCheckpoint],
) -> None:
    """The device 0 was never A's, says the holder of the key; all that he can make is right."""
    ledger, first, _ = grown
    ledger.histories[fingerprint(0)] = rewritten(ledger.histories[fingerprint(0)])
    heads = list(heads_at(ledger.entries(), ledger.revision))
    forged = checkpoint_of(heads, ledger.revision, previous=first.checkpoint)
    lines = export(ledger, checkpoints=[first, forged])
    assert verify(lines, PIN) == []
    assert verified_after(lines, first.checkpoint) == [LedgerFault.CHECKPOINT_CONTRADICTED]
    earlier = checkpoint_of(list(heads_at(ledger.entries(), first.checkpoint.revision)), 12)
    anew = checkpoint_of(heads, ledger.revision, previous=earlier.checkpoint)
    lines = export(ledger, checkpoints=[earlier, anew])
    assert verify(lines, PIN) == []
    assert verified_after(lines, first.checkpoint) == [LedgerFault.CHECKPOINT_CONTRADICTED] * 2


def rewritten(history: list[LedgerEntry]) -> list[LedgerEntry]:
    """With another first owner."""
    [entry] = history
    fields = msgspec.structs.asdict(entry) | {"account_id": ACCOUNTS[2]}
    for derived in ("sequence", "previous_hash", "hash"):
        del fields[derived]
    return [append(None, **fields)]
