"""Commands on trusted certificates, and the index of trust anchors."""

from __future__ import annotations

import hashlib

import msgspec

from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    Created,
    CreateTrustedCertificate,
    DeleteTrustedCertificate,
    Done,
    UpdateTrustedCertificate,
)
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.preconditions import check_revision
from ftc_core.storage.lmdb.tables import (
    NUMBER_BYTES,
    certificate_key,
    fingerprint_key,
    number_key,
    pack_id,
)
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["create_trusted_certificate", "delete_trusted_certificate", "update_trusted_certificate"]


def create_trusted_certificate(writer: Writer, command: CreateTrustedCertificate) -> Created:
    """See the command."""
    tables, given = writer.tables, command.certificate
    writer.count(given.account_id, certificates=1)
    account = pack_id(given.account_id)
    index_key = certificate_key(account, fingerprint_key(given.fingerprint), given.service)
    existing = writer.get(tables.certificates_by_fingerprint, index_key)
    if existing is not None:
        name = f"accounts/{given.account_id}/trustedCertificates/{existing.hex()}"
        raise FtcError(Reason.CERTIFICATE_ALREADY_EXISTS, resource=name)
    if writer.view.find_blocked((given.fingerprint,)):
        raise FtcError(Reason.CERTIFICATE_BLOCKED)
    certificate = msgspec.structs.replace(given, revision=writer.next_revision())
    key = pack_id(certificate.id)
    writer.add(tables.certificates, account + key, records.CERTIFICATE.encode(certificate))
    writer.put(tables.certificates_by_fingerprint, index_key, key)
    if certificate.service is CertificateService.BOOTSTRAP:
        writer.put(tables.ca_holders, _holder_key(certificate))
    _index(writer, certificate)
    return Created(certificate=certificate)


def update_trusted_certificate(writer: Writer, command: UpdateTrustedCertificate) -> Created:
    """See the command."""
    before = _find(writer, command.account_id, command.certificate_id, command.revision)
    after = msgspec.structs.replace(
        command.changes.applied_to(before), updated_at=command.now, revision=writer.next_revision()
    )
    writer.put(writer.tables.certificates, _key(after), records.CERTIFICATE.encode(after))
    if after.status is not before.status:
        _unindex(writer, before)
        _index(writer, after)
    return Created(certificate=after)


def delete_trusted_certificate(writer: Writer, command: DeleteTrustedCertificate) -> Done:
    """See the command."""
    certificate = _find(writer, command.account_id, command.certificate_id, command.revision)
    account = pack_id(certificate.account_id)
    index_key = certificate_key(account, certificate.fingerprint, certificate.service)
    writer.delete(writer.tables.certificates, _key(certificate))
    writer.delete(writer.tables.certificates_by_fingerprint, index_key)
    writer.delete(writer.tables.ca_holders, _holder_key(certificate))
    _unindex(writer, certificate)
    writer.count(certificate.account_id, certificates=-1)
    return Done(writer.next_revision())


def _find(writer: Writer, account_id: str, certificate_id: str, revision: int | None) -> TrustedCertificate:
    certificate = writer.view.get_trusted_certificate(account_id, certificate_id)
    if certificate is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "trusted certificate not found")
    check_revision(certificate.revision, revision)
    return certificate


def _key(certificate: TrustedCertificate) -> bytes:
    return pack_id(certificate.account_id) + pack_id(certificate.id)


def _index(writer: Writer, certificate: TrustedCertificate) -> None:
    """Let devices find it; those that it vouches for if it is ACTIVE."""
    if certificate.service is not CertificateService.BOOTSTRAP:
        return
    if certificate.status is CertificateStatus.ACTIVE:
        _add_anchor(writer, certificate)
    else:
        writer.put(writer.tables.inactive_cas, _inactive_key(certificate))


def _unindex(writer: Writer, certificate: TrustedCertificate) -> None:
    if certificate.service is not CertificateService.BOOTSTRAP:
        return
    if certificate.status is CertificateStatus.ACTIVE:
        _remove_anchor(writer, certificate)
    else:
        writer.delete(writer.tables.inactive_cas, _inactive_key(certificate))


def _add_anchor(writer: Writer, certificate: TrustedCertificate) -> None:
    """CAs of one subject stand in the order in which they came to be trusted: see `find_trust_anchors`."""
    tables, since = writer.tables, number_key(writer.revision)
    if writer.get(tables.trust_anchors, certificate.fingerprint) is None:
        writer.put(tables.trust_anchors_by_subject, _subject_key(certificate, since))
    writer.increment(tables.trust_anchors, certificate.fingerprint, since + certificate.certificate_der)


def _remove_anchor(writer: Writer, certificate: TrustedCertificate) -> None:
    """The last account that trusts a CA takes it out of the index."""
    tables = writer.tables
    stored = writer.get(tables.trust_anchors, certificate.fingerprint) or b""
    if not writer.decrement(tables.trust_anchors, certificate.fingerprint):
        since = stored[NUMBER_BYTES : 2 * NUMBER_BYTES]
        writer.delete(tables.trust_anchors_by_subject, _subject_key(certificate, since))


def _subject_key(certificate: TrustedCertificate, since: bytes) -> bytes:
    return hashlib.sha256(certificate.subject_der).digest() + since + certificate.fingerprint


def _holder_key(certificate: TrustedCertificate) -> bytes:
    return certificate.fingerprint + _key(certificate)


def _inactive_key(certificate: TrustedCertificate) -> bytes:
    return hashlib.sha256(certificate.subject_der).digest() + _key(certificate)
