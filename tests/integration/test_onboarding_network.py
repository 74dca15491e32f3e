"""One whole onboarding, handshakes included, over a network that does something to each datagram in turn.

Both cores of the product in simulated time (`onboarding_world`): every case is a device of its own, and all
cases of a test run side by side, since OpenSSL's retransmissions wait for the real clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from math import inf
from typing import TypedDict

import pytest

from ftc_core.device.client import BootstrapFailed, Succeeded
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.registration import OperationDone
from ftc_core.domain.device import DeviceState
from ftc_core.limits import COMMIT_QUEUE_RETRY_S
from ftc_core.lwm2m import content, lwm2m_cbor
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.storage.group_commit import GroupCommit
from tests.onboarding_site import Site
from tests.onboarding_world import World, together


class Habits(TypedDict, total=False):
    """What of a `World` depends on the device and its server."""

    block_size: int
    commit_s: float
    answer_delay_s: float
    model: ClientModel


MODELS: Mapping[str, ClientModel] = {
    "Izuma": IZUMA,
    "LwM2M 1.0": ClientModel(),
    "LwM2M 1.1": ClientModel(version=VERSION_1_1, content_format=content.SENML_CBOR),
    "LwM2M 1.2": ClientModel(version=VERSION_1_2, content_format=lwm2m_cbor.CONTENT_FORMAT),
    "LwM2M 1.2, pack": ClientModel(version=VERSION_1_2, content_format=content.SENML_CBOR, packs=True),
}
DEVICES: Mapping[str, Habits] = {
    **{name: {"model": model} for name, model in MODELS.items()},
    "slow and small": {"block_size": 256, "commit_s": 0.7, "answer_delay_s": 0.6},
}
"""With the last, both sides acknowledge first and answer later (RFC 7252 §5.2.2), and the device asks for
smaller blocks with its first 2.31 (RFC 7959 §2.3)."""

SWAP_S, AFTER_RETRANSMISSION_S = 0.05, 4.0
"""Later than its successor on a path of 20 ms; later than the first retransmission of DTLS and CoAP alike."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with closing(Site(tmp_path_factory.mktemp("site"))) as made:
        yield made


def each_in_turn(site: Site, change: Sequence[float]) -> dict[str, World]:
    """Whole onboardings, each with the datagram of another number delivered as `change` says, all ended."""
    worlds = {}
    for device, habits in DEVICES.items():
        whole = World(site, **habits)
        together([whole.onboard()])
        assert whole.datagrams >= 19
        for number in range(whole.datagrams):
            worlds[f"{device}, datagram {number}"] = World(site, fate={number: change}, **habits)
    together(world.onboard() for world in worlds.values())
    return worlds


def check(worlds: Mapping[str, World]) -> None:
    """Each device was claimed once, bootstrapped in one attempt, and registered."""
    for case, world in worlds.items():
        assert isinstance(world.bootstrapped, Succeeded), (case, world.bootstrapped)
        assert isinstance(world.registered, OperationDone), (case, world.registered)
        device = world.stored()
        assert device.state is DeviceState.REGISTERED, case
        assert device.bootstrapped_at is not None, case
        assert world.claims() == 1, case
        assert world.counts.claims == {"first": 1}, case
        assert world.counts.ended == {("completed", ""): 1}, case


def test_the_loss_of_any_one_datagram_is_made_good(site: Site) -> None:
    check(each_in_turn(site, ()))


def test_a_second_copy_of_any_one_datagram_changes_nothing(site: Site) -> None:
    """Neither one right behind it nor one that comes much later."""
    check(each_in_turn(site, (0.0, 0.0, AFTER_RETRANSMISSION_S)))


@pytest.mark.parametrize("late_s", [SWAP_S, AFTER_RETRANSMISSION_S])
def test_any_one_datagram_may_be_overtaken(site: Site, late_s: float) -> None:
    check(each_in_turn(site, (late_s,)))


@pytest.mark.parametrize("same_port", [False, True], ids=["new port", "same port, no close_notify"])
@pytest.mark.parametrize("power_off_after_s", [inf, 1.0], ids=["after a success", "amid the writes"])
def test_a_device_that_bootstraps_again_within_a_minute_may_use_the_same_message_ids(
    site: Site, same_port: bool, power_off_after_s: float
) -> None:
    """EXCHANGE_LIFETIME is 247 s, but message IDs are remembered per association, not per address."""
    world = World(site, answer_delay_s=0.4)
    together([world.bootstrap(power_off_after_s=power_off_after_s)])
    assert isinstance(world.bootstrapped, Succeeded) == (power_off_after_s == inf)
    assert world.counts.credentials == 1
    together([world.pass_time(30.0)])
    started = world.now
    together([world.bootstrap(same_port=same_port)])
    assert isinstance(world.bootstrapped, Succeeded)
    assert world.now - started < 3.0  # an answer from another conversation would have cost a retransmission
    assert world.claims() == 1
    assert world.counts.claims == {"first": 1, "again": 1}
    together([world.register()])
    assert isinstance(world.registered, OperationDone)


@pytest.mark.parametrize("block_size", [16, 32, 64, 128, 256, 512, 1024])
def test_a_device_takes_the_writes_in_blocks_of_its_own_size(site: Site, block_size: int) -> None:
    world = World(site, block_size=block_size)
    together([world.onboard()])
    check({f"{block_size}-byte blocks": world})


def test_a_full_commit_queue_puts_a_device_off_for_as_long_as_it_says_and_denies_it_nothing(
    site: Site,
) -> None:
    world = World(site)
    queue = GroupCommit(site.store, max_queue=0)
    world.full_queue = queue
    together([world.bootstrap()])
    queue.close()
    put_off = world.bootstrapped
    assert isinstance(put_off, BootstrapFailed)
    assert (put_off.code, put_off.text, put_off.retry_after_s) == ("5.03", "Overloaded", COMMIT_QUEUE_RETRY_S)
    assert world.refusals == []

    world.full_queue = None
    together([world.pass_time(put_off.retry_after_s)])
    together([world.onboard()])
    assert isinstance(world.registered, OperationDone)
    assert world.claims() == 1


# --- round trips -----------------------------------------------------------------------------------------

HANDSHAKE, REQUEST = 3, 1
"""ClientHello and cookie, ClientHello and certificates, certificate and Finished (RFC 6347 §4.2.4).
Right behind the answer to a Bootstrap-Request comes our first request."""

OURS = {
    "Izuma": 5,  # Delete /0, Write /0/0, /1/0, /0/1, Finish
    "LwM2M 1.0": 7,  # Delete /0, Discover, three writes (the server's own certificate: two blocks), Finish
    "LwM2M 1.1": 7,  # the same; two blocks because of its format, SenML CBOR
    "LwM2M 1.2": 6,
    "LwM2M 1.2, pack": 1,  # its second block
}


@pytest.mark.parametrize("name", MODELS)
def test_an_onboarding_takes_no_more_round_trips_than_it_has_requests(site: Site, name: str) -> None:
    """docs/performance.md states the sums. Time stands still but for the path of 50 ms one way."""
    world = World(site, one_way_s=0.05, commit_s=0.0, model=MODELS[name])
    started = world.now
    together([world.bootstrap()])
    assert isinstance(world.bootstrapped, Succeeded)
    assert (world.now - started) / 0.1 == pytest.approx(HANDSHAKE + REQUEST + OURS[name])
    started = world.now
    together([world.register()])
    assert isinstance(world.registered, OperationDone)
    assert (world.now - started) / 0.1 == pytest.approx(HANDSHAKE + REQUEST)
