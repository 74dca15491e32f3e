"""Trusted certificates: the CAs that an account trusts to vouch for devices."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from ftc_core.domain.changes import apply_changes

__all__ = [
    "CertificateService",
    "CertificateStatus",
    "TrustAnchor",
    "TrustedCertificate",
    "TrustedCertificateChanges",
]


class CertificateService(StrEnum):
    """Which server trusts this CA."""

    BOOTSTRAP = "BOOTSTRAP"
    LWM2M = "LWM2M"


class CertificateStatus(StrEnum):
    """INACTIVE keeps the record but trusts nothing under it."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class TrustedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A CA in an account.

    `certificate` is the PEM as uploaded (a chain, root to leaf); `certificate_der`, `fingerprint`
    (SHA-256, 32 bytes), `subject_der` and the rest describe the chain's last CA, the one that is trusted.
    """

    id: str
    account_id: str
    display_name: str
    description: str = ""
    service: CertificateService = CertificateService.BOOTSTRAP
    status: CertificateStatus = CertificateStatus.ACTIVE
    enrollment_mode: bool = False
    certificate: str
    certificate_der: bytes
    fingerprint: bytes
    subject: str
    subject_der: bytes
    issuer: str
    not_before: datetime
    not_after: datetime
    owner_id: str = ""
    device_execution_mode: int = 0
    created_at: datetime
    updated_at: datetime
    revision: int = 0


class TrustedCertificateChanges(msgspec.Struct, frozen=True, kw_only=True):
    """New values for some fields of a trusted certificate; UNSET ones stay."""

    display_name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    status: CertificateStatus | UnsetType = UNSET
    enrollment_mode: bool | UnsetType = UNSET

    def applied_to(self, certificate: TrustedCertificate) -> TrustedCertificate:
        """The trusted certificate with these changes."""
        return apply_changes(self, certificate)


class TrustAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A CA that at least one account holds as ACTIVE BOOTSTRAP certificate: `fingerprint` 32 bytes, DER."""

    fingerprint: bytes
    certificate_der: bytes
