"""Trusted certificates: the CAs that an account trusts to vouch for its devices."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal
from ftc_core.application.ca_upload import read_ca
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.application.fields import check_description, check_display_name
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.domain.block import Block
from ftc_core.domain.certificate import (
    CertificateService,
    CertificateStatus,
    TrustedCertificate,
    TrustedCertificateChanges,
)
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    Created,
    CreateTrustedCertificate,
    DeleteTrustedCertificate,
    UpdateTrustedCertificate,
)

__all__ = [
    "NewTrustedCertificate",
    "TrustedCertificateDeletion",
    "TrustedCertificateUpdate",
    "create_trusted_certificate",
    "delete_trusted_certificate",
    "get_trusted_certificate",
    "list_trusted_certificates",
    "update_trusted_certificate",
]


FILTERS: filtering.Schema[TrustedCertificate] = {
    "display_name": filtering.text(lambda certificate: certificate.display_name),
    "service": filtering.choice(CertificateService, lambda certificate: certificate.service),
    "status": filtering.choice(CertificateStatus, lambda certificate: certificate.status),
    "enrollment_mode": filtering.boolean(lambda certificate: certificate.enrollment_mode),
    "certificate_fingerprint": filtering.text(lambda certificate: certificate.fingerprint.hex()),
    "subject": filtering.text(lambda certificate: certificate.subject),
    "issuer": filtering.text(lambda certificate: certificate.issuer),
    "validity": filtering.moment(lambda certificate: certificate.not_after),
    "created_at": filtering.moment(lambda certificate: certificate.created_at),
    "updated_at": filtering.moment(lambda certificate: certificate.updated_at),
}
"""What ListTrustedCertificates filters by."""


class NewTrustedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A CA as uploaded: `certificate` is PEM, a chain root first or root last."""

    account_id: str
    display_name: str
    certificate: str
    service: CertificateService
    description: str = ""
    status: CertificateStatus = CertificateStatus.ACTIVE
    enrollment_mode: bool = False


class TrustedCertificateUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; `revision`, if given, is the one that the caller last read."""

    account_id: str
    certificate_id: str
    changes: TrustedCertificateChanges
    revision: int | None = None


class TrustedCertificateDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """Which CA to remove; `revision`, if given, is the one that the caller last read."""

    account_id: str
    certificate_id: str
    revision: int | None = None


async def create_trusted_certificate(
    context: ApplicationContext, caller: Principal, new: NewTrustedCertificate, options: WriteOptions
) -> TrustedCertificate:
    """Add a CA to an account; handshakes trust it from the commit on.

    Raises FtcError for what `read_ca` refuses, naming the field; FIELD_REQUIRED or FIELD_INVALID;
    CERTIFICATE_ALREADY_EXISTS if the account holds this CA for this service; RESOURCE_NOT_FOUND if there is
    no such account.
    """
    check_display_name(new.display_name, field="trusted_certificate.display_name")
    check_description(new.description, field="trusted_certificate.description")
    now = context.now()
    ca = read_ca(new.certificate, now, field="trusted_certificate.certificate")
    certificate = TrustedCertificate(
        id=context.new_id(),
        account_id=new.account_id,
        display_name=new.display_name,
        description=new.description,
        service=new.service,
        status=new.status,
        enrollment_mode=new.enrollment_mode,
        certificate=ca.pem,
        certificate_der=ca.der,
        fingerprint=ca.fingerprint,
        subject=ca.subject,
        subject_der=ca.subject_der,
        issuer=ca.issuer,
        not_before=ca.not_before,
        not_after=ca.not_after,
        owner_id=caller.id,
        created_at=now,
        updated_at=now,
    )
    outcome = await context.submit(
        CreateTrustedCertificate(certificate),
        options,
        scope=f"{caller.account_id}/CreateTrustedCertificate",
        request=new,
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    assert outcome.certificate is not None  # noqa: S101
    return outcome.certificate


async def update_trusted_certificate(
    context: ApplicationContext, caller: Principal, update: TrustedCertificateUpdate, options: WriteOptions
) -> TrustedCertificate:
    """Change a CA's record; handshakes and claims see the new status and mode from the commit on.

    Raises FtcError RESOURCE_NOT_FOUND; ETAG_MISMATCH; FIELD_REQUIRED or FIELD_INVALID naming the field.
    """
    changes = update.changes
    if changes.display_name is not UNSET:
        check_display_name(changes.display_name, field="trusted_certificate.display_name")
    if changes.description is not UNSET:
        check_description(changes.description, field="trusted_certificate.description")
    outcome = await context.submit(
        UpdateTrustedCertificate(
            update.account_id, update.certificate_id, changes, context.now(), update.revision
        ),
        options,
        scope=f"{caller.account_id}/UpdateTrustedCertificate",
        request=update,
    )
    assert isinstance(outcome, Created)  # noqa: S101 - what the port answers to this command
    assert outcome.certificate is not None  # noqa: S101
    return outcome.certificate


async def delete_trusted_certificate(
    context: ApplicationContext,
    caller: Principal,
    deletion: TrustedCertificateDeletion,
    options: WriteOptions,
) -> None:
    """Remove a CA, also one that devices were claimed under: those stay claimed, and cannot bootstrap again.

    Raises FtcError RESOURCE_NOT_FOUND; ETAG_MISMATCH.
    """
    await context.submit(
        DeleteTrustedCertificate(deletion.account_id, deletion.certificate_id, deletion.revision),
        options,
        scope=f"{caller.account_id}/DeleteTrustedCertificate",
        request=deletion,
    )


async def get_trusted_certificate(
    context: ApplicationContext, account_id: str, certificate_id: str
) -> tuple[TrustedCertificate, list[Block]]:
    """One trusted certificate of an account, and the blocks of its CA. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        certificate = view.get_trusted_certificate(account_id, certificate_id)
        if certificate is None:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "trusted certificate not found")
        return certificate, view.list_blocks_of(certificate.fingerprint, account_id)


async def list_trusted_certificates(
    context: ApplicationContext, account_id: str, page: PageRequest
) -> Page[TrustedCertificate]:
    """An account's trusted certificates, in the order of their upload.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        require_account(view, account_id)
        return read_page(
            page,
            Source(
                lambda after, limit: view.list_trusted_certificates(
                    account_id, after=after, limit=limit, descending=page.descending
                )
            ),
            lambda: view.count_trusted_certificates(account_id),
            wanted,
        )
