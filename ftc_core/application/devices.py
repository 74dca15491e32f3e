"""Devices: what an account sees of what it has claimed."""

from __future__ import annotations

from ftc_core.application import filtering
from ftc_core.application.context import ApplicationContext, require_account
from ftc_core.application.filtering import Filter, parse_filter
from ftc_core.application.listing import (
    Page,
    PageRequest,
    Source,
    between,
    of_all_accounts,
    read_page,
    single,
)
from ftc_core.domain.block import Block
from ftc_core.domain.device import Device, DeviceState, DeviceTime, name_position, time_position
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import View

__all__ = ["get_device", "list_devices"]


FILTERS: filtering.Schema[Device] = {
    "account_id": filtering.text(lambda device: device.account_id),
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

ORDERS = ("id", "endpoint_name", *DeviceTime)
"""What ListDevices orders by."""

ORDERS_OF_ALL = ("account_id",)
"""What it orders by if it lists the devices of all accounts: by account, and by ID in each."""


async def get_device(
    context: ApplicationContext, account_id: str, device_id: str
) -> tuple[Device, LastBootstrap | None, list[Block]]:
    """One device of an account, its last bootstrap, and the blocks that keep it out.

    Raises FtcError RESOURCE_NOT_FOUND.
    """
    with context.store.view() as view:
        device = view.get_device(account_id, device_id)
        if device is None:
            raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found")
        blocks = [
            block
            for fingerprint in (device.fingerprint, *device.issuing_cas)
            for block in view.list_blocks_of(fingerprint, account_id)
        ]
        return device, view.get_last_bootstrap(account_id, device_id), blocks


async def list_devices(
    context: ApplicationContext, account_id: str | None, page: PageRequest
) -> Page[Device]:
    """An account's devices, in one of ORDERS; with None those of all accounts, in one of ORDERS_OF_ALL.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID or ENROLLMENT_ID_… for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        if account_id is None:
            return read_page(page, _source_of_all(view, page, wanted), view.count_all_devices, wanted)
        require_account(view, account_id)
        return read_page(
            page, _source(view, account_id, page, wanted), lambda: view.count_devices(account_id), wanted
        )


def _source_of_all(view: View, page: PageRequest, wanted: Filter[Device] | None) -> Source[Device]:
    """The rows of all accounts to look at."""
    if wanted is not None and (fingerprint := wanted.value("enrollment_identity")) is not None:
        return single(view.find_devices([fingerprint])[0])
    return of_all_accounts(
        view.list_devices,
        view.list_all_devices,
        None if wanted is None else wanted.value("account_id"),
        descending=page.descending,
    )


def _source(view: View, account_id: str, page: PageRequest, wanted: Filter[Device] | None) -> Source[Device]:
    """The rows of one account to look at: by the index that leaves out most of what is not wanted."""
    descending, prefix = page.descending, ""
    if wanted is not None:
        if (fingerprint := wanted.value("enrollment_identity")) is not None:
            [found] = view.find_devices([fingerprint])
            return single(None if found is None or found.account_id != account_id else found)
        if name := wanted.value("endpoint_name"):
            # Of the names that begin with it, it is the first.
            named = view.list_devices_by_name(account_id, after=None, limit=1, prefix=name)
            return single(named[0] if named else None)
        prefix = wanted.prefix("endpoint_name")
    if page.order == "endpoint_name":
        return Source(
            lambda after, limit: view.list_devices_by_name(
                account_id, after=after, limit=limit, descending=descending, prefix=prefix
            ),
            name_position,
        )
    if page.order == "id":
        return Source(
            lambda after, limit: view.list_devices(
                account_id, after=after, limit=limit, descending=descending
            )
        )
    which = DeviceTime(page.order)
    by_time = Source(
        lambda after, limit: view.list_devices_by_time(
            account_id, which, after=after, limit=limit, descending=descending
        ),
        lambda device: time_position(device, which),
    )
    low, high = (None, None) if wanted is None else wanted.bounds(page.order)
    return between(by_time, lambda device: device.time(which), low, high, descending=descending)
