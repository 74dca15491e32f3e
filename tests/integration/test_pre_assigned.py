"""Devices that say an account (`aid`): pre-assigned at the factory, or bootstrapped before (PRODUCT §1)."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from ftc_core.application.context import new_id
from ftc_core.device.client import BootstrapOutcome, Succeeded
from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.device import Device
from ftc_core.lwm2m.messages import dotted
from tests.certificates import Manufacturer
from tests.raw_peer import POST, uri
from tests.worker import LocalThing, Workshop

NOT_REGISTERED = "4.03 Enrollment ID not registered"
NOT_IN_ACCOUNT = "4.00 Corresponding trusted certificate not in account"


@pytest.fixture
def factory() -> Manufacturer:
    return Manufacturer("Pre-assigning CA")


@pytest.fixture
def owner(workshop: Workshop, factory: Manufacturer) -> Account:
    """An account whose CA pre-assigns devices: without enrollment_mode."""
    return account_of(workshop, factory)


def account_of(workshop: Workshop, factory: Manufacturer, **more: object) -> Account:
    account = workshop.scene.account(**more)  # type: ignore[arg-type]
    workshop.trust(factory, account, enrollment_mode=False)
    return account


async def claimed(thing: LocalThing, *, account_id: str = "", device_id: str = "") -> BootstrapOutcome:
    done = await thing.bootstrap(account_id=account_id, device_id=device_id)
    assert isinstance(done, Succeeded), done
    return done.outcome


def stored(workshop: Workshop, thing: LocalThing) -> Device:
    device, last = workshop.found(thing)
    assert device is not None
    assert last is not None
    assert last.completed
    return device


# --- pre-assigned --------------------------------------------------------------------------------------


async def test_pre_assigned_device_needs_no_enrollment(
    workshop: Workshop, factory: Manufacturer, owner: Account
) -> None:
    thing = workshop.thing(ca=factory)

    async with workshop.running():
        outcome = await claimed(thing, account_id=owner.id)

    device = stored(workshop, thing)
    assert (device.account_id, device.enrollment_id) == (owner.id, None)
    assert outcome.device_id == device.id
    for written in (outcome.lwm2m, outcome.bootstrap):
        assert urlsplit(written.server_uri).query == f"aid={owner.id}"


async def test_pre_assigned_device_is_nobody_s_without_its_aid(
    workshop: Workshop, factory: Manufacturer, owner: Account
) -> None:
    thing = workshop.thing(ca=factory)

    async with workshop.running():
        assert await thing.sees() == NOT_REGISTERED

    assert workshop.found(thing) == (None, None)


async def test_account_of_a_pre_assigned_device_must_be_active(
    workshop: Workshop, factory: Manufacturer
) -> None:
    suspended = account_of(workshop, factory, status=AccountStatus.SUSPENDED)

    async with workshop.running():
        assert await workshop.thing(ca=factory).sees(account_id=suspended.id) == "4.03 Account suspended"


async def test_pre_assigned_devices_have_names_of_their_own_and_count_against_the_quota(
    workshop: Workshop, factory: Manufacturer
) -> None:
    small = account_of(workshop, factory, quota=1)
    first, twin, second = (workshop.thing(name, ca=factory) for name in ("pump", "pump", "valve"))

    async with workshop.running():
        assert await first.sees(account_id=small.id) == "claimed"
        assert await twin.sees(account_id=small.id) == "4.03 Duplicated device endpoint name"
        assert await second.sees(account_id=small.id) == "4.03 Account device quota reached"
        assert await first.sees(account_id=small.id) == "claimed"


# --- an account where devices are first-to-claim --------------------------------------------------------


async def test_where_the_ca_is_for_enrolled_devices_the_aid_alone_does_not_do(workshop: Workshop) -> None:
    thing, account_id = workshop.thing(), workshop.account.id

    async with workshop.running():
        assert await thing.sees(account_id=account_id) == NOT_REGISTERED
    workshop.enroll(thing)
    async with workshop.running():
        assert await thing.sees(account_id=account_id) == "claimed"


async def test_enrollment_must_stand_in_the_very_account_that_the_device_names(workshop: Workshop) -> None:
    other = workshop.scene.account()
    workshop.trust(workshop.manufacturer, other)
    thing = workshop.enroll(workshop.thing())

    async with workshop.running():
        assert await thing.sees(account_id=other.id) == NOT_REGISTERED
        assert await thing.sees(account_id=workshop.account.id) == "claimed"


@pytest.mark.parametrize("aid", ["without the CA", "of nobody"])
async def test_account_must_exist_and_hold_the_ca(aid: str, workshop: Workshop) -> None:
    account_id = workshop.scene.account().id if aid == "without the CA" else new_id()
    thing = workshop.enroll(workshop.thing())

    async with workshop.running():
        assert await thing.sees(account_id=account_id) == NOT_IN_ACCOUNT

    assert workshop.found(thing) == (None, None)


@pytest.mark.parametrize("aid", ["x", "0" * 31, "0" * 33, "A" * 32, "0" * 31 + "g", "-" * 32])
async def test_malformed_aid_is_told_so(aid: str, workshop: Workshop) -> None:
    thing = workshop.enroll(workshop.thing())

    async with workshop.running():
        assert await thing.sees(account_id=aid) == "4.00 aid is not an account ID"

    assert workshop.found(thing) == (None, None)


# --- bootstrapping again ---------------------------------------------------------------------------------


async def test_device_comes_back_with_what_it_was_given_and_is_the_same_device_with_fresh_credentials(
    workshop: Workshop,
) -> None:
    thing = workshop.enroll(workshop.thing())

    async with workshop.running():
        first = await claimed(thing)
        given = urlsplit(first.bootstrap.server_uri)
        aid = parse_qs(given.query)["aid"][0]
        again = await claimed(thing, account_id=aid, device_id=first.device_id)

    assert aid == workshop.account.id
    assert again.device_id == first.device_id
    assert again.lwm2m.secret_key != first.lwm2m.secret_key
    assert stored(workshop, thing).id == first.device_id
    with workshop.scene.store.view() as view:
        assert view.count_devices(workshop.account.id) == 1
        assert [entry.kind for entry in view.ledger(thing.fingerprint)] == ["CLAIMED"]


async def test_iep_of_another_device_changes_nothing(workshop: Workshop) -> None:
    thing, other = (workshop.enroll(workshop.thing()) for _ in range(2))

    async with workshop.running():
        own, others = await claimed(thing), await claimed(other)
        again = await claimed(thing, account_id=workshop.account.id, device_id=others.device_id)

    assert again.device_id == own.device_id


async def test_pre_assigned_device_comes_back_with_its_aid(
    workshop: Workshop, factory: Manufacturer, owner: Account
) -> None:
    thing = workshop.thing(ca=factory)

    async with workshop.running():
        first = await claimed(thing, account_id=owner.id)
        again = await claimed(thing, account_id=owner.id, device_id=first.device_id)
        assert await thing.sees() == NOT_REGISTERED

    assert again.device_id == first.device_id


async def test_parameters_come_in_any_order_with_others_between(workshop: Workshop) -> None:
    thing = workshop.enroll(workshop.thing())
    query = [
        b"mccv=4.13.2",
        b"x",
        b"iep=" + new_id().encode(),
        b"lt=60",
        b"aid=" + workshop.account.id.encode(),
        b"=",
        b"ep=" + thing.endpoint_name.encode(),
        b"utm=a=b",
    ]

    def ask() -> str:
        with thing.peer() as peer:
            return dotted(peer.connect().ask(POST, uri("/bs", *query)))

    async with workshop.running():
        assert await asyncio.to_thread(ask) == "2.04"

    device, _ = workshop.found(thing)
    assert device is not None
    assert device.client_version == "4.13.2"
