"""Devices: what an account sees of what it has claimed."""

from __future__ import annotations

from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.listing import Page, PageRequest, read_page
from ftc_core.domain.device import Device
from ftc_core.errors import FtcError, Reason

__all__ = ["get_device", "list_devices"]


async def get_device(context: ApplicationContext, account_id: str, device_id: str) -> Device:
    """One device of an account. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        device = view.get_device(account_id, device_id)
    if device is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
    return device


async def list_devices(context: ApplicationContext, account_id: str, page: PageRequest) -> Page[Device]:
    """An account's devices, in the order of their first claim. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        require_account(view, account_id)
        return read_page(
            page,
            lambda after, limit: view.list_devices(account_id, after=after, limit=limit),
            lambda: view.count_devices(account_id),
        )
