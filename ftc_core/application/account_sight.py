"""What one account may know of a claim: what the device would meet if no other account were there.

Of a device that is the account's own, enrolled or claimed, that is what it does meet. Of any other, nothing
may tell whether it is somebody else's or nobody's: neither whose list it is on, nor who trusts its CA, nor
whether an account that it names exists, nor what another blocks. What the operator blocks holds for all, and
is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustAnchor, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest, named_account
from ftc_core.limits import PAGE_SIZE_MAX
from ftc_core.storage.port import View

__all__ = ["AccountSight", "active_bootstrap_cas"]


def active_bootstrap_cas(view: View, account_id: str) -> list[TrustedCertificate]:
    """The account's certificates by which devices may get in."""
    return [
        certificate
        for certificate in view.list_trusted_certificates(account_id, after=None, limit=PAGE_SIZE_MAX)
        if certificate.service is CertificateService.BOOTSTRAP
        and certificate.status is CertificateStatus.ACTIVE
    ]


class AccountSight:
    """What `account_id` may know of the device with the certificate `fingerprint`, on one snapshot.

    `device` is that device if the account owns it; `enrolled` says whether it stands on the account's list.
    """

    def __init__(self, view: View, account_id: str, fingerprint: bytes) -> None:
        [enrollment], [device] = view.find_enrollments((fingerprint,)), view.find_devices((fingerprint,))
        self.account_id = account_id
        self.device = device if device is not None and device.account_id == account_id else None
        self.enrolled = enrollment is not None and enrollment.account_id == account_id
        self._view = view

    @property
    def own(self) -> bool:
        """Whether the device is the account's, or is to be."""
        return self.enrolled or self.device is not None

    def find_anchors(self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]) -> Sequence[TrustAnchor]:
        """As the port's `find_trust_anchors`; for a device that is not its own, of this account alone."""
        if self.own:
            return self._view.find_trust_anchors(subjects, fingerprints)
        return [
            TrustAnchor(fingerprint=held.fingerprint, certificate_der=held.certificate_der)
            for held in active_bootstrap_cas(self._view, self.account_id)
            if held.subject_der in subjects or held.fingerprint in fingerprints
        ]

    def facts(self, request: ClaimRequest) -> ClaimFacts:
        """What the claim is judged on."""
        if named_account(request, self.device) in (None, self.account_id):
            if self.device is None:
                return self._view.claim_facts(request, alone=self.account_id)
            facts = self._view.claim_facts(request)
            if facts.account is None or facts.account.id == self.account_id:
                return facts
        # It is for another account to judge: by its enrollment, or because the device names it.
        owner = None if self.device is None else self.account_id
        return ClaimFacts(
            request=msgspec.structs.replace(request, account_id=None),
            enrollment=None,
            account=None,
            certificates=(),
            device=self.device,
            endpoint_holder=None,
            device_blocked=bool(self._view.find_blocked((request.fingerprint,), owner)),
            blocked_cas=self._view.find_blocked(request.issuing_cas),
        )
