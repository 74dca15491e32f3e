"""The LwM2M server's use cases: a claimed device registers, keeps its registration, and leaves.

The certificate proves which device of which account this is; the store knows whether that account still owns
it. A device that was released or transferred still has a valid certificate and gets CREDENTIALS_RELEASED,
on which it bootstraps again (PRODUCT §2).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from ftc_core.application.commit import Answer, Commit, submit
from ftc_core.errors import FtcError
from ftc_core.lwm2m.registration import DeviceIdentity
from ftc_core.lwm2m.request import Register, Update
from ftc_core.observability.counts import RegistrationCounts
from ftc_core.storage.commands import (
    DeregisterDevice,
    ExpireRegistrations,
    Outcome,
    RegisterDevice,
    Swept,
    UpdateRegistration,
)

__all__ = ["RegistrationService"]

_log = structlog.get_logger(__name__)


class RegistrationService:
    """Registers devices. Every call is for the thread that runs the worker."""

    def __init__(
        self, commit: Commit, utc_now: Callable[[], datetime], counts: RegistrationCounts | None = None
    ) -> None:
        self._commit = commit
        self._utc_now = utc_now
        self._counts = counts or RegistrationCounts()

    def register(self, identity: DeviceIdentity, request: Register, address: str, answer: Answer) -> None:
        """A Register of the device that `identity` proves."""
        command = RegisterDevice(
            account_id=identity.account_id,
            device_id=identity.device_id,
            endpoint_name=identity.endpoint_name,
            lifetime=request.lifetime,
            lwm2m_version=request.lwm2m_version,
            binding=request.binding,
            object_links=request.object_links,
            client_version=request.client_version,
            address=address,
            now=self._utc_now(),
        )
        submit(self._commit, command, answer)

    def update(self, identity: DeviceIdentity, request: Update, address: str, answer: Answer) -> None:
        """An Update of its registration."""
        command = UpdateRegistration(
            account_id=identity.account_id,
            device_id=identity.device_id,
            address=address,
            now=self._utc_now(),
            lifetime=request.lifetime,
            binding=request.binding,
            object_links=request.object_links,
        )
        submit(self._commit, command, answer)

    def deregister(self, identity: DeviceIdentity, answer: Answer) -> None:
        """A De-register."""
        command = DeregisterDevice(
            account_id=identity.account_id, device_id=identity.device_id, now=self._utc_now()
        )
        submit(self._commit, command, answer)

    def expire(self) -> None:
        """De-register the devices whose lifetime has ended, a batch at a time until none is left."""

        def swept(outcome: Outcome | FtcError) -> None:
            match outcome:
                case Swept(count, more):
                    if count:
                        self._counts.operations["expire", "OK"] += count
                        _log.info("registrations expired", count=count)
                    if more:
                        self.expire()
                case FtcError():
                    _log.error("expiry failed", reason=outcome.reason, error=outcome.message)

        submit(self._commit, ExpireRegistrations(now=self._utc_now()), swept)
