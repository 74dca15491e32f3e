"""Commands on trusted certificates, and the index of trust anchors."""

from __future__ import annotations

import hashlib

import msgspec

from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.tables import certificate_key, fingerprint_key, pack_id
from ftc_core.storage.lmdb.writer import Writer
from ftc_core.storage.port import Created, CreateTrustedCertificate

__all__ = ["create_trusted_certificate"]


def create_trusted_certificate(writer: Writer, command: CreateTrustedCertificate) -> Created:
    """See the command."""
    tables, given = writer.tables, command.certificate
    writer.count(given.account_id, certificates=1)
    account = pack_id(given.account_id)
    index_key = certificate_key(account, fingerprint_key(given.fingerprint), given.service)
    if writer.get(tables.certificates_by_fingerprint, index_key) is not None:
        raise FtcError(Reason.CERTIFICATE_ALREADY_EXISTS)
    certificate = msgspec.structs.replace(given, revision=writer.next_revision())
    key = pack_id(certificate.id)
    writer.add(tables.certificates, account + key, records.CERTIFICATE.encode(certificate))
    writer.put(tables.certificates_by_fingerprint, index_key, key)
    if _is_anchor(certificate):
        writer.increment(tables.trust_anchors, certificate.fingerprint, certificate.certificate_der)
        subject = hashlib.sha256(certificate.subject_der).digest()
        writer.put(tables.trust_anchors_by_subject, subject + certificate.fingerprint)
    return Created(certificate=certificate)


def _is_anchor(certificate: TrustedCertificate) -> bool:
    return (
        certificate.status is CertificateStatus.ACTIVE and certificate.service is CertificateService.BOOTSTRAP
    )
