"""What outlives a simulated onboarding: a real store, our identities, an account and the CA it trusts."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from pathlib import Path

import msgspec

from ftc_core.application.context import utc_now
from ftc_core.application.initialise import ISSUING_CA_NAME, SERVER_CA_NAME
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority, create_server_identity
from ftc_core.domain.event import EventKind
from ftc_core.domain.identity import fingerprint_of
from ftc_core.storage.commands import CreateEnrollments, CreateTrustedCertificate
from ftc_core.storage.lmdb import open_lmdb
from tests.certificates import Credential, Manufacturer
from tests.conformance.scene import Scene

__all__ = ["Site"]

SERVER_HOSTS = ("localhost", "127.0.0.1", "::1", "bootstrap.example", "lwm2m.example")
_VALIDITY = timedelta(days=300)


class Site:
    """What outlives a world: store, the server's CAs and identity, an account that trusts one manufacturer.

    CAs and identity are named as `ftc init` names them, so that what a device is sent has its true size.
    """

    def __init__(self, place: Path) -> None:
        self.store = open_lmdb(place / "store", create=True)
        self.scene = Scene(self.store)
        self.manufacturer = Manufacturer()
        now = utc_now()
        authority = create_authority(ISSUING_CA_NAME, now=now, validity=_VALIDITY)
        self.issuing_ca = authority.certificate_der
        server_ca = create_authority(SERVER_CA_NAME, now=now, validity=_VALIDITY)
        self.server_ca = server_ca.certificate_der
        self.server = create_server_identity(
            server_ca, "First-to-Claim lwm2m server", hosts=SERVER_HOSTS, now=now
        )
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
        name = f"{next(self._numbers):032x}"  # of one length, so that all are sent as many blocks
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
