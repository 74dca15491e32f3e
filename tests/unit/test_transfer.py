"""Transfers as values: until when one is open, who sees whom, and what a device takes along."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from ftc_core.domain.device import Device
from ftc_core.domain.transfer import DeviceTransfer, OfferedDevice, TransferState, check_open, transferred
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import FORMER_OWNERS_MAX

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINE, THEIRS, OTHER = "a" * 32, "b" * 32, "c" * 32
TRANSFER = DeviceTransfer(
    id="1" * 32,
    account_id=MINE,
    receiver_account_id=THEIRS,
    devices=(OfferedDevice(bytes(32), "d" * 32, "sensor"),),
    created_at=NOW,
    expires_at=NOW + HOUR,
)
BY_CODE = replace(TRANSFER, receiver_account_id=None, code_hash=bytes(32))


def refusal(transfer: DeviceTransfer, now: datetime) -> Reason | None:
    try:
        check_open(transfer, now)
    except FtcError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("state", "now", "reason"),
    [
        (TransferState.OFFERED, NOW + HOUR - timedelta(microseconds=1), None),
        (TransferState.OFFERED, NOW + HOUR, Reason.TRANSFER_EXPIRED),
        (TransferState.EXPIRED, NOW, Reason.TRANSFER_EXPIRED),
        (TransferState.ACCEPTED, NOW, Reason.TRANSFER_DECIDED),
        (TransferState.REJECTED, NOW, Reason.TRANSFER_DECIDED),
        (TransferState.CANCELLED, NOW + 2 * HOUR, Reason.TRANSFER_DECIDED),
    ],
)
def test_a_transfer_is_open_until_it_is_decided_or_its_time_has_come(
    state: TransferState, now: datetime, reason: Reason | None
) -> None:
    transfer = replace(TRANSFER, state=state)

    assert refusal(transfer, now) is reason
    assert transfer.is_open(now) is (reason is None)


def test_a_transfer_is_seen_by_its_two_accounts() -> None:
    assert [TRANSFER.concerns(account) for account in (MINE, THEIRS, OTHER)] == [True, True, False]
    assert [BY_CODE.concerns(account) for account in (MINE, THEIRS)] == [True, False]


def test_who_came_with_a_code_is_hidden_from_the_owner_alone() -> None:
    accepted = replace(BY_CODE, receiver_account_id=THEIRS, state=TransferState.ACCEPTED)

    assert accepted.receiver_for(MINE) is None
    assert accepted.receiver_for(THEIRS) == THEIRS
    assert TRANSFER.receiver_for(MINE) == TRANSFER.receiver_for(THEIRS) == THEIRS


def test_a_device_remembers_its_last_owners_each_once_and_its_present_one_not_among_them() -> None:
    owners = [f"{number:032x}" for number in range(FORMER_OWNERS_MAX + 3)]
    device = Device(
        id="d" * 32,
        account_id=owners[0],
        endpoint_name="sensor",
        fingerprint=bytes(32),
        trusted_certificate_id="e" * 32,
        created_at=NOW,
        claimed_at=NOW,
    )
    for owner in owners[1:]:
        device = transferred(device, owner, "e" * 32, NOW)
    assert device.former_account_ids == tuple(reversed(owners[:-1]))[:FORMER_OWNERS_MAX]

    back = transferred(device, owners[-2], "e" * 32, NOW)
    forth = transferred(back, owners[-1], "e" * 32, NOW)

    assert owners[-2] not in back.former_account_ids
    assert back.former_account_ids[0] == owners[-1]
    assert forth.former_account_ids[:2] == (owners[-2], owners[-3])
    assert len(set(forth.former_account_ids)) == len(forth.former_account_ids)
