"""Commands on denials."""

from __future__ import annotations

from collections.abc import Mapping

import lmdb
import msgspec

from ftc_core.domain.certificate import CertificateService
from ftc_core.domain.denial import Denial, Sighting, cause_key, is_news, seen_again
from ftc_core.domain.event import EventKind
from ftc_core.limits import DENIAL_ACCOUNTS_MAX
from ftc_core.storage.commands import Swept
from ftc_core.storage.denial_commands import DenialsRecorded, ForgetDenials, RecordDenials
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import party_key
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.tables import NUMBER_BYTES, pack_id, time_key
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["forget_denials", "record_denials", "remove_denials_of"]


def record_denials(writer: Writer, command: RecordDenials) -> DenialsRecorded:
    """See the command."""
    new = 0
    for sighting in command.sightings:
        parties = _parties(writer, sighting, command)
        first = [
            _record(writer, sighting, account_id, certificate_id, command)
            for account_id, certificate_id in parties.items()
        ]
        new += any(first)
    return DenialsRecorded(new)


def forget_denials(writer: Writer, command: ForgetDenials) -> Swept:
    """See the command."""
    due, more = writer.due(writer.tables.denial_expiry, time_key(command.until), command.limit)
    for key in due:
        _remove(writer, key[NUMBER_BYTES:])
    return Swept(len(due), more)


def remove_denials_of(writer: Writer, account_id: str) -> None:
    """Every denial of an account."""
    count = writer.view.count_denials(account_id)
    for denial in writer.view.list_denials(account_id, after=None, limit=count):
        _remove(writer, _key(denial))


def _parties(writer: Writer, sighting: Sighting, command: RecordDenials) -> Mapping[str | None, str | None]:
    """Whom it concerns, each with his certificate of a CA that issued the device's, if he has one."""
    view, fingerprint = writer.view, sighting.denial.fingerprint
    if fingerprint is None:
        return {None: None}
    [enrollment], [device] = view.find_enrollments((fingerprint,)), view.find_devices((fingerprint,))
    accounts = set()
    if enrollment is not None and not enrollment.is_expired(command.now):
        accounts.add(enrollment.account_id)
    if device is not None:
        accounts.add(device.account_id)
    named = sighting.named_account_id
    if named is not None and _issuer_in(writer, named, sighting) is not None:
        accounts.add(named)
    if accounts:
        return {account_id: _issuer_in(writer, account_id, sighting) for account_id in sorted(accounts)}
    holders: dict[str | None, str | None] = {}
    for certificate in view.find_ca_holders(sighting.issuing_cas):
        holders.setdefault(certificate.account_id, certificate.id)
        if len(holders) == DENIAL_ACCOUNTS_MAX:
            break
    return holders or {None: None}


def _issuer_in(writer: Writer, account_id: str, sighting: Sighting) -> str | None:
    """ID of the account's certificate of the CA that issued the device's, the nearest to it first."""
    try:
        account = pack_id(account_id)
    except ValueError:
        return None
    for certificate in writer.view.vouching(account, sighting.issuing_cas):
        if certificate.service is CertificateService.BOOTSTRAP:
            return certificate.id
    return None


def _record(
    writer: Writer,
    sighting: Sighting,
    account_id: str | None,
    certificate_id: str | None,
    command: RecordDenials,
) -> bool:
    """Keep it for one party; whether that had none of this device and cause."""
    tables, party = writer.tables, party_key(account_id)
    given = msgspec.structs.replace(
        sighting.denial, account_id=account_id, trusted_certificate_id=certificate_id
    )
    cause = party + cause_key(given)
    known = writer.get(tables.denials_by_cause, cause)
    kept = None if known is None else _kept(writer, account_id, known)
    after = given if kept is None else seen_again(kept, given)
    revision = _tell(writer, after, command) if is_news(kept, given) else writer.next_revision()
    after = msgspec.structs.replace(after, revision=revision)
    if kept is None:
        writer.put(tables.denials_by_cause, cause, pack_id(after.id))
        writer.increment(tables.denial_counts, party, b"")
    elif kept.last_seen_at != after.last_seen_at:
        _unindex(writer, kept)
    writer.put(tables.denials, _key(after), records.DENIAL.encode(after))
    _index(writer, after)
    if kept is None:
        _make_room(writer, account_id, command.kept_max)
    return kept is None


def _tell(writer: Writer, denial: Denial, command: RecordDenials) -> int:
    """An event for the account, if it is one's → its revision, or the next."""
    if denial.account_id is None or denial.fingerprint is None:
        return writer.next_revision()
    [enrollment] = writer.view.find_enrollments((denial.fingerprint,))
    own = enrollment is not None and enrollment.account_id == denial.account_id
    return writer.emit(
        EventKind.ENROLLMENT_DENIED,
        command.now,
        denial.account_id,
        enrollment_id=enrollment.id if own and enrollment is not None else None,
        fingerprint=denial.fingerprint,
        denial_id=denial.id,
    )


def _make_room(writer: Writer, account_id: str | None, kept_max: int) -> None:
    surplus = writer.view.count_denials(account_id) - kept_max
    if surplus > 0:
        for denial in writer.view.list_denials(account_id, after=None, limit=surplus):
            _remove(writer, _key(denial))


def _remove(writer: Writer, key: bytes) -> None:
    """Forget that of the party and ID in `key`."""
    stored = writer.get(writer.tables.denials, key)
    if stored is None:
        raise corrupt(f"an index of denials has {key.hex()}")
    denial = records.DENIAL.decode(stored)
    party = party_key(denial.account_id)
    _unindex(writer, denial)
    writer.delete(writer.tables.denials_by_cause, party + cause_key(denial))
    writer.decrement(writer.tables.denial_counts, party)
    writer.delete(writer.tables.denials, key)


def _kept(writer: Writer, account_id: str | None, key: bytes) -> Denial:
    denial = writer.view.get_denial(account_id, key.hex())
    if denial is None:
        raise corrupt(f"denials_by_cause has {key.hex()}")
    return denial


def _index(writer: Writer, denial: Denial) -> None:
    for table, key in _time_keys(writer, denial):
        writer.put(table, key)


def _unindex(writer: Writer, denial: Denial) -> None:
    for table, key in _time_keys(writer, denial):
        writer.delete(table, key)


def _time_keys(writer: Writer, denial: Denial) -> tuple[tuple[lmdb._Database, bytes], ...]:
    party, at, own = party_key(denial.account_id), time_key(denial.last_seen_at), pack_id(denial.id)
    tables = writer.tables
    return (tables.denials_by_time, party + at + own), (tables.denial_expiry, at + party + own)


def _key(denial: Denial) -> bytes:
    return party_key(denial.account_id) + pack_id(denial.id)
