"""Ownership histories, checkpoints, keys and findings as messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ftc_core.application.ledger_reads import number_position
from ftc_core.application.ownership import OwnershipHistory, OwnershipVerification
from ftc_core.credentials.ledger_keys import public_key_pem
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger_disclosure import EntryContent, ShownEntry, opened
from ftc_core.domain.ledger_keys import KeyStatement
from ftc_core.domain.ledger_verification import Finding
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import LEDGER_FINDINGS_MAX
from ftc_grpc._gen.ftc.v1 import ledger_pb2, ownership_pb2
from ftc_grpc.convert import etag_of, timestamp

__all__ = [
    "PlainQuery",
    "checkpoint_number",
    "checkpoint_to_proto",
    "history_to_proto",
    "key_to_proto",
    "page_of_entries",
    "verification_to_proto",
]

_CHECKPOINT_NAME = re.compile(r"ledgerCheckpoints/([1-9][0-9]{0,17})")
_SHOWN_MAX_CHARS = 200


@dataclass(slots=True)
class PlainQuery:
    """A list that has no filter, as `pagination.ListQuery` wants it."""

    page_size: int
    page_token: str
    order_by: str = ""
    include_total_size: bool = False
    filter: str = ""


def checkpoint_number(name: str) -> int:
    """The number in a checkpoint's resource name. Raises FtcError FIELD_REQUIRED, RESOURCE_NAME_INVALID."""
    if not name:
        raise FtcError(Reason.FIELD_REQUIRED, "name is required: ledgerCheckpoints/{number}", field="name")
    shape = _CHECKPOINT_NAME.fullmatch(name)
    if shape is None:
        raise FtcError(
            Reason.RESOURCE_NAME_INVALID,
            f"resource name {name[:_SHOWN_MAX_CHARS]!r} is malformed;"
            " the form is ledgerCheckpoints/{number}",
            field="name",
        )
    return int(shape[1])


def checkpoint_to_proto(signed: SignedCheckpoint) -> ledger_pb2.LedgerCheckpoint:
    """The resource of a checkpoint."""
    checkpoint = signed.checkpoint
    return ledger_pb2.LedgerCheckpoint(
        name=f"ledgerCheckpoints/{checkpoint.number}",
        number=checkpoint.number,
        created_at=timestamp(checkpoint.made_at),
        revision=checkpoint.revision,
        history_count=checkpoint.head_count,
        entry_count=checkpoint.entry_count,
        root_hash=checkpoint.root_hash.hex(),
        previous_hash=checkpoint.previous_hash.hex(),
        key=_key_name(checkpoint.key_id),
        signature=signed.signature,
    )


def key_to_proto(statement: KeyStatement) -> ledger_pb2.LedgerKey:
    """The resource of a key."""
    return ledger_pb2.LedgerKey(
        name=_key_name(statement.key_id),
        number=statement.number,
        public_key=public_key_pem(statement.public_key).decode(),
        created_at=timestamp(statement.made_at),
        first_checkpoint=statement.first_checkpoint,
        signature=statement.signature,
        etag=etag_of(statement.number),
    )


def page_of_entries(
    entries: Sequence[ShownEntry], after: str | None, size: int
) -> tuple[list[ShownEntry], str | None]:
    """`size` entries past the position `after`, and the position of the last of them if there are more."""
    past = 0 if after is None else int(after, 16)
    rest = [entry for entry in entries if entry.sequence > past]
    page = rest[:size]
    return page, number_position(page[-1].sequence) if len(rest) > size else None


def history_to_proto(
    history: OwnershipHistory, entries: Sequence[ShownEntry], next_page_token: str
) -> ownership_pb2.OwnershipHistory:
    """One page of a history."""
    return ownership_pb2.OwnershipHistory(
        enrollment_identity=format_enrollment_id(history.fingerprint),
        entries=[
            _entry_to_proto(entry, entry.content)
            for entry in entries
            if isinstance(entry.content, EntryContent)
        ],
        owned_now=history.owned_now,
        next_page_token=next_page_token,
    )


def verification_to_proto(
    verification: OwnershipVerification,
) -> ownership_pb2.VerifyOwnershipHistoryResponse:
    """What was found."""
    signed = verification.checkpoint
    return ownership_pb2.VerifyOwnershipHistoryResponse(
        enrollment_identity=format_enrollment_id(verification.fingerprint),
        verified=not verification.findings,
        entry_count=verification.entries,
        checkpoint=None if signed is None else checkpoint_to_proto(signed),
        covered_sequence=verification.covered,
        findings=map(_finding_to_proto, verification.findings[:LEDGER_FINDINGS_MAX]),
    )


def _entry_to_proto(entry: ShownEntry, content: EntryContent) -> ownership_pb2.OwnershipEntry:
    return ownership_pb2.OwnershipEntry(
        sequence=entry.sequence,
        kind=ownership_pb2.OwnershipEntry.Kind.Value(content.kind.value),
        changed_at=timestamp(content.at),
        revision=content.revision,
        account_id=opened(content.account_id) or "",
        device_id=opened(content.device_id) or "",
        from_account_id=opened(content.from_account_id) or "",
        transfer_id=opened(content.transfer_id) or "",
        hash=entry.hash.hex(),
        previous_hash=entry.previous_hash.hex(),
    )


def _finding_to_proto(finding: Finding) -> ledger_pb2.LedgerFinding:
    return ledger_pb2.LedgerFinding(
        fault=ledger_pb2.LedgerFinding.Fault.Value(finding.fault.value),
        enrollment_identity="" if finding.fingerprint is None else format_enrollment_id(finding.fingerprint),
        sequence=finding.sequence or 0,
        detail=finding.detail,
    )


def _key_name(key_id: bytes) -> str:
    return f"ledgerKeys/{key_id.hex()}"
