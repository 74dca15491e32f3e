"""Onboarding over real sockets: claim, bootstrap, registration, and what the API shows of them."""

from __future__ import annotations

import asyncio

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import NameOID

from ftc_core.device.client import BootstrapOutcome, Succeeded
from ftc_core.domain.device import DeviceState
from ftc_core.limits import CREDENTIAL_DER_MAX_BYTES
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, eventually
from tests.things import Thing, claimed_thing, enrolled_thing


def subject(outcome: BootstrapOutcome) -> list[str]:
    """CN, L and OU of the LwM2M client certificate."""
    certificate = x509.load_der_x509_certificate(outcome.lwm2m.public_key or b"")
    kinds = (NameOID.COMMON_NAME, NameOID.LOCALITY_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
    return [str(one.value) for kind in kinds for one in certificate.subject.get_attributes_for_oid(kind)]


async def reaches(tenant: Tenant, thing: Thing, state: DeviceState) -> None:
    await asyncio.to_thread(
        eventually, lambda: tenant.state(thing.endpoint_name) is state, f"the API shows {state}"
    )


async def test_the_api_shows_each_state_of_a_device(owner: Tenant, manufacturer: Manufacturer) -> None:
    thing = enrolled_thing(owner, manufacturer)
    assert owner.state(thing.endpoint_name) is None

    bootstrap = asyncio.create_task(thing.claimed(answer_delay_s=0.1))
    await reaches(owner, thing, DeviceState.CLOUD_ENROLLING)
    outcome = await bootstrap
    await reaches(owner, thing, DeviceState.BOOTSTRAPPED)
    registered = await thing.registered(outcome, owner.id)

    device = owner.device(thing.endpoint_name)
    assert device is not None
    assert DeviceState(device.State.Name(device.state)) is DeviceState.REGISTERED
    assert device.id == outcome.device_id
    assert device.claimed_at.seconds <= device.bootstrapped_at.seconds <= device.registered_at.seconds
    assert registered.location == f"/rd/{owner.id}/{device.id}"
    registered.close()


async def test_device_gets_both_accounts_with_aid_and_credentials_of_its_own(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing, outcome = await claimed_thing(owner, manufacturer)

    aid = f"?aid={owner.id}"
    assert outcome.lwm2m.server_uri == "coaps://localhost:{}{}".format(
        owner.instance.address("lwm2m")[1], aid
    )
    assert outcome.bootstrap.server_uri.endswith(":{}{}".format(owner.instance.address("bootstrap")[1], aid))
    assert outcome.bootstrap.server_public_key == owner.instance.server_ca
    assert outcome.bootstrap.public_key == thing.credential.der
    assert subject(outcome) == [thing.endpoint_name, outcome.device_id, owner.id]
    assert len(outcome.lwm2m.public_key or b"") <= CREDENTIAL_DER_MAX_BYTES


@pytest.mark.parametrize("block_size", [16, 64, 256, 1_024])
async def test_writes_arrive_whole_at_a_device_that_takes_small_blocks(
    block_size: int, owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)

    outcome = await thing.claimed(block_size=block_size)

    certificate = x509.load_der_x509_certificate(outcome.lwm2m.public_key or b"")
    key = load_der_private_key(outcome.lwm2m.secret_key or b"", password=None)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(owner.instance.directory.issuing_ca.certificate)


async def test_device_that_takes_its_time_for_each_answer_is_waited_for(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)

    done = await thing.bootstrap(answer_delay_s=0.25)

    assert isinstance(done, Succeeded)
    assert [step.name for step in done.steps] == [
        "Bootstrap-Request",
        "Bootstrap-Delete /0",
        "Bootstrap-Write /0/0",
        "Bootstrap-Write /1/0",
        "Bootstrap-Write /0/1",
        "Bootstrap-Finish",
    ]
    # Four answers were late: each step began only when the one before it was answered.
    assert done.steps[-1].started_at - done.steps[1].started_at >= 4 * 0.25


@pytest.mark.parametrize("with_account", [True, False], ids=["with aid", "after a factory reset"])
async def test_bootstrapping_again_keeps_the_device_and_counts_once(
    with_account: bool, owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing, first = await claimed_thing(owner, manufacturer)
    before = owner.device(thing.endpoint_name)

    second = await thing.claimed(account_id=owner.id if with_account else None)

    after = owner.device(thing.endpoint_name)
    assert before is not None
    assert after is not None
    assert second.device_id == first.device_id == after.id == before.id
    assert after.claimed_at == before.claimed_at
    assert owner.device_count() == 1
    assert subject(second) == subject(first)
    assert second.lwm2m.secret_key != first.lwm2m.secret_key


async def test_device_without_enrollment_is_pre_assigned_by_aid_and_a_plain_ca(
    instance: Instance, manufacturer: Manufacturer
) -> None:
    factory_customer = instance.tenant()
    factory_customer.trust(manufacturer, enrollment_mode=False)
    thing = Thing.of(instance, manufacturer)

    outcome = await thing.claimed(account_id=factory_customer.id)

    device = factory_customer.device(thing.endpoint_name)
    assert device is not None
    assert device.id == outcome.device_id


async def test_many_devices_at_once_are_all_claimed(owner: Tenant, manufacturer: Manufacturer) -> None:
    things = [enrolled_thing(owner, manufacturer) for _ in range(12)]

    outcomes = await asyncio.gather(*(thing.claimed() for thing in things))

    assert {outcome.device_id for outcome in outcomes} == {device.id for device in owner.devices()}
    assert owner.device_count() == len(things)


async def test_device_behind_an_intermediate_ca_is_claimed(instance: Instance) -> None:
    root = Manufacturer("Root of a chain")
    line = Manufacturer("Production line", issuer=root, path_length=0)
    tenant = instance.tenant()
    tenant.trust(line)
    thing = enrolled_thing(tenant, line)

    outcome = await thing.claimed()

    assert outcome.device_id == tenant.devices()[0].id
