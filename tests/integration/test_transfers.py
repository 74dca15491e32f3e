"""Devices that change hands, as they live it: real sockets, a whole instance, two accounts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from google.longrunning.operations_pb2 import WaitOperationRequest
from google.protobuf.duration_pb2 import Duration

from ftc_core.device.client import BootstrapFailed, BootstrapOutcome, Succeeded
from ftc_core.device.registration import OperationFailed
from ftc_core.device.retry import Reaction
from ftc_core.domain.device import DeviceState
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkDeleteDeviceEnrollmentsRequest
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, eventually
from tests.things import Thing, claimed_thing, enrolled_thing

RELEASED = ("4.03", "Device released", Reaction.BOOTSTRAP_AGAIN)


def failure(outcome: object) -> tuple[str, str, Reaction]:
    assert isinstance(outcome, OperationFailed), outcome
    return outcome.code, outcome.text, outcome.reaction


def refusal(outcome: object) -> tuple[str, str]:
    assert isinstance(outcome, BootstrapFailed), outcome
    return outcome.code, outcome.text


@pytest.fixture
def receiver(instance: Instance, manufacturer: Manufacturer) -> Tenant:
    """Another account that trusts the manufacturer's CA."""
    tenant = instance.tenant()
    tenant.trust(manufacturer)
    return tenant


async def test_a_registered_device_follows_its_transfer_by_itself(
    owner: Tenant, receiver: Tenant, manufacturer: Manufacturer
) -> None:
    thing, outcome = await claimed_thing(owner, manufacturer)
    connected = await thing.registered(outcome, owner.id)
    transfer = owner.offer(thing.endpoint_name, to=receiver)
    assert not isinstance(await connected.update(), OperationFailed), "an offer changes nothing"

    receiver.accept(transfer)

    assert owner.devices() == []
    assert (owner.device_count(), receiver.device_count()) == (0, 1)
    assert receiver.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING
    assert failure(await connected.update()) == RELEASED
    connected.close()
    assert failure(await thing.try_to_register(outcome, owner.id)) == RELEASED

    # Its bootstrap instance still says the old aid.
    moved = await thing.claimed(account_id=owner.id)
    again = await thing.registered(moved, receiver.id)

    assert moved.device_id == outcome.device_id
    assert moved.bootstrap.server_uri.endswith(f"?aid={receiver.id}")
    assert moved.lwm2m.server_uri.endswith(f"?aid={receiver.id}")
    assert moved.lwm2m.public_key != outcome.lwm2m.public_key
    assert receiver.state(thing.endpoint_name) is DeviceState.REGISTERED
    assert failure(await thing.try_to_register(outcome, owner.id)) == RELEASED
    again.close()
    # From now on it says the new one; one that lost power before it kept it says the old one again.
    for aid in (receiver.id, owner.id, None):
        assert (await thing.claimed(account_id=aid)).bootstrap.server_uri.endswith(f"?aid={receiver.id}")


async def test_a_transfer_during_a_running_bootstrap_ends_with_the_receiver(
    owner: Tenant, receiver: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)
    running = asyncio.create_task(thing.bootstrap(answer_delay_s=0.2))
    await asyncio.to_thread(
        eventually, lambda: owner.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING, "it is claimed"
    )
    await asyncio.to_thread(owner.transfer, thing.endpoint_name, to=receiver)

    old = await running  # it was told nothing: the sequence ran to its end

    assert isinstance(old, Succeeded)
    assert receiver.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING
    assert failure(await thing.try_to_register(old.outcome, owner.id)) == RELEASED
    moved = await thing.claimed(account_id=owner.id)
    registered = await thing.registered(moved, receiver.id)
    assert receiver.state(thing.endpoint_name) is DeviceState.REGISTERED
    assert owner.devices() == []
    registered.close()


async def test_a_release_during_a_running_bootstrap_leaves_the_device_to_nobody(
    owner: Tenant, receiver: Tenant, manufacturer: Manufacturer
) -> None:
    thing = Thing.of(owner.instance, manufacturer)
    enrollment = owner.enroll(thing.credential.certificate)
    running = asyncio.create_task(thing.bootstrap(answer_delay_s=0.2))
    await asyncio.to_thread(
        eventually, lambda: owner.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING, "it is claimed"
    )
    await asyncio.to_thread(owner.release, enrollment)

    old = await running

    assert isinstance(old, Succeeded)
    assert (owner.devices(), owner.device_count()) == ([], 0)
    assert failure(await thing.try_to_register(old.outcome, owner.id)) == RELEASED
    assert refusal(await thing.refused(account_id=owner.id)) == ("4.03", "Enrollment ID not registered")
    receiver.enroll(thing.credential.certificate)
    # The old aid still names the first owner; a factory reset forgets it.
    assert refusal(await thing.refused(account_id=owner.id)) == ("4.03", "Enrollment ID not registered")
    assert (await thing.claimed()).bootstrap.server_uri.endswith(f"?aid={receiver.id}")


async def bulk_released(owner: Tenant, *things: Thing) -> None:
    """Their enrollments, by a file."""
    rows = "".join(f"{format_enrollment_id(thing.fingerprint)}\n" for thing in things)
    api = owner.instance.api
    request = BulkDeleteDeviceEnrollmentsRequest(parent=owner.name, data=f"id\n{rows}".encode())
    started = await asyncio.to_thread(
        api.upload, api.device_enrollments.BulkDeleteDeviceEnrollments, iter([request])
    )
    waiting = WaitOperationRequest(name=started.name, timeout=Duration(seconds=20))
    assert (await asyncio.to_thread(api.call, api.operations.WaitOperation, waiting)).done


async def test_devices_released_in_bulk_are_refused_and_free_for_the_next(
    owner: Tenant, receiver: Tenant, manufacturer: Manufacturer
) -> None:
    claimed: list[tuple[Thing, BootstrapOutcome]] = [
        await claimed_thing(owner, manufacturer) for _ in range(2)
    ]
    connected = [await thing.registered(outcome, owner.id) for thing, outcome in claimed]

    await bulk_released(owner, *(thing for thing, _ in claimed))

    assert (owner.devices(), owner.device_count()) == ([], 0)
    for device, (thing, outcome) in zip(connected, claimed, strict=True):
        assert failure(await device.update()) == RELEASED
        device.close()
        assert failure(await thing.try_to_register(outcome, owner.id)) == RELEASED
        assert refusal(await thing.refused(account_id=owner.id)) == ("4.03", "Enrollment ID not registered")
        receiver.enroll(thing.credential.certificate)
        assert (await thing.claimed()).bootstrap.server_uri.endswith(f"?aid={receiver.id}")
    assert receiver.device_count() == 2


async def test_acceptance_and_release_at_once_leave_one_owner_or_none(
    owner: Tenant, receiver: Tenant, manufacturer: Manufacturer
) -> None:
    for _ in range(5):
        thing = Thing.of(owner.instance, manufacturer)
        enrollment = owner.enroll(thing.credential.certificate)
        await thing.claimed()
        transfer = owner.offer(thing.endpoint_name, to=receiver)
        before = receiver.device_count()

        async def released(name: str = enrollment) -> bool:
            with contextlib.suppress(FtcError):
                await asyncio.to_thread(owner.release, name)
                return True
            return False

        async def accepted(name: str = transfer) -> Reason | None:
            try:
                await asyncio.to_thread(receiver.accept, name)
            except FtcError as error:
                return error.reason
            return None

        gone, reason = await asyncio.gather(released(), accepted())

        assert owner.devices() == []
        assert receiver.device_count() == before + (not gone)
        assert reason is (Reason.TRANSFER_OUTDATED if gone else None)
