"""DeviceTransferService over a real channel: two accounts and their devices."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from uuid import uuid4

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from ftc_core.application import transfers
from ftc_core.application.context import new_id, utc_now
from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CODE_FAILURES_MAX, TRANSFERS_KEPT_S
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CancelDeviceTransferRequest,
    CreateDeviceTransferRequest,
    CreateDeviceTransferResponse,
    GetDeviceTransferRequest,
    ListDeviceTransfersRequest,
    RejectDeviceTransferRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import (
    DeviceEnrollmentEvent,
    DeviceEvent,
    WatchDeviceEnrollmentsRequest,
    WatchDevicesRequest,
)
from tests.api import Tenant, TestApi, running_api
from tests.certificates import Manufacturer
from tests.integration.test_api_devices import claim

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def factory() -> Manufacturer:
    return Manufacturer("Factory")


@pytest.fixture
def giver(api: TestApi) -> Tenant:
    return api.tenant("Giver")


@pytest.fixture
def taker(api: TestApi, factory: Manufacturer) -> Tenant:
    """It trusts the factory, and has one device of its own."""
    taker = api.tenant("Taker")
    claim(api, taker, factory, "taker-1")
    return taker


@pytest.fixture
def device(api: TestApi, giver: Tenant, factory: Manufacturer) -> str:
    """Resource name of a device of the giver."""
    return owned(api, giver, factory, "device-1")


def owned(api: TestApi, tenant: Tenant, factory: Manufacturer, endpoint_name: str) -> str:
    return f"{tenant.name}/devices/{claim(api, tenant, factory, endpoint_name).device.id}"


def offer(
    giver: Tenant, *devices: str, to: Tenant | None = None, note: str = "", **request: object
) -> CreateDeviceTransferResponse:
    wanted = DeviceTransfer(to_account_id=to.id if to else "", note=note)
    asked = CreateDeviceTransferRequest(device_transfer=wanted, devices=devices, **request)  # type: ignore[arg-type]
    return giver.client.call(giver.client.device_transfers.CreateDeviceTransfer, asked)


def seen_by(tenant: Tenant, transfer: DeviceTransfer) -> DeviceTransfer:
    name = f"{tenant.name}/deviceTransfers/{transfer.id}"
    return tenant.client.call(
        tenant.client.device_transfers.GetDeviceTransfer, GetDeviceTransferRequest(name=name)
    )


def accept(taker: Tenant, transfer: DeviceTransfer, **request: object) -> DeviceTransfer:
    name = f"{taker.name}/deviceTransfers/{transfer.id}"
    asked = AcceptDeviceTransferRequest(name=name, **request)  # type: ignore[arg-type]
    return taker.client.call(taker.client.device_transfers.AcceptDeviceTransfer, asked)


def device_names(tenant: Tenant) -> list[str]:
    page = tenant.client.call(tenant.client.devices.ListDevices, ListDevicesRequest())
    return [device.endpoint_name for device in page.devices]


def listed(tenant: Tenant, filter_: str = "") -> list[DeviceTransfer]:
    request = ListDeviceTransfersRequest(filter=filter_)
    page = tenant.client.call(tenant.client.device_transfers.ListDeviceTransfers, request)
    return list(page.device_transfers)


# --- to a named account ------------------------------------------------------------------------------


def test_both_accounts_see_an_offer_each_under_its_own_name(
    giver: Tenant, taker: Tenant, device: str
) -> None:
    answer = offer(giver, device, to=taker, note="As agreed")

    created = answer.device_transfer
    assert (answer.code, answer.next_page_token) == ("", "")
    assert created.name == f"{giver.name}/deviceTransfers/{created.id}"
    assert created.direction == DeviceTransfer.OUTGOING
    assert (created.from_account_id, created.to_account_id, created.by_code) == (giver.id, taker.id, False)
    assert (created.state, created.note, created.device_count) == (DeviceTransfer.OFFERED, "As agreed", 1)
    [offered] = created.devices
    assert (offered.device_id, offered.endpoint_name) == (device.rpartition("/")[2], "device-1")
    assert offered.enrollment_identity.startswith("A-")
    assert created.expires_at.ToDatetime() - created.created_at.ToDatetime() == 7 * DAY
    assert not created.HasField("decided_at")

    assert seen_by(giver, created) == created
    theirs = seen_by(taker, created)
    assert theirs.name == f"{taker.name}/deviceTransfers/{created.id}"
    assert theirs.direction == DeviceTransfer.INCOMING
    theirs.name, theirs.direction = created.name, created.direction
    assert theirs == created


def test_either_side_may_use_the_other_s_name(
    api: TestApi, giver: Tenant, taker: Tenant, factory: Manufacturer
) -> None:
    taken, turned_down, taken_back = (
        offer(giver, owned(api, giver, factory, f"either-{index}"), to=taker).device_transfer
        for index in range(3)
    )
    giving, taking = giver.client.device_transfers, taker.client.device_transfers

    shown = taker.client.call(taking.GetDeviceTransfer, GetDeviceTransferRequest(name=taken.name))
    assert shown == seen_by(taker, taken)

    wrong = [
        api.refused(taker.client, taking.CancelDeviceTransfer, CancelDeviceTransferRequest(name=taken.name)),
        api.refused(giver.client, giving.AcceptDeviceTransfer, AcceptDeviceTransferRequest(name=shown.name)),
        api.refused(giver.client, giving.RejectDeviceTransfer, RejectDeviceTransferRequest(name=shown.name)),
    ]
    assert [error.reason for error in wrong] == [Reason.TRANSFER_WRONG_SIDE] * 3

    once = str(uuid4())
    done = taker.client.call(
        taking.AcceptDeviceTransfer, AcceptDeviceTransferRequest(name=taken.name, request_id=once)
    )
    assert (done.state, done.name) == (DeviceTransfer.ACCEPTED, shown.name)
    assert accept(taker, taken, request_id=once) == done

    request = RejectDeviceTransferRequest(name=turned_down.name)
    assert taker.client.call(taking.RejectDeviceTransfer, request).state == DeviceTransfer.REJECTED

    back = CancelDeviceTransferRequest(name=f"{taker.name}/deviceTransfers/{taken_back.id}")
    cancelled = giver.client.call(giving.CancelDeviceTransfer, back)
    assert (cancelled.state, cancelled.name) == (DeviceTransfer.CANCELLED, taken_back.name)


def test_the_names_of_a_transfer_are_good_for_its_two_sides_alone(
    api: TestApi, giver: Tenant, taker: Tenant, other: Tenant, factory: Manufacturer
) -> None:
    named = offer(giver, owned(api, giver, factory, "names-0"), to=taker).device_transfer
    code = offer(giver, owned(api, giver, factory, "names-1"))
    secret = code.device_transfer
    accepting = AcceptDeviceTransferRequest(code=code.code)
    taker.client.call(taker.client.device_transfers.AcceptDeviceTransfer, accepting)

    def errors(asking: Tenant, name: str) -> list[FtcError]:
        stub = asking.client.device_transfers
        return [
            api.refused(asking.client, stub.GetDeviceTransfer, GetDeviceTransferRequest(name=name)),
            api.refused(asking.client, stub.AcceptDeviceTransfer, AcceptDeviceTransferRequest(name=name)),
            api.refused(asking.client, stub.RejectDeviceTransfer, RejectDeviceTransferRequest(name=name)),
            api.refused(asking.client, stub.CancelDeviceTransfer, CancelDeviceTransferRequest(name=name)),
        ]

    refusals = [
        *errors(other, named.name),
        *errors(other, f"{taker.name}/deviceTransfers/{named.id}"),
        *errors(taker, f"{other.name}/deviceTransfers/{named.id}"),  # not a party
        *errors(taker, f"{giver.name}/deviceTransfers/{new_id()}"),
        *errors(giver, f"{taker.name}/deviceTransfers/{secret.id}"),  # who came with a code is not told
    ]
    assert {(error.reason, error.message) for error in refusals} == {
        (Reason.RESOURCE_NOT_FOUND, "transfer not found")
    }


def test_an_accepted_device_is_the_other_account_s_with_its_id(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    transfer = offer(giver, device, to=taker).device_transfer
    assert device_names(giver) == ["device-1"]

    done = accept(taker, transfer)

    assert done.state == DeviceTransfer.ACCEPTED
    assert done.HasField("decided_at")
    assert device_names(giver) == []
    assert sorted(device_names(taker)) == ["device-1", "taker-1"]
    gone = api.refused(giver.client, giver.client.devices.GetDevice, GetDeviceRequest(name=device))
    assert gone.reason is Reason.RESOURCE_NOT_FOUND
    moved = GetDeviceRequest(name=device.replace(giver.id, taker.id))
    found = taker.client.call(taker.client.devices.GetDevice, moved)
    assert (found.account_id, found.endpoint_name) == (taker.id, "device-1")
    assert seen_by(giver, transfer).state == DeviceTransfer.ACCEPTED


def test_the_watches_of_both_accounts_tell_of_it_at_the_same_revisions(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    transfer = offer(giver, device, to=taker).device_transfer
    start = api.revision() + 1
    accept(taker, transfer)

    told = {
        tenant.id: (device_event(tenant, start), enrollment_event(tenant, start)) for tenant in (giver, taker)
    }

    (lost, unlisted), (gained, enlisted) = told[giver.id], told[taker.id]
    assert (lost.kind, unlisted.kind) == (DeviceEvent.TRANSFERRED_OUT, DeviceEnrollmentEvent.TRANSFERRED_OUT)
    assert (gained.kind, enlisted.kind) == (DeviceEvent.TRANSFERRED_IN, DeviceEnrollmentEvent.TRANSFERRED_IN)
    assert (lost.revision, unlisted.revision) == (gained.revision, enlisted.revision)
    assert lost.device_name == device
    assert gained.device_name == gained.device.name == device.replace(giver.id, taker.id)
    assert enlisted.device_enrollment.name == enlisted.device_enrollment_name
    assert not lost.HasField("device")
    assert not unlisted.HasField("device_enrollment")
    assert lost.enrollment_identity == gained.enrollment_identity == enlisted.enrollment_identity


def device_event(tenant: Tenant, start: int) -> DeviceEvent:
    watch = tenant.client.devices.WatchDevices
    responses = tenant.client.stream(watch, WatchDevicesRequest(start_revision=start))
    [event] = next(response.events for response in responses if response.events)
    return event


def enrollment_event(tenant: Tenant, start: int) -> DeviceEnrollmentEvent:
    watch = tenant.client.device_enrollments.WatchDeviceEnrollments
    responses = tenant.client.stream(watch, WatchDeviceEnrollmentsRequest(start_revision=start))
    [event] = next(response.events for response in responses if response.events)
    return event


def test_a_repeated_acceptance_gets_the_first_answer(giver: Tenant, taker: Tenant, device: str) -> None:
    transfer = offer(giver, device, to=taker).device_transfer
    request_id = str(uuid4())

    assert accept(taker, transfer, request_id=request_id) == accept(taker, transfer, request_id=request_id)
    with pytest.raises(FtcError) as caught:
        accept(taker, transfer)
    assert (caught.value.reason, caught.value.metadata["state"]) == (Reason.TRANSFER_DECIDED, "ACCEPTED")


def test_an_acceptance_can_be_tried_without_effect(
    api: TestApi, giver: Tenant, taker: Tenant, device: str, factory: Manufacturer
) -> None:
    twin = owned(api, giver, factory, "taker-1")
    good = offer(giver, device, to=taker).device_transfer
    bad = offer(giver, twin, to=taker).device_transfer
    before = api.revision()

    assert accept(taker, good, validate_only=True).state == DeviceTransfer.ACCEPTED
    with pytest.raises(FtcError) as caught:
        accept(taker, bad, validate_only=True)

    assert caught.value.reason is Reason.DUPLICATE_ENDPOINT
    assert caught.value.metadata["endpoint_name"] == "taker-1"
    assert api.revision() == before
    assert sorted(device_names(giver)) == ["device-1", "taker-1"]


def test_each_side_ends_an_offer_in_its_own_way(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    give, take = giver.client.device_transfers, taker.client.device_transfers
    first = offer(giver, device, to=taker).device_transfer
    theirs = f"{taker.name}/deviceTransfers/{first.id}"
    stale = CancelDeviceTransferRequest(name=first.name, etag='"1"')
    assert api.refused(giver.client, give.CancelDeviceTransfer, stale).reason is Reason.ETAG_MISMATCH
    wrong = RejectDeviceTransferRequest(name=first.name)
    assert api.refused(giver.client, give.RejectDeviceTransfer, wrong).reason is Reason.TRANSFER_WRONG_SIDE

    cancelled = giver.client.call(
        give.CancelDeviceTransfer, CancelDeviceTransferRequest(name=first.name, etag=first.etag)
    )
    assert cancelled.state == DeviceTransfer.CANCELLED
    late = AcceptDeviceTransferRequest(name=theirs)
    refusal = api.refused(taker.client, take.AcceptDeviceTransfer, late)
    assert (refusal.reason, refusal.metadata["state"]) == (Reason.TRANSFER_DECIDED, "CANCELLED")

    second = offer(giver, device, to=taker).device_transfer
    name = f"{taker.name}/deviceTransfers/{second.id}"
    rejected = taker.client.call(take.RejectDeviceTransfer, RejectDeviceTransferRequest(name=name))
    assert (rejected.state, rejected.name) == (DeviceTransfer.REJECTED, name)
    assert seen_by(giver, second).state == DeviceTransfer.REJECTED
    assert device_names(giver) == ["device-1"]


def test_transfers_are_filtered_as_their_reader_sees_them(
    api: TestApi, giver: Tenant, taker: Tenant, device: str, factory: Manufacturer
) -> None:
    there = offer(giver, device, to=taker).device_transfer
    mine = claim(api, taker, factory, "taker-2").device.id
    back = offer(taker, f"{taker.name}/devices/{mine}", to=giver).device_transfer

    assert [transfer.id for transfer in listed(taker)] == [there.id, back.id]
    assert [transfer.id for transfer in listed(taker, "direction = INCOMING")] == [there.id]
    assert [transfer.id for transfer in listed(giver, "direction = INCOMING")] == [back.id]
    assert [transfer.id for transfer in listed(giver, f"to_account_id = {taker.id}")] == [there.id]
    accept(taker, there)
    assert [transfer.id for transfer in listed(giver, "state = OFFERED")] == [back.id]
    assert listed(giver, "by_code = true") == []
    assert all(not transfer.devices and transfer.device_count == 1 for transfer in listed(giver))


# --- by code -----------------------------------------------------------------------------------------


def test_a_code_is_told_once_and_lets_its_bearer_accept(giver: Tenant, taker: Tenant, device: str) -> None:
    request_id = str(uuid4())
    answer = offer(giver, device, request_id=request_id)
    again = offer(giver, device, request_id=request_id)
    transfer = answer.device_transfer
    assert re.fullmatch(f"{transfer.id}-[A-Z2-7]{{26}}", answer.code)
    assert (again.code, again.device_transfer) == ("", transfer)
    assert (transfer.by_code, transfer.to_account_id) == (True, "")
    with pytest.raises(FtcError) as caught:
        seen_by(taker, transfer)
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND

    take = taker.client.device_transfers.AcceptDeviceTransfer
    done = taker.client.call(take, AcceptDeviceTransferRequest(code=f" {answer.code.lower()}\n"))

    assert (done.state, done.to_account_id) == (DeviceTransfer.ACCEPTED, taker.id)
    assert seen_by(giver, transfer).to_account_id == "", "the owner does not learn who came with the code"
    assert listed(giver, f"to_account_id = {taker.id}") == []
    assert "device-1" in device_names(taker)


def test_a_code_only_works_for_others_and_only_once(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    code = offer(giver, device).code
    request = AcceptDeviceTransferRequest(code=code)
    give, take = (tenant.client.device_transfers.AcceptDeviceTransfer for tenant in (giver, taker))
    own = api.refused(giver.client, give, request)
    assert (own.reason, own.field) == (Reason.TRANSFER_TO_SELF, "code")

    taker.client.call(take, request)

    assert api.refused(taker.client, take, request).reason is Reason.TRANSFER_DECIDED


def test_wrong_codes_are_answered_alike_and_then_not_at_all_for_a_while(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    code = offer(giver, device).code
    take = taker.client.device_transfers.AcceptDeviceTransfer
    wrong = [f"{code[:-1]}{'A' if code[-1] != 'A' else 'B'}", f"{new_id()}-{code[33:]}", "hunter2"]
    answers = [
        api.refused(taker.client, take, AcceptDeviceTransferRequest(code=guess))
        for guess in islice(cycle(wrong), CODE_FAILURES_MAX)
    ]
    assert {(answer.reason, answer.message) for answer in answers} == {
        (Reason.TRANSFER_CODE_INVALID, "no open transfer has this code")
    }

    refusal = api.refused(taker.client, take, AcceptDeviceTransferRequest(code=code))

    assert refusal.reason is Reason.TRANSFER_CODE_LIMIT_REACHED
    status = rpc_status.from_call(refusal.__cause__)  # type: ignore[arg-type]
    assert status is not None
    retry = RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert 0 < retry.retry_delay.seconds < 60
    other = api.client(api.key(giver.id, Role.ADMIN))  # another account is not held up
    own = api.refused(
        other, other.device_transfers.AcceptDeviceTransfer, AcceptDeviceTransferRequest(code=code)
    )
    assert own.reason is Reason.TRANSFER_TO_SELF


def test_an_operator_accepts_for_an_account(api: TestApi, giver: Tenant, taker: Tenant, device: str) -> None:
    code = offer(giver, device).code
    operator = api.client()

    done = operator.call(
        operator.device_transfers.AcceptDeviceTransfer,
        AcceptDeviceTransferRequest(code=code, parent=taker.name),
    )

    assert done.name.startswith(taker.name)
    assert "device-1" in device_names(taker)


# --- fleets ------------------------------------------------------------------------------------------


def test_a_filter_offers_a_fleet_in_transfers_of_limited_size(
    api: TestApi, giver: Tenant, taker: Tenant, factory: Manufacturer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "TRANSFER_DEVICES_MAX", 2)
    names = [f"pump-{number}" for number in range(5)]
    for name in (*names, "valve-1"):
        claim(api, giver, factory, name)
    held = offer(giver, device_named(giver, "pump-1"), to=taker)
    sizes, token = [], ""
    while True:
        answer = offer(giver, to=taker, filter='endpoint_name = "pump-*"', page_token=token)
        sizes.append([device.endpoint_name for device in answer.device_transfer.devices])
        token = answer.next_page_token
        if not token:
            break

    assert sizes == [["pump-0", "pump-2"], ["pump-3", "pump-4"]]
    for transfer in listed(taker):
        accept(taker, transfer)
    assert device_names(giver) == ["valve-1"]
    assert held.device_transfer.id in {transfer.id for transfer in listed(taker)}


def device_named(tenant: Tenant, endpoint_name: str) -> str:
    request = ListDevicesRequest(filter=f'endpoint_name = "{endpoint_name}"')
    [device] = tenant.client.call(tenant.client.devices.ListDevices, request).devices
    return device.name


def test_a_repeated_offer_by_filter_gets_the_first_answer(
    api: TestApi, giver: Tenant, taker: Tenant, factory: Manufacturer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "TRANSFER_DEVICES_MAX", 2)
    for number in range(3):
        claim(api, giver, factory, f"pump-{number}")
    request_id = str(uuid4())

    first = offer(giver, to=taker, filter="endpoint_name = pump-*", request_id=request_id)
    again = offer(giver, to=taker, filter="endpoint_name = pump-*", request_id=request_id)

    assert first == again
    assert first.next_page_token
    with pytest.raises(FtcError) as caught:  # the token is good for its own filter only
        offer(giver, to=taker, filter="endpoint_name = valve-*", page_token=first.next_page_token)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_a_filter_that_finds_nothing_to_offer_is_refused(giver: Tenant, taker: Tenant, device: str) -> None:
    offer(giver, device, to=taker)

    with pytest.raises(FtcError) as caught:
        offer(giver, to=taker, filter="endpoint_name = device-1")

    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


# --- bad input ---------------------------------------------------------------------------------------


def test_bad_offers_are_refused_with_the_field(
    api: TestApi, giver: Tenant, taker: Tenant, device: str
) -> None:
    year_and_day, yesterday = DeviceTransfer(), DeviceTransfer()
    year_and_day.expires_at.FromDatetime(utc_now() + 366 * DAY)
    yesterday.expires_at.FromDatetime(utc_now() - DAY)
    plain, chatty, hostile, own = (
        DeviceTransfer(),
        DeviceTransfer(note="n" * 501),
        DeviceTransfer(note="\x1b]0;title\x07"),
        DeviceTransfer(to_account_id=giver.id),
    )
    nobody, misspelt = DeviceTransfer(to_account_id=new_id()), DeviceTransfer(to_account_id="me")
    ghost, theirs = f"{giver.name}/devices/{new_id()}", device_named(taker, "taker-1")
    prefix = "device_transfer"
    cases: list[tuple[DeviceTransfer | None, list[str], str, Reason, str]] = [
        (None, [device], "", Reason.FIELD_REQUIRED, prefix),
        (plain, [], "", Reason.FIELD_REQUIRED, "devices"),
        (plain, [device], "state = REGISTERED", Reason.FIELD_INVALID, "devices"),
        (plain, [device] * 1_001, "", Reason.FIELD_INVALID, "devices"),
        (plain, [device] * 2, "", Reason.FIELD_INVALID, "devices[1]"),
        (plain, ["device-1"], "", Reason.RESOURCE_NAME_INVALID, "devices[0]"),
        (plain, [device, theirs], "", Reason.RESOURCE_NOT_FOUND, ""),
        (plain, [ghost], "", Reason.RESOURCE_NOT_FOUND, ""),
        (plain, [], "colour = red", Reason.FIELD_INVALID, "filter"),
        (year_and_day, [device], "", Reason.FIELD_INVALID, f"{prefix}.expires_at"),
        (yesterday, [device], "", Reason.FIELD_INVALID, f"{prefix}.expires_at"),
        (chatty, [device], "", Reason.FIELD_INVALID, f"{prefix}.note"),
        (hostile, [device], "", Reason.FIELD_INVALID, f"{prefix}.note"),
        (misspelt, [device], "", Reason.FIELD_INVALID, f"{prefix}.to_account_id"),
        (nobody, [device], "", Reason.RESOURCE_NOT_FOUND, ""),
        (own, [device], "", Reason.TRANSFER_TO_SELF, f"{prefix}.to_account_id"),
    ]
    create = giver.client.device_transfers.CreateDeviceTransfer
    for wanted, devices, filter_, reason, field in cases:
        request = CreateDeviceTransferRequest(device_transfer=wanted, devices=devices, filter=filter_)
        refusal = api.refused(giver.client, create, request)
        assert (refusal.reason, refusal.field) == (reason, field), request


def test_an_acceptance_needs_a_name_or_a_code(api: TestApi, taker: Tenant) -> None:
    take = taker.client.device_transfers.AcceptDeviceTransfer
    name = f"{taker.name}/deviceTransfers/{new_id()}"

    nothing = api.refused(taker.client, take, AcceptDeviceTransferRequest())
    both = api.refused(taker.client, take, AcceptDeviceTransferRequest(name=name, code="x"))

    assert (nothing.reason, nothing.field) == (Reason.FIELD_REQUIRED, "name")
    assert (both.reason, both.field) == (Reason.FIELD_INVALID, "code")


def test_a_receiver_without_the_ca_is_told_which_would_do(
    api: TestApi, giver: Tenant, factory: Manufacturer, device: str
) -> None:
    bare = api.tenant("Bare")
    transfer = offer(giver, device, to=bare).device_transfer
    name = f"{bare.name}/deviceTransfers/{transfer.id}"

    refusal = api.refused(
        bare.client, bare.client.device_transfers.AcceptDeviceTransfer, AcceptDeviceTransferRequest(name=name)
    )

    assert refusal.reason is Reason.CA_NOT_IN_ACCOUNT
    assert refusal.metadata["issuing_cas"] == hashlib.sha256(factory.der).hexdigest()
    assert refusal.metadata["endpoint_name"] == "device-1"


# --- time --------------------------------------------------------------------------------------------


def test_an_offer_expires_is_told_so_and_is_forgotten_in_the_end(
    tmp_path: Path, factory: Manufacturer
) -> None:
    offset = timedelta()
    with running_api(tmp_path, now=lambda: utc_now() + offset) as api:
        giver, taker = api.tenant("Giver"), api.tenant("Taker")
        transfer = offer(giver, owned(api, giver, factory, "device-1"), to=taker).device_transfer
        assert api.run(transfers.expire_transfers(api.context)) == 0

        offset = 7 * DAY
        with pytest.raises(FtcError) as caught:
            accept(taker, transfer)
        assert caught.value.reason is Reason.TRANSFER_EXPIRED
        assert api.run(transfers.expire_transfers(api.context)) == 1
        expired = seen_by(taker, transfer)
        assert expired.state == DeviceTransfer.EXPIRED
        assert expired.decided_at == transfer.expires_at
        assert device_names(giver) == ["device-1"]

        assert api.run(transfers.forget_transfers(api.context)) == 0
        offset += timedelta(seconds=TRANSFERS_KEPT_S)
        assert api.run(transfers.forget_transfers(api.context)) == 1
        assert listed(giver) == listed(taker) == []
