"""Devices: what was claimed, and what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

__all__ = ["Device", "DeviceState"]


class DeviceState(StrEnum):
    """Where a device stands (PRODUCT §1)."""

    UNENROLLED = "UNENROLLED"
    CLOUD_ENROLLING = "CLOUD_ENROLLING"
    BOOTSTRAPPED = "BOOTSTRAPPED"
    REGISTERED = "REGISTERED"
    DEREGISTERED = "DEREGISTERED"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed device. `lifetime` is the registration's, seconds; `enrollment_id` None if pre-assigned."""

    id: str
    account_id: str
    endpoint_name: str
    fingerprint: bytes
    trusted_certificate_id: str
    enrollment_id: str | None = None
    state: DeviceState = DeviceState.CLOUD_ENROLLING
    created_at: datetime
    claimed_at: datetime
    bootstrapped_at: datetime | None = None
    registered_at: datetime | None = None
    last_seen_at: datetime | None = None
    lifetime: int | None = None
    lwm2m_version: str = ""
    binding: str = ""
    object_links: str = ""
    client_version: str = ""
    last_address: str = ""
    revision: int = 0

    def registration_expires_at(self) -> datetime | None:
        """When the registration lapses without an update; None if there is none."""
        if self.state is not DeviceState.REGISTERED or self.lifetime is None or self.last_seen_at is None:
            return None
        # A lifetime of 2**32-1 s is legal (136 years); it must not overflow datetime's range.
        return self.last_seen_at + timedelta(seconds=min(self.lifetime, 100 * 365 * 86_400))
