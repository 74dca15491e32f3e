"""Trusted certificates, and the index of trust anchors that follows from all accounts' together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.identity import fingerprint_of
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.check.records_and_indexes import Entry, Index, RecordTable, check_records
from ftc_core.storage.lmdb.check.snapshot import Snapshot
from ftc_core.storage.lmdb.check.words import impossible, malformed, named, no_revision, place, shown
from ftc_core.storage.lmdb.tables import (
    FINGERPRINT_BYTES,
    ID_BYTES,
    NUMBER_BYTES,
    certificate_key,
    number_key,
    pack_id,
    unpack_number,
)

__all__ = ["check_certificates", "check_trust_anchors"]

_HASH_BYTES = 32


def check_certificates(snapshot: Snapshot) -> Iterator[Finding]:
    """Every certificate, and the indexes in which each has its own entries."""

    def inspect(key: bytes, certificate: TrustedCertificate) -> Iterator[Finding]:
        if fingerprint_of(certificate.certificate_der) != certificate.fingerprint:
            expected = f"a certificate with the SHA-256 {certificate.fingerprint.hex()}"
            found = f"one with {fingerprint_of(certificate.certificate_der).hex()}"
            yield impossible(place("certificates", key), _name(certificate), expected, found)

    yield from check_records(
        snapshot,
        RecordTable(
            name="certificates",
            key_bytes=2 * ID_BYTES,
            decode=records.CERTIFICATE.decode,
            key=lambda certificate: pack_id(certificate.account_id) + pack_id(certificate.id),
            label=_name,
            revision=attrgetter("revision"),
            account=attrgetter("account_id"),
            entries=_entries,
            inspect=inspect,
            indexes={
                "certificates_by_fingerprint": Index(
                    ID_BYTES + FINGERPRINT_BYTES + 1, lambda _, key, value: key[:ID_BYTES] + value
                ),
                "ca_holders": Index(
                    FINGERPRINT_BYTES + 2 * ID_BYTES, lambda _, key, value: key[FINGERPRINT_BYTES:]
                ),
                "inactive_cas": Index(_HASH_BYTES + 2 * ID_BYTES, lambda _, key, value: key[_HASH_BYTES:]),
            },
        ),
    )


def check_trust_anchors(snapshot: Snapshot) -> Iterator[Finding]:
    """The index that devices are judged by: a CA is in it as long as any account has it ACTIVE."""
    for fingerprint, _ in groupby(snapshot.keys("ca_holders"), lambda key: key[:FINGERPRINT_BYTES]):
        if active := _active_holders(snapshot, fingerprint):
            yield from _anchor(snapshot, fingerprint, active)
    for fingerprint, _ in snapshot.rows("trust_anchors"):
        if len(fingerprint) != FINGERPRINT_BYTES:
            yield malformed("trust_anchors", fingerprint, FINGERPRINT_BYTES)
        elif _active_holders(snapshot, fingerprint) == []:
            yield Finding(
                kind=FindingKind.ENTRY_STALE,
                where=place("trust_anchors", fingerprint),
                expected="no entry, for no account has this CA ACTIVE",
                found="an entry",
            )
    for key, _ in snapshot.rows("trust_anchors_by_subject"):
        yield from _by_subject(snapshot, key)


def _anchor(snapshot: Snapshot, fingerprint: bytes, active: list[TrustedCertificate]) -> Iterator[Finding]:
    where, label = place("trust_anchors", fingerprint), _name(active[0])
    stored = snapshot.get("trust_anchors", fingerprint)
    if stored is None:
        yield Finding(
            kind=FindingKind.ENTRY_MISSING,
            where=where,
            expected=f"the CA, which {len(active)} certificate(s) hold",
            found="no entry",
            record=label,
        )
        return
    if unpack_number(stored) != len(active):
        yield Finding(
            kind=FindingKind.COUNT_WRONG,
            where=where,
            expected=f"{len(active)}, as certificates hold it",
            found=str(unpack_number(stored)),
            record=label,
        )
    since, der = stored[NUMBER_BYTES : 2 * NUMBER_BYTES], stored[2 * NUMBER_BYTES :]
    if der != active[0].certificate_der:
        yield Finding(
            kind=FindingKind.ENTRY_WRONG,
            where=where,
            expected=f"the certificate with the SHA-256 {fingerprint.hex()}",
            found=f"one with {fingerprint_of(der).hex()}",
            record=label,
        )
    if not 0 < unpack_number(since) <= snapshot.revision:
        yield no_revision(snapshot.revision, unpack_number(since), where, label)
    key = _subject(active[0]) + since + fingerprint
    if snapshot.get("trust_anchors_by_subject", key) is None:
        yield Finding(
            kind=FindingKind.ENTRY_MISSING,
            where=place("trust_anchors_by_subject", key),
            expected=shown(b""),
            found=shown(None),
            record=label,
        )


def _by_subject(snapshot: Snapshot, key: bytes) -> Iterator[Finding]:
    where = place("trust_anchors_by_subject", key)
    if len(key) != _HASH_BYTES + NUMBER_BYTES + FINGERPRINT_BYTES:
        yield malformed("trust_anchors_by_subject", key, _HASH_BYTES + NUMBER_BYTES + FINGERPRINT_BYTES)
        return
    fingerprint = key[_HASH_BYTES + NUMBER_BYTES :]
    stored = snapshot.get("trust_anchors", fingerprint)
    since = None if stored is None else stored[NUMBER_BYTES : 2 * NUMBER_BYTES]
    active = _active_holders(snapshot, fingerprint)
    if active is None or (stored is None and active):
        return  # told already
    if not active or key != _subject(active[0]) + (since or number_key(0)) + fingerprint:
        yield Finding(
            kind=FindingKind.ENTRY_STALE,
            where=where,
            expected="no entry, for no trust anchor has this subject and revision",
            found="an entry",
        )


def _active_holders(snapshot: Snapshot, fingerprint: bytes) -> list[TrustedCertificate] | None:
    """Those that make a CA a trust anchor; None if one cannot be read, which may be such: that is told."""
    active = []
    for key, _ in snapshot.under("ca_holders", fingerprint):
        stored = snapshot.get("certificates", key[FINGERPRINT_BYTES:])
        if stored is None:
            continue
        try:
            holder = records.CERTIFICATE.decode(stored)
        except FtcError:
            return None
        if (
            holder.fingerprint == fingerprint
            and holder.service is CertificateService.BOOTSTRAP
            and holder.status is CertificateStatus.ACTIVE
        ):
            active.append(holder)
    return active


def _entries(key: bytes, certificate: TrustedCertificate) -> Iterable[Entry]:
    by_fingerprint = certificate_key(key[:ID_BYTES], certificate.fingerprint, certificate.service)
    yield Entry("certificates_by_fingerprint", by_fingerprint, key[ID_BYTES:])
    if certificate.service is CertificateService.BOOTSTRAP:
        yield Entry("ca_holders", certificate.fingerprint + key)
        if certificate.status is CertificateStatus.INACTIVE:
            yield Entry("inactive_cas", _subject(certificate) + key)


def _name(certificate: TrustedCertificate) -> str:
    return named(certificate.account_id, "trustedCertificates", certificate.id)


def _subject(certificate: TrustedCertificate) -> bytes:
    return hashlib.sha256(certificate.subject_der).digest()
