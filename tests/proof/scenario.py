"""One round's cast: accounts, devices, and what everybody has heard of."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from datetime import datetime
from random import Random
from typing import TypeVar

import msgspec

from ftc_grpc._gen.ftc.v1.account_pb2 import ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateApiKeyRequest
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant

__all__ = ["DEVICES", "KnownTransfer", "Noticeboard", "Party", "Scenario"]

T = TypeVar("T")
DEVICES = 5
QUOTAS = (None, 3, 2)
"""Of the accounts that trust the manufacturer."""


class Party(msgspec.Struct, frozen=True):
    """An account, and its administrator's key."""

    id: str
    api_key: str
    quota: int | None
    trusting: bool

    @property
    def name(self) -> str:
        return f"accounts/{self.id}"


class Scenario:
    """The accounts of a round, and its devices, of which two and two have one endpoint name."""

    def __init__(self, label: str, parties: Sequence[Party]) -> None:
        self.label = label
        self.parties = parties
        self._by_id = {party.id: party for party in parties}

    @classmethod
    def found(cls, instance: Instance, manufacturer: Manufacturer, label: str) -> Scenario:
        """New accounts and new devices, so that the history begins with nothing.

        The last account does not trust the manufacturer.
        """
        parties = []
        for quota in QUOTAS:
            tenant = instance.tenant(quota=quota)
            tenant.trust(manufacturer)
            parties.append(Party(tenant.id, _new_key(tenant), quota, trusting=True))
        stranger = instance.tenant()
        parties.append(Party(stranger.id, _new_key(stranger), None, trusting=False))
        return cls(label, parties)

    def party(self, account_id: str) -> Party:
        """The account with this ID."""
        return self._by_id[account_id]

    @property
    def trusting(self) -> frozenset[str]:
        """IDs of the accounts that hold the manufacturer's CA."""
        return frozenset(party.id for party in self.parties if party.trusting)

    def fingerprint(self, device: int) -> bytes:
        """Of the device's certificate; only its hash ever gets to the store."""
        return hashlib.sha256(f"{self.label}/{device}".encode()).digest()

    def endpoint_name(self, device: int) -> str:
        """Which is the certificate's common name, too."""
        return f"proof-{device // 2}"


class KnownTransfer(msgspec.Struct, frozen=True):
    """A transfer as whoever offered it has told the others."""

    id: str
    devices: tuple[int, ...]
    account_id: str
    receiver_id: str
    expires_at: datetime


class Noticeboard:
    """What was learned from answers, the newest last: material for further calls, much of it outdated."""

    RECENT = 3

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._enrollments: dict[int, list[tuple[str, str]]] = {}
        self._devices: dict[int, list[tuple[str, str]]] = {}
        self._transfers: list[KnownTransfer] = []

    def note_enrollment(self, device: int, account_id: str, enrollment_id: str) -> None:
        """It stands, or stood, on that account's list under this ID."""
        with self._lock:
            _note(self._enrollments.setdefault(device, []), (account_id, enrollment_id))

    def note_device(self, device: int, account_id: str, device_id: str) -> None:
        """It is, or was, that account's under this ID."""
        with self._lock:
            _note(self._devices.setdefault(device, []), (account_id, device_id))

    def note_transfer(self, transfer: KnownTransfer) -> None:
        """It was offered."""
        with self._lock:
            self._transfers.append(transfer)

    def note_move(self, devices: Sequence[int], account_id: str) -> None:
        """They are, or were, that account's: under the IDs that they had before."""
        with self._lock:
            for known in (self._enrollments, self._devices):
                for device in devices:
                    if of_device := known.get(device):
                        _note(of_device, (account_id, of_device[-1][1]))

    def enrollment(self, device: int, random: Random) -> tuple[str, str] | None:
        """Account and ID of one of the last."""
        with self._lock:
            return _recent(self._enrollments.get(device, []), random)

    def device(self, device: int, random: Random) -> tuple[str, str] | None:
        """Account and ID of one of the last."""
        with self._lock:
            return _recent(self._devices.get(device, []), random)

    def transfer(self, random: Random) -> KnownTransfer | None:
        """One of the last."""
        with self._lock:
            return _recent(self._transfers, random)

    def devices_of(self, account_id: str) -> dict[int, str]:
        """What that account was last known to own, by number."""
        with self._lock:
            return {
                number: known[-1][1] for number, known in self._devices.items() if known[-1][0] == account_id
            }

    @property
    def transfers(self) -> Sequence[KnownTransfer]:
        """All of them."""
        with self._lock:
            return tuple(self._transfers)


def _note(known: list[tuple[str, str]], found: tuple[str, str]) -> None:
    """Last of all, also if it was known before."""
    if found in known:
        known.remove(found)
    known.append(found)


def _recent(known: Sequence[T], random: Random) -> T | None:
    recent = known[-Noticeboard.RECENT :]
    return random.choice(recent) if recent else None


def _new_key(tenant: Tenant) -> str:
    api = tenant.instance.api
    request = CreateApiKeyRequest(parent=tenant.name, api_key=ApiKey(role=ApiKey.ADMIN))
    return api.call(api.accounts.CreateApiKey, request).secret
