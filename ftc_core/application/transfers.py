"""Two-party transfers: offering devices to another account, and deciding on what is offered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal, hash_secret
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.application.devices import list_devices
from ftc_core.application.fields import check_description, check_in_future
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.application.transfer_codes import CodeFailures, format_code, new_code_secret, read_code
from ftc_core.domain.device import Device
from ftc_core.domain.transfer import DeviceTransfer, TransferState
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import (
    TRANSFER_DEVICES_MAX,
    TRANSFER_TTL_DEFAULT_S,
    TRANSFER_TTL_MAX_S,
    TRANSFERS_KEPT_S,
    TRANSFERS_MAX,
    TRANSFERS_SWEPT_AT_ONCE,
)
from ftc_core.storage.commands import Submission, Swept
from ftc_core.storage.transfer_commands import (
    AcceptTransfer,
    CancelTransfer,
    CreateTransfer,
    ExpireTransfers,
    ForgetTransfers,
    RejectTransfer,
    TransferWritten,
)

__all__ = [
    "Direction",
    "IssuedTransfer",
    "NewTransfer",
    "TransferDecision",
    "accept_by_code",
    "accept_transfer",
    "cancel_transfer",
    "check_counterpart",
    "create_transfer",
    "direction_of",
    "expire_transfers",
    "filters_for",
    "forget_transfers",
    "get_transfer",
    "list_transfers",
    "reject_transfer",
]


class Direction(StrEnum):
    """Which side of a transfer an account is."""

    OUTGOING = "OUTGOING"
    INCOMING = "INCOMING"


class NewTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer as asked for.

    `receiver_account_id` None means by code. What is offered is either `device_ids`, or what `filter` wants
    of the devices past the one with the ID `after`. `expires_at` None means after TRANSFER_TTL_DEFAULT_S.
    """

    account_id: str
    receiver_account_id: str | None = None
    device_ids: tuple[str, ...] = ()
    filter: str = ""
    after: str | None = None
    note: str = ""
    expires_at: datetime | None = None


class IssuedTransfer(msgspec.Struct, frozen=True):
    """The transfer as stored; its code, as its bearer presents it; where further devices are to be had.

    `code` is None of a transfer to a named account, and where no fresh secret went into the store: for a
    repeat of an earlier request, whose secret nobody keeps, and for a request that was only validated.
    `next_after` is None where no further device is wanted.
    """

    transfer: DeviceTransfer
    code: str | None
    next_after: str | None


class TransferDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Which transfer an account decides on; `revision`, if given, is the one that the caller last read."""

    account_id: str
    transfer_id: str
    revision: int | None = None


def direction_of(transfer: DeviceTransfer, account_id: str) -> Direction:
    """Which side of `transfer` the account is."""
    return Direction.OUTGOING if transfer.account_id == account_id else Direction.INCOMING


async def create_transfer(
    context: ApplicationContext, caller: Principal, new: NewTransfer, options: WriteOptions
) -> IssuedTransfer:
    """Offer devices.

    Raises FtcError FIELD_REQUIRED or FIELD_INVALID naming the field, also if both or neither of device IDs
    and filter are given; RESOURCE_NOT_FOUND for an account, or a device, that there is not, or if none is
    wanted; TRANSFER_TO_SELF, TRANSFER_DEVICE_OFFERED, TRANSFER_LIMIT_REACHED.
    """
    now = context.now()
    _check(new, now)
    device_ids = new.device_ids
    if new.filter:
        wanted = await _unoffered(context, new.account_id, new.filter, new.after, TRANSFER_DEVICES_MAX)
        device_ids = tuple(device.id for device in wanted)
    transfer_id, secret = context.new_id(), new_code_secret()
    code = None if new.receiver_account_id else format_code(transfer_id, secret)
    transfer = DeviceTransfer(
        id=transfer_id,
        account_id=new.account_id,
        receiver_account_id=new.receiver_account_id,
        code_hash=hash_secret(code, context.pepper) if code else None,
        devices=(),
        note=new.note,
        created_at=now,
        expires_at=new.expires_at or now + timedelta(seconds=TRANSFER_TTL_DEFAULT_S),
    )
    outcome = await context.submit(
        CreateTransfer(transfer, device_ids, TRANSFERS_MAX),
        options,
        scope=f"{caller.account_id}/CreateDeviceTransfer",
        request=new,
    )
    stored = _written(outcome)
    fresh = stored.id == transfer_id and not options.validate_only
    return IssuedTransfer(stored, code if fresh else None, await _next_after(context, new, stored))


async def get_transfer(context: ApplicationContext, account_id: str, transfer_id: str) -> DeviceTransfer:
    """A transfer that the account offers, is offered, or has accepted. Raises FtcError RESOURCE_NOT_FOUND."""
    with context.store.view() as view:
        transfer = view.get_transfer(account_id, transfer_id)
    if transfer is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "transfer not found")
    return transfer


def check_counterpart(
    context: ApplicationContext, account_id: str, transfer_id: str, other_account_id: str
) -> None:
    """Raises FtcError RESOURCE_NOT_FOUND unless the account sees the transfer as one between these two."""
    with context.store.view() as view:
        transfer = view.get_transfer(account_id, transfer_id)
    if transfer is None or other_account_id not in (transfer.account_id, transfer.receiver_for(account_id)):
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "transfer not found")


async def list_transfers(
    context: ApplicationContext, account_id: str, page: PageRequest
) -> Page[DeviceTransfer]:
    """The transfers that `get_transfer` gives, in the order of their creation.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID for a bad filter.
    """
    wanted = parse_filter(page.filter, filters_for(account_id))
    with context.store.view() as view:
        require_account(view, account_id)
        source = Source(
            lambda after, limit: view.list_transfers(
                account_id, after=after, limit=limit, descending=page.descending
            )
        )
        return read_page(page, source, lambda: view.count_transfers(account_id), wanted)


async def accept_transfer(
    context: ApplicationContext, caller: Principal, decision: TransferDecision, options: WriteOptions
) -> DeviceTransfer:
    """Take over the devices of a transfer that is offered to the account by name.

    Raises FtcError RESOURCE_NOT_FOUND, TRANSFER_WRONG_SIDE, ETAG_MISMATCH, TRANSFER_EXPIRED,
    TRANSFER_DECIDED, TRANSFER_OUTDATED; CA_NOT_IN_ACCOUNT, ACCOUNT_SUSPENDED, DUPLICATE_ENDPOINT,
    QUOTA_REACHED: then none moved.
    """
    command = AcceptTransfer(
        decision.account_id, decision.transfer_id, context.now(), revision=decision.revision
    )
    scope = f"{caller.account_id}/AcceptDeviceTransfer"
    return _written(await context.submit(command, options, scope=scope, request=decision))


async def accept_by_code(
    context: ApplicationContext,
    caller: Principal,
    failures: CodeFailures,
    account_id: str,
    code: str,
    options: WriteOptions,
) -> DeviceTransfer:
    """Take over the devices of the transfer that `code` belongs to.

    Raises FtcError TRANSFER_CODE_INVALID, or TRANSFER_CODE_LIMIT_REACHED after too many of those, be the code
    right or wrong; TRANSFER_TO_SELF; else as `accept_transfer`.
    """
    now, who = context.now(), caller.account_id or caller.id
    failures.check(who, now)
    try:
        transfer_id, whole = read_code(code)
        command = AcceptTransfer(account_id, transfer_id, now, code_hash=hash_secret(whole, context.pepper))
        scope = f"{caller.account_id}/AcceptDeviceTransfer"
        request = (account_id, command.code_hash)
        return _written(await context.submit(command, options, scope=scope, request=request))
    except FtcError as error:
        if error.reason is Reason.TRANSFER_CODE_INVALID:
            failures.note(who, now)
        if error.reason is Reason.TRANSFER_TO_SELF:
            error.field = "code"
        raise


async def reject_transfer(
    context: ApplicationContext, caller: Principal, decision: TransferDecision, options: WriteOptions
) -> DeviceTransfer:
    """Turn down a transfer that is offered to the account.

    Raises FtcError RESOURCE_NOT_FOUND, TRANSFER_WRONG_SIDE, ETAG_MISMATCH, TRANSFER_EXPIRED or
    TRANSFER_DECIDED.
    """
    command = RejectTransfer(decision.account_id, decision.transfer_id, context.now(), decision.revision)
    scope = f"{caller.account_id}/RejectDeviceTransfer"
    return _written(await context.submit(command, options, scope=scope, request=decision))


async def cancel_transfer(
    context: ApplicationContext, caller: Principal, decision: TransferDecision, options: WriteOptions
) -> DeviceTransfer:
    """Take back a transfer that the account offers. Raises as `reject_transfer`."""
    command = CancelTransfer(decision.account_id, decision.transfer_id, context.now(), decision.revision)
    scope = f"{caller.account_id}/CancelDeviceTransfer"
    return _written(await context.submit(command, options, scope=scope, request=decision))


async def expire_transfers(context: ApplicationContext) -> int:
    """End every open transfer whose time has passed; gives how many."""
    return await _sweep(context, lambda: ExpireTransfers(context.now(), TRANSFERS_SWEPT_AT_ONCE))


async def forget_transfers(context: ApplicationContext) -> int:
    """Remove every transfer that was decided TRANSFERS_KEPT_S ago; gives how many."""
    kept = timedelta(seconds=TRANSFERS_KEPT_S)
    return await _sweep(context, lambda: ForgetTransfers(context.now() - kept, TRANSFERS_SWEPT_AT_ONCE))


async def _sweep(
    context: ApplicationContext, command: Callable[[], ExpireTransfers | ForgetTransfers]
) -> int:
    swept = 0
    while True:
        outcome = await context.commit.execute(Submission(command()))
        assert isinstance(outcome, Swept)  # noqa: S101 - what the port answers to these commands
        swept += outcome.count
        if not outcome.more:
            return swept


def _check(new: NewTransfer, now: datetime) -> None:
    if new.receiver_account_id == new.account_id:
        raise FtcError(Reason.TRANSFER_TO_SELF, field="device_transfer.to_account_id")
    if bool(new.device_ids) is bool(new.filter):
        missing = not new.filter
        raise FtcError(
            Reason.FIELD_REQUIRED if missing else Reason.FIELD_INVALID,
            "devices or filter is required" if missing else "devices and filter exclude each other",
            field="devices",
        )
    if len(new.device_ids) > TRANSFER_DEVICES_MAX:
        message = f"devices has {len(new.device_ids)} names; at most {TRANSFER_DEVICES_MAX} are allowed"
        raise FtcError(Reason.FIELD_INVALID, message, field="devices")
    _check_named_once(new.device_ids)
    check_description(new.note, field="device_transfer.note")
    field = "device_transfer.expires_at"
    check_in_future(new.expires_at, now, field=field)
    if new.expires_at is not None and new.expires_at > now + timedelta(seconds=TRANSFER_TTL_MAX_S):
        raise FtcError(Reason.FIELD_INVALID, f"{field} is more than a year away", field=field)


def _check_named_once(device_ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, device_id in enumerate(device_ids):
        if device_id in seen:
            field = f"devices[{index}]"
            raise FtcError(Reason.FIELD_INVALID, f"{field} is named before", field=field)
        seen.add(device_id)


async def _unoffered(
    context: ApplicationContext, account_id: str, wanted: str, after: str | None, limit: int
) -> Sequence[Device]:
    """The first `limit` devices past `after` that the filter wants and that are in no open transfer."""
    found: list[Device] = []
    position = after
    while True:
        request = PageRequest(after=position, size=limit, filter=wanted)
        page = await list_devices(context, account_id, request)
        with context.store.view() as view:
            offers = view.find_offers([device.fingerprint for device in page.records])
        found += [device for device, offer in zip(page.records, offers, strict=True) if offer is None]
        position = page.next_after
        if position is None or len(found) >= limit:
            return found[:limit]
        await asyncio.sleep(0)  # a long list must not hold up other calls


async def _next_after(context: ApplicationContext, new: NewTransfer, stored: DeviceTransfer) -> str | None:
    """From where a next transfer may go on, whether this one was made just now or is a repeat's."""
    if not new.filter:
        return None
    last = stored.devices[-1].device_id
    more = await _unoffered(context, new.account_id, new.filter, last, 1)
    return last if more else None


def filters_for(account_id: str) -> filtering.Schema[DeviceTransfer]:
    """What ListDeviceTransfers filters by, as the account sees it."""
    return {
        "state": filtering.choice(TransferState, lambda transfer: transfer.state),
        "direction": filtering.choice(Direction, lambda transfer: direction_of(transfer, account_id)),
        "from_account_id": filtering.text(lambda transfer: transfer.account_id),
        "to_account_id": filtering.text(lambda transfer: transfer.receiver_for(account_id)),
        "by_code": filtering.boolean(lambda transfer: transfer.code_hash is not None),
        "created_at": filtering.moment(lambda transfer: transfer.created_at),
        "expires_at": filtering.moment(lambda transfer: transfer.expires_at),
        "decided_at": filtering.moment(lambda transfer: transfer.decided_at),
    }


def _written(outcome: object) -> DeviceTransfer:
    assert isinstance(outcome, TransferWritten)  # noqa: S101 - what the port answers to these commands
    return outcome.transfer
