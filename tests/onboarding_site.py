"""What outlives a simulated onboarding: a real store, our issuing CA, an account and the CA it trusts."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from pathlib import Path

import msgspec

from ftc_core.application.context import utc_now
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.domain.event import EventKind
from ftc_core.domain.identity import fingerprint_of
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.port import CreateEnrollments, CreateTrustedCertificate
from tests.certificates import Credential, Manufacturer
from tests.conformance.scene import Scene

__all__ = ["Site"]

_VALIDITY = timedelta(days=300)


class Site:
    """What outlives a world: store, issuing CA, and an account that trusts one manufacturer."""

    def __init__(self, place: Path) -> None:
        self.store = open_lmdb(place / "store", create=True)
        self.scene = Scene(self.store)
        self.manufacturer = Manufacturer()
        authority = create_authority("Issuing CA", now=utc_now(), validity=_VALIDITY)
        self.issuing_ca = authority.certificate_der
        self.issuer = CredentialIssuer(authority, _VALIDITY)
        self.account = self.scene.account()
        self._numbers = itertools.count(1)
        self._claims: Counter[bytes | None] = Counter()
        self._events_seen = 0
        ca = self.manufacturer
        record = msgspec.structs.replace(
            self.scene.new_certificate(self.account.id, ca=fingerprint_of(ca.der)),
            certificate_der=ca.der,
            subject_der=ca.certificate.subject.public_bytes(),
            not_before=ca.certificate.not_valid_before_utc,
            not_after=ca.certificate.not_valid_after_utc,
        )
        self.scene.run(CreateTrustedCertificate(record))

    def enrolled_device(self) -> tuple[str, Credential]:
        """A new device on the account's list: its endpoint name and its bootstrap certificate."""
        name = f"device-{next(self._numbers)}"
        credential = self.manufacturer.device(name)
        listed = msgspec.structs.replace(
            self.scene.new_enrollment(self.account.id, 0), fingerprint=fingerprint_of(credential.der)
        )
        self.scene.run(CreateEnrollments((listed,), utc_now()))
        return name, credential

    def claims(self) -> Counter[bytes | None]:
        """How often ownership of each device changed so far, by its fingerprint."""
        while events := self.scene.events(self._events_seen):
            self._events_seen = events[-1].revision
            self._claims.update(
                event.fingerprint for event in events if event.kind is EventKind.DEVICE_CLAIMED
            )
        return self._claims

    def close(self) -> None:
        """Close the store."""
        self.store.close()
