"""Onboardings with a certificate by EST, over a network that does something to each datagram in turn.

As in `test_onboarding_network`: both cores of the product, real DTLS, simulated time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from ftc_core.device.client import Succeeded
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.registration import OperationDone
from ftc_core.domain.device import DeviceState
from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import VERSION_1_1
from tests.onboarding_site import Site
from tests.onboarding_world import World, together

V1_1 = ClientModel(version=VERSION_1_1, content_format=content.SENML_CBOR)
MODELS: Mapping[str, ClientModel] = {
    "Izuma": IZUMA,
    "LwM2M 1.1": V1_1,
    "LwM2M 1.1, DER wanted": replace(V1_1, certificate_format=287),
    "LwM2M 1.2, pack": ClientModel(version=VERSION_1_2, content_format=content.SENML_CBOR, packs=True),
}
SWAP_S, AFTER_RETRANSMISSION_S = 0.05, 4.0
"""As there."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with closing(Site(tmp_path_factory.mktemp("site"))) as made:
        yield made


def world_of(
    site: Site, name: str, *, fate: Mapping[int, Sequence[float]] | None = None, block_size: int = 256
) -> World:
    return World(site, fate=fate or {}, model=MODELS[name], block_size=block_size, enrolls=True)


def each_in_turn(site: Site, change: Sequence[float]) -> dict[str, World]:
    """Whole onboardings, each with the datagram of another number delivered as `change` says, all ended."""
    worlds = {}
    for name in MODELS:
        whole = world_of(site, name)
        together([whole.onboard()])
        for number in range(whole.datagrams):
            worlds[f"{name}, datagram {number}"] = world_of(site, name, fate={number: change})
    together(world.onboard() for world in worlds.values())
    return worlds


def check(worlds: Mapping[str, World]) -> None:
    """Each device was claimed once, bootstrapped in one attempt, got one certificate, and registered."""
    for case, world in worlds.items():
        assert isinstance(world.bootstrapped, Succeeded), (case, world.bootstrapped)
        assert isinstance(world.registered, OperationDone), (case, world.registered)
        device = world.stored()
        assert device.state is DeviceState.REGISTERED, case
        assert world.counts.claims == {"first": 1}, case
        assert world.counts.credentials == 1, case
        assert world.counts.enrolments == {("issued", ""): 1}, case
        assert world.counts.ended == {("completed", ""): 1}, case
        with world.site.store.view() as view:
            last = view.get_last_bootstrap(device.account_id, device.id)
        assert last is not None, case
        assert last.completed, case
        assert (last.steps[-1].name, last.steps[-1].code) == ("EST enrolment", "2.04"), case


def test_the_loss_of_any_one_datagram_is_made_good(site: Site) -> None:
    check(each_in_turn(site, ()))


def test_a_second_copy_of_any_one_datagram_changes_nothing(site: Site) -> None:
    check(each_in_turn(site, (0.0, 0.0, AFTER_RETRANSMISSION_S)))


@pytest.mark.parametrize("late_s", [SWAP_S, AFTER_RETRANSMISSION_S])
def test_any_one_datagram_may_be_overtaken(site: Site, late_s: float) -> None:
    check(each_in_turn(site, (late_s,)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("block_size", [64, 128, 256, 512, 1024])
def test_request_and_certificate_go_in_blocks_of_the_devices_size(
    site: Site, block_size: int, name: str
) -> None:
    world = world_of(site, name, block_size=block_size)
    together([world.onboard()])
    check({f"{name}, {block_size}-byte blocks": world})


def test_a_device_whose_association_lingers_bootstraps_anew(site: Site) -> None:
    """After an enrolment the server waits some seconds for a last block that is asked for again."""
    world = world_of(site, "Izuma")
    together([world.bootstrap()])
    first = world.bootstrapped
    together([world.bootstrap(same_port=True)])
    assert isinstance(first, Succeeded)
    assert isinstance(world.bootstrapped, Succeeded)
    one, other = first.outcome.lwm2m, world.bootstrapped.outcome.lwm2m
    assert one.public_key != other.public_key
    assert one.secret_key != other.secret_key
    assert world.counts.claims == {"first": 1, "again": 1}
    together([world.register()])
    assert isinstance(world.registered, OperationDone)
