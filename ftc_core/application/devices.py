"""Devices: what an account sees of what it has claimed."""

from __future__ import annotations

from ftc_core.application import filtering
from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, read_page
from ftc_core.domain.device import Device, DeviceState
from ftc_core.errors import FtcError, Reason

__all__ = ["get_device", "list_devices"]


FILTERS: filtering.Schema[Device] = {
    "endpoint_name": filtering.text(lambda device: device.endpoint_name),
    "state": filtering.choice(DeviceState, lambda device: device.state),
    "enrollment_identity": filtering.identity(lambda device: device.fingerprint),
    "trusted_certificate_id": filtering.text(lambda device: device.trusted_certificate_id),
    "created_at": filtering.moment(lambda device: device.created_at),
    "claimed_at": filtering.moment(lambda device: device.claimed_at),
    "bootstrapped_at": filtering.moment(lambda device: device.bootstrapped_at),
    "registered_at": filtering.moment(lambda device: device.registered_at),
    "last_seen_at": filtering.moment(lambda device: device.last_seen_at),
}
"""What ListDevices filters by."""


async def get_device(context: ApplicationContext, account_id: str, device_id: str) -> Device:
    """One device of an account. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        device = view.get_device(account_id, device_id)
    if device is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
    return device


async def list_devices(context: ApplicationContext, account_id: str, page: PageRequest) -> Page[Device]:
    """An account's devices, in the order of their first claim.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID or ENROLLMENT_ID_… for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        require_account(view, account_id)
        return read_page(
            page,
            lambda after, limit: view.list_devices(
                account_id, after=after, limit=limit, descending=page.descending
            ),
            lambda: view.count_devices(account_id),
            wanted,
        )
