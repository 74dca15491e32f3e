"""Devices: what was claimed, and what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from ftc_core.domain.ordering import position, sortable_time

__all__ = ["Device", "DeviceState", "DeviceTime", "name_position", "time_position"]


class DeviceState(StrEnum):
    """Where a device stands (PRODUCT §1)."""

    UNENROLLED = "UNENROLLED"
    CLOUD_ENROLLING = "CLOUD_ENROLLING"
    BOOTSTRAPPED = "BOOTSTRAPPED"
    REGISTERED = "REGISTERED"
    DEREGISTERED = "DEREGISTERED"


class DeviceTime(StrEnum):
    """The times by which devices may be ordered."""

    CLAIMED_AT = "claimed_at"
    REGISTERED_AT = "registered_at"
    LAST_SEEN_AT = "last_seen_at"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed device. `lifetime` is the registration's, seconds; `enrollment_id` None if pre-assigned.

    `issuing_cas` are the fingerprints (32 bytes) of the trusted CAs on the path of its certificate, as of the
    last claim. `former_account_ids` are the accounts from which it came by transfers, the last one first, at
    most FORMER_OWNERS_MAX: none of them released it.
    """

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
    issuing_cas: tuple[bytes, ...] = ()
    former_account_ids: tuple[str, ...] = ()
    revision: int = 0

    def registration_expires_at(self) -> datetime | None:
        """When the registration lapses without an update; None if there is none."""
        if self.state is not DeviceState.REGISTERED or self.lifetime is None or self.last_seen_at is None:
            return None
        # A lifetime of 2**32-1 s is legal (136 years); it must not overflow datetime's range.
        return self.last_seen_at + timedelta(seconds=min(self.lifetime, 100 * 365 * 86_400))

    def time(self, which: DeviceTime) -> datetime | None:
        """One of its times; None if that has not come."""
        moment: datetime | None = getattr(self, which.value)
        return moment


def time_position(device: Device, which: DeviceTime) -> str:
    """Where it stands in an order by a time (`ordering`); without that time, before all others."""
    return position(sortable_time(device.time(which)), device.id)


def name_position(device: Device) -> str:
    """Where it stands in an order by endpoint name, as UTF-8 sorts (`ordering`)."""
    return position(device.endpoint_name.encode(), device.id)
