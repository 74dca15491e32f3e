"""The devices of the comparison: one manufacturer, whose CA every server trusts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta

from ftc_core.application.context import utc_now
from ftc_core.credentials.pki import Identity, create_authority
from ftc_core.factory.device_certificate import DeviceCertificateIssuer

__all__ = ["Device", "Manufacturer"]


@dataclass(frozen=True)
class Device:
    """A name and the certificate of that name."""

    endpoint_name: str
    identity: Identity


class Manufacturer:
    """Makes devices; no name is given twice."""

    def __init__(self) -> None:
        now = utc_now()
        self.authority = create_authority("Peers manufacturer", now=now)
        self._issuer = DeviceCertificateIssuer(self.authority, now=now, validity=timedelta(days=30))
        self._numbers = itertools.count(1)

    def make(self, count: int) -> list[Device]:
        """`count` new devices, each with a key of its own."""
        names = [f"peer-{next(self._numbers):06d}" for _ in range(count)]
        return [Device(name, self._issuer.issue(name)) for name in names]
