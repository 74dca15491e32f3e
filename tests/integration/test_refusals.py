"""Devices that may not be claimed: what they are told, that nothing changes, and that most of it heals."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ftc_core.application.context import new_id, utc_now
from ftc_core.domain.account import AccountStatus
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant
from tests.things import Thing, claimed_thing, enrolled_thing


async def refused_without_effect(thing: Thing, *tenants: Tenant, account_id: str | None = None) -> str:
    """The code and text of the refusal; what the API shows of the tenants stays as it was."""
    before = [tenant.everything() for tenant in tenants]
    refusal = await thing.refused(account_id=account_id)
    assert [tenant.everything() for tenant in tenants] == before
    assert thing.instance.stored_device(thing.fingerprint) is None
    return f"{refusal.code} {refusal.text}".strip()


async def test_device_that_nobody_enrolled_is_claimed_once_it_is(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = Thing.of(owner.instance, manufacturer)

    assert await refused_without_effect(thing, owner) == "4.03 Enrollment ID not registered"

    owner.enroll(thing.credential.certificate)
    assert (await thing.claimed()).device_id


async def test_expired_enrollment_does_not_count(owner: Tenant, manufacturer: Manufacturer) -> None:
    thing = Thing.of(owner.instance, manufacturer)
    owner.enroll(thing.credential.certificate, expires_at=utc_now() + timedelta(seconds=0.3))
    await asyncio.sleep(0.35)

    refusal = await thing.refused()

    assert (refusal.code, refusal.text) == ("4.03", "Enrollment ID not registered")
    assert owner.devices() == []


async def test_ca_must_be_in_the_account_that_enrolled_the_device(
    instance: Instance, owner: Tenant, manufacturer: Manufacturer
) -> None:
    without_ca = instance.tenant()
    thing = enrolled_thing(without_ca, manufacturer)

    answer = await refused_without_effect(thing, without_ca, owner)

    assert answer == "4.00 Corresponding trusted certificate not in account"
    without_ca.trust(manufacturer)
    assert (await thing.claimed()).device_id


async def test_ca_without_enrollment_mode_does_not_let_first_to_claim_devices_in(
    instance: Instance, manufacturer: Manufacturer
) -> None:
    tenant = instance.tenant()
    tenant.trust(manufacturer, enrollment_mode=False)
    thing = enrolled_thing(tenant, manufacturer)

    answer = await refused_without_effect(thing, tenant)

    assert answer == "4.00 Corresponding trusted certificate not in account"


async def test_ca_that_nobody_uploaded_fails_the_handshake(owner: Tenant) -> None:
    thing = enrolled_thing(owner, Manufacturer("Nobody's CA"))

    answer = await refused_without_effect(thing, owner)

    assert answer == "Secure Connection Failed: unknown_ca"


async def test_suspended_account_claims_nothing(instance: Instance, manufacturer: Manufacturer) -> None:
    suspended = instance.tenant(status=AccountStatus.SUSPENDED)
    suspended.trust(manufacturer)
    thing = enrolled_thing(suspended, manufacturer)

    assert await refused_without_effect(thing, suspended) == "4.03 Account suspended"


async def test_endpoint_name_stands_for_one_certificate_in_an_account(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    first, _ = await claimed_thing(owner, manufacturer)
    second = Thing.of(owner.instance, manufacturer, first.endpoint_name)
    owner.enroll(second.credential.certificate)

    assert await refused_without_effect(second, owner) == "4.03 Duplicated device endpoint name"


async def test_endpoint_name_is_free_in_another_account(
    instance: Instance, owner: Tenant, manufacturer: Manufacturer
) -> None:
    first, _ = await claimed_thing(owner, manufacturer)
    other = instance.tenant()
    other.trust(manufacturer)
    second = Thing.of(instance, manufacturer, first.endpoint_name)
    other.enroll(second.credential.certificate)

    assert (await second.claimed()).device_id


async def test_quota_stops_the_next_device_but_not_one_that_is_counted(
    instance: Instance, manufacturer: Manufacturer
) -> None:
    tenant = instance.tenant(quota=1)
    tenant.trust(manufacturer)
    first, outcome = await claimed_thing(tenant, manufacturer)
    second = enrolled_thing(tenant, manufacturer)

    assert await refused_without_effect(second, tenant) == "4.03 Account device quota reached"
    assert (await first.claimed()).device_id == outcome.device_id
    assert tenant.device_count() == 1


async def test_two_devices_for_one_place_in_the_quota_are_one_claim_and_one_refusal(
    instance: Instance, manufacturer: Manufacturer
) -> None:
    tenant = instance.tenant(quota=1)
    tenant.trust(manufacturer)
    things = [enrolled_thing(tenant, manufacturer) for _ in range(6)]

    outcomes = await asyncio.gather(*(thing.bootstrap() for thing in things))

    texts = sorted(getattr(outcome, "text", "claimed") for outcome in outcomes)
    assert texts == ["Account device quota reached"] * 5 + ["claimed"]
    assert tenant.device_count() == 1


async def test_aid_of_another_account_is_refused(
    instance: Instance, owner: Tenant, manufacturer: Manufacturer
) -> None:
    other = instance.tenant()
    other.trust(manufacturer)
    thing = enrolled_thing(owner, manufacturer)

    answer = await refused_without_effect(thing, owner, other, account_id=other.id)

    assert answer == "4.03 Enrollment ID not registered"


async def test_aid_of_no_account_is_refused(owner: Tenant, manufacturer: Manufacturer) -> None:
    thing = enrolled_thing(owner, manufacturer)

    answer = await refused_without_effect(thing, owner, account_id=new_id())

    assert answer == "4.00 Corresponding trusted certificate not in account"


@pytest.mark.parametrize("aid", ["x", "0" * 31, "0" * 33, "G" * 32])
async def test_malformed_aid_is_refused(aid: str, owner: Tenant, manufacturer: Manufacturer) -> None:
    thing = enrolled_thing(owner, manufacturer)

    assert await refused_without_effect(thing, owner, account_id=aid) == "4.00 aid is not an account ID"


async def test_released_device_that_says_its_old_aid_is_refused(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = Thing.of(owner.instance, manufacturer)
    enrollment = owner.enroll(thing.credential.certificate)
    await thing.claimed()
    owner.release(enrollment)

    answer = await refused_without_effect(thing, owner, account_id=owner.id)

    assert answer == "4.03 Enrollment ID not registered"


async def test_device_refused_by_mistake_of_its_name_is_claimed_under_its_own(
    owner: Tenant, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(owner, manufacturer)
    before = owner.everything()

    refusal = await thing.refused(endpoint_name="somebody-else")

    assert (refusal.code, refusal.text) == ("4.00", "ep does not match the certificate")
    assert owner.everything() == before
    assert (await thing.claimed()).device_id
