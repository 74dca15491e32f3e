"""Clients by the book of LwM2M 1.0, 1.1 and 1.2 over real sockets, in every content format, to registration.

They pin the server as their versions say: by its own certificate, or by its CA where resource 15 says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from cryptography import x509

from ftc_core.device.client import Succeeded
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.domain.device import DeviceState
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.objects import CertificateUsage
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, eventually
from tests.things import enrolled_thing

MODELS = {
    "Izuma's": IZUMA,
    "1.0": ClientModel(),
    "1.0, bootstrap account at /0/1": ClientModel(bootstrap_instance=1),
    "1.0 without Discover": ClientModel(discovers=False, bootstrap_instance=1, pins_certificate=False),
    "1.1": ClientModel(version=VERSION_1_1, content_format=112),
    "1.1 without Discover": ClientModel(
        version=VERSION_1_1, content_format=110, discovers=False, bootstrap_instance=1
    ),
    "1.2": ClientModel(version=VERSION_1_2, content_format=11544),
    "1.2 by Bootstrap-Pack": ClientModel(version=VERSION_1_2, packs=True),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_a_client_of_each_kind_is_onboarded(
    model: ClientModel, owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)

    outcome = await thing.claimed(model=model)
    registered = await thing.registered(outcome, owner.id, model=model)

    device = owner.device(thing.endpoint_name)
    assert device is not None
    assert DeviceState(device.State.Name(device.state)) is DeviceState.REGISTERED
    assert device.lwm2m_version == model.version_text
    assert outcome.lwm2m.server_uri.endswith(f"?aid={owner.id}")
    assert outcome.lwm2m.short_server_id == outcome.server.short_server_id == 1
    if not model.packs:
        assert outcome.device_id == device.id
        assert outcome.bootstrap.server_uri.endswith(f"?aid={owner.id}")
        assert outcome.bootstrap.secret_key, "its bootstrap key is what it was"
    registered.close()


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_a_client_of_each_kind_may_bootstrap_again(
    model: ClientModel, owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)
    first = await thing.claimed(model=model)
    again = await thing.claimed(model=model, account_id=owner.id)
    assert again.device_id == first.device_id
    assert again.lwm2m.secret_key != first.lwm2m.secret_key, "fresh credentials"


@pytest.mark.parametrize("block_size", [64, 1_024])
@pytest.mark.parametrize("content_format", [99, 11542, 112, 110, 11544])
async def test_each_content_format_arrives_in_blocks_of_any_size(
    content_format: int, block_size: int, owner: Tenant, manufacturer: Manufacturer
) -> None:
    model = ClientModel(version=VERSION_1_2, content_format=content_format)
    outcome = await enrolled_thing(owner, manufacturer).claimed(model=model, block_size=block_size)
    x509.load_der_x509_certificate(outcome.lwm2m.public_key or b"")


@pytest.mark.parametrize("block_size", [64, 1_024])
@pytest.mark.parametrize("content_format", [112, 110, 11544])
async def test_a_pack_arrives_in_blocks_and_the_device_is_bootstrapped_without_a_finish(
    content_format: int, block_size: int, owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)
    model = ClientModel(version=VERSION_1_2, packs=True, content_format=content_format)

    done = await thing.bootstrap(model=model, block_size=block_size)

    assert isinstance(done, Succeeded)
    assert [(step.name, step.code) for step in done.steps] == [("Bootstrap-Pack-Request", "2.05")]
    await asyncio.to_thread(
        eventually,
        lambda: owner.state(thing.endpoint_name) is DeviceState.BOOTSTRAPPED,
        "the API shows it",
    )


async def test_each_client_is_given_what_it_verifies_the_server_by(
    instance: Instance, owner: Tenant, manufacturer: Manufacturer
) -> None:
    async def given(model: ClientModel) -> tuple[bool, int | None]:
        """Whether resource 4 is the server CA, and resource 15."""
        outcome = await enrolled_thing(owner, manufacturer).claimed(model=model)
        return outcome.lwm2m.server_public_key == instance.server_ca, outcome.lwm2m.certificate_usage

    assert await given(MODELS["Izuma's"]) == (True, None)
    assert await given(MODELS["1.0"]) == (False, None)
    assert await given(MODELS["1.1"]) == (True, CertificateUsage.TRUST_ANCHOR_ASSERTION)
    assert await given(MODELS["1.2 by Bootstrap-Pack"]) == (True, CertificateUsage.TRUST_ANCHOR_ASSERTION)
    # Not known where it has its account, nor what it can do: as one of Izuma's family.
    assert await given(MODELS["1.0 without Discover"]) == (True, None)


async def test_a_client_that_ignores_discover_without_izumas_token_is_served_after_a_moment(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)
    done = await thing.bootstrap(model=replace(IZUMA, token_bytes=8))
    assert isinstance(done, Succeeded)
    ended = done.steps[-1].ended_at
    assert ended is not None
    assert 1.5 <= ended - done.steps[0].started_at < 2.5
