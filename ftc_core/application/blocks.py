"""Blocks: what the operator, or an account for itself, refuses whatever else speaks for it."""

from __future__ import annotations

import re

import msgspec

from ftc_core.application import filtering
from ftc_core.application.authentication import Principal
from ftc_core.application.context import ApplicationContext, WriteOptions, require_account
from ftc_core.application.fields import check_description
from ftc_core.application.filtering import parse_filter
from ftc_core.application.listing import Page, PageRequest, Source, read_page
from ftc_core.application.named_device import NamedDevice, find_fingerprint
from ftc_core.domain.account import Role
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.block_commands import BlockWritten, LiftBlock, PlaceBlock

__all__ = [
    "Blocking",
    "NamedCertificate",
    "NamedDevice",
    "blocking_party",
    "list_blocks",
    "place_block",
    "unblock",
]

ORDERS = ("certificate_fingerprint",)
"""What ListBlocks orders by."""

FILTERS: filtering.Schema[Block] = {
    "kind": filtering.choice(BlockedKind, lambda block: block.kind),
    "enrollment_identity": filtering.identity(lambda block: block.fingerprint),
    "certificate_fingerprint": filtering.text(lambda block: block.id),
    "blocked_at": filtering.moment(lambda block: block.blocked_at),
}
"""What ListBlocks filters by."""

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


class NamedCertificate(msgspec.Struct, frozen=True):
    """A CA: by account and ID of a record of it, or by its fingerprint in hex; then these two are empty."""

    account_id: str = ""
    certificate_id: str = ""
    certificate_fingerprint: str = ""


class Blocking(msgspec.Struct, frozen=True):
    """What to block, and why."""

    target: NamedDevice | NamedCertificate
    note: str = ""


def blocking_party(caller: Principal) -> str | None:
    """For whom the caller blocks: his account; None for an operator, whose blocks hold everywhere."""
    return None if caller.role is Role.OPERATOR else caller.account_id


async def place_block(
    context: ApplicationContext, caller: Principal, blocking: Blocking, options: WriteOptions
) -> Block:
    """Block a device or a CA; every server judges by it from the commit on.

    Raises FtcError RESOURCE_NOT_FOUND if there is no such device or CA, or the device is not the account's;
    ENROLLMENT_ID_INVALID, ENROLLMENT_ID_VERSION_UNSUPPORTED or FIELD_INVALID, naming the field.
    """
    check_description(blocking.note, field="note")
    target = blocking.target
    device = isinstance(target, NamedDevice)
    block = Block(
        fingerprint=_fingerprint(context, target),
        kind=BlockedKind.DEVICE if device else BlockedKind.CERTIFICATE_AUTHORITY,
        account_id=blocking_party(caller),
        note=blocking.note,
        blocked_by=caller.id,
        blocked_at=context.now(),
    )
    outcome = await context.submit(
        PlaceBlock(block, _device_id(target)),
        options,
        scope=f"{caller.account_id}/PlaceBlock",
        request=blocking,
    )
    assert isinstance(outcome, BlockWritten)  # noqa: S101 - what the port answers to this command
    return outcome.block


async def unblock(
    context: ApplicationContext,
    caller: Principal,
    target: NamedDevice | NamedCertificate,
    options: WriteOptions,
) -> None:
    """Lift the caller's block. Raises FtcError as `place_block`; RESOURCE_NOT_FOUND also if there is none."""
    command = LiftBlock(
        _fingerprint(context, target), blocking_party(caller), context.now(), _device_id(target)
    )
    await context.submit(command, options, scope=f"{caller.account_id}/LiftBlock", request=target)


async def list_blocks(context: ApplicationContext, account_id: str | None, page: PageRequest) -> Page[Block]:
    """What an account blocks, None: the operator, in order of fingerprint.

    Raises FtcError RESOURCE_NOT_FOUND; FIELD_INVALID or ENROLLMENT_ID_… for a bad filter.
    """
    wanted = parse_filter(page.filter, FILTERS)
    with context.store.view() as view:
        if account_id is not None:
            require_account(view, account_id)
        return read_page(
            page,
            Source(
                lambda after, limit: view.list_blocks(
                    account_id, after=after, limit=limit, descending=page.descending
                ),
            ),
            lambda: view.count_blocks(account_id),
            wanted,
        )


def _device_id(target: NamedDevice | NamedCertificate) -> str | None:
    return (target.device_id or None) if isinstance(target, NamedDevice) else None


def _fingerprint(context: ApplicationContext, target: NamedDevice | NamedCertificate) -> bytes:
    if isinstance(target, NamedCertificate):
        return _fingerprint_of_ca(context, target)
    with context.store.view() as view:
        return find_fingerprint(view, target)


def _fingerprint_of_ca(context: ApplicationContext, target: NamedCertificate) -> bytes:
    if target.certificate_fingerprint:
        if _FINGERPRINT.fullmatch(target.certificate_fingerprint) is None:
            field = "certificate_fingerprint"
            raise FtcError(Reason.FIELD_INVALID, f"{field} is not 64 hex characters", field=field)
        return bytes.fromhex(target.certificate_fingerprint)
    with context.store.view() as view:
        certificate = view.get_trusted_certificate(target.account_id, target.certificate_id)
    if certificate is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "trusted certificate not found")
    return certificate.fingerprint
