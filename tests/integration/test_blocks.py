"""Blocked devices and CAs against the running server: what each device meets, from the API's answer on.

No worker keeps what is blocked: each handshake, claim, register and update reads the store. Hence these tests
do not wait between the answer and the device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ftc_core.device.client import BootstrapFailed
from ftc_core.device.registration import OperationDone, OperationFailed
from ftc_core.domain.device import DeviceState
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.account_pb2 import ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateApiKeyRequest
from ftc_grpc._gen.ftc.v1.block_pb2 import (
    Block,
    BlockDeviceRequest,
    BlockTrustedCertificateRequest,
    ListBlocksRequest,
    UnblockDeviceRequest,
    UnblockTrustedCertificateRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc._gen.ftc.v1.explain_pb2 import ExplainClaimRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    GetTrustedCertificateRequest,
    ListTrustedCertificatesRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import DeviceEvent, WatchDevicesRequest
from ftc_grpc.client import ApiClient
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, make_data_directory, running_instance
from tests.things import Thing, claimed_thing, enrolled_thing

REVOKED = "Secure Connection Failed: certificate_revoked"


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no other account holds."""
    return Manufacturer(f"Factory {uuid4()}")


@pytest.fixture
def tenant(instance: Instance, factory: Manufacturer) -> Tenant:
    tenant = instance.tenant()
    tenant.trust(factory)
    return tenant


@pytest.fixture
def owner(instance: Instance, tenant: Tenant) -> Iterator[ApiClient]:
    """The API with a key of the account's administrator."""
    request = CreateApiKeyRequest(parent=tenant.name, api_key=ApiKey(role=ApiKey.ADMIN))
    secret = instance.api.call(instance.api.accounts.CreateApiKey, request).secret
    with ApiClient(
        "{}:{}".format(*instance.address("grpc")),
        api_key=secret,
        ca_pem=instance.directory.server_ca_file.read_bytes(),
    ) as api:
        yield api


def identity(thing: Thing) -> str:
    return format_enrollment_id(thing.fingerprint)


def block(api: ApiClient, thing: Thing, note: str = "") -> Block:
    return api.call(
        api.devices.BlockDevice, BlockDeviceRequest(enrollment_identity=identity(thing), note=note)
    )


def unblock(api: ApiClient, thing: Thing) -> None:
    api.call(api.devices.UnblockDevice, UnblockDeviceRequest(enrollment_identity=identity(thing)))


def only_certificate(tenant: Tenant) -> str:
    api = tenant.instance.api
    request = ListTrustedCertificatesRequest(parent=tenant.name)
    [found] = api.call(api.trusted_certificates.ListTrustedCertificates, request).trusted_certificates
    return found.name


async def refusal(thing: Thing) -> str:
    refused = await thing.refused()
    return f"{refused.code} {refused.text}".strip()


async def test_a_device_that_the_operator_blocks_fails_the_next_handshake_until_it_is_unblocked(
    instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)
    for _ in range(2):
        placed = block(instance.api, thing, "counterfeit")
        assert (placed.account_id, placed.kind, placed.note) == ("", Block.DEVICE, "counterfeit")
        assert await refusal(thing) == REVOKED
        unblock(instance.api, thing)
        assert (await thing.claimed()).device_id


async def test_a_device_that_its_owner_blocks_is_told_so(
    tenant: Tenant, factory: Manufacturer, owner: ApiClient
) -> None:
    thing, _ = await claimed_thing(tenant, factory)
    placed = block(owner, thing)
    assert placed.account_id == tenant.id
    assert await refusal(thing) == "4.03 Device blocked"
    refused = await thing.refused(account_id=tenant.id)
    assert refused.text == "Device blocked"
    unblock(owner, thing)
    assert (await thing.claimed()).device_id


@pytest.mark.parametrize("by_operator", [True, False])
async def test_a_registered_device_loses_its_registration_and_gets_it_back(
    instance: Instance, tenant: Tenant, factory: Manufacturer, owner: ApiClient, by_operator: bool
) -> None:
    thing, outcome = await claimed_thing(tenant, factory)
    device = await thing.registered(outcome, tenant.id)
    api = instance.api if by_operator else owner

    block(api, thing)

    assert tenant.state(thing.endpoint_name) is DeviceState.DEREGISTERED
    update = await device.update()
    again = await thing.try_to_register(outcome, tenant.id)
    for refused in (update, again):
        assert isinstance(refused, OperationFailed)
        assert (refused.code, refused.text) == ("4.03", "Device blocked")
    device.close()
    unblock(api, thing)
    device = await thing.registered(outcome, tenant.id)
    assert isinstance(await device.update(), OperationDone)
    assert tenant.state(thing.endpoint_name) is DeviceState.REGISTERED
    device.close()


async def test_the_pages_of_device_and_certificate_tell_who_blocks_and_keep_the_operators_reasons(
    instance: Instance, tenant: Tenant, factory: Manufacturer, owner: ApiClient
) -> None:
    thing, outcome = await claimed_thing(tenant, factory)
    block(instance.api, thing, "case 1207")
    block(owner, thing, "stolen")
    request = BlockTrustedCertificateRequest(name=only_certificate(tenant), note="leaked")
    owner.call(owner.trusted_certificates.BlockTrustedCertificate, request)

    page = GetDeviceRequest(name=f"{tenant.name}/devices/{outcome.device_id}")
    seen = owner.call(owner.devices.GetDevice, page).blocks
    assert [(one.account_id, one.note) for one in seen] == [
        ("", ""),
        (tenant.id, "stolen"),
        (tenant.id, "leaked"),
    ]
    told = instance.api.call(instance.api.devices.GetDevice, page).blocks
    assert [one.note for one in told] == ["case 1207", "stolen", "leaked"]
    ca = GetTrustedCertificateRequest(name=only_certificate(tenant))
    [standing] = owner.call(owner.trusted_certificates.GetTrustedCertificate, ca).blocks
    assert (standing.kind, standing.enrollment_identity) == (Block.CERTIFICATE_AUTHORITY, "")
    mine = owner.call(owner.devices.ListBlocks, ListBlocksRequest()).blocks
    assert {one.note for one in mine} == {"stolen", "leaked"}
    devices = owner.call(owner.devices.ListBlocks, ListBlocksRequest(filter="kind = DEVICE")).blocks
    assert [one.enrollment_identity for one in devices] == [identity(thing)]


async def test_a_ca_that_the_operator_blocks_fails_handshakes_and_updates_until_it_is_unblocked(
    instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    api = instance.api
    thing, outcome = await claimed_thing(tenant, factory)
    device = await thing.registered(outcome, tenant.id)
    name = only_certificate(tenant)

    api.call(api.trusted_certificates.BlockTrustedCertificate, BlockTrustedCertificateRequest(name=name))

    assert await refusal(thing) == REVOKED
    update = await device.update()
    assert isinstance(update, OperationFailed)
    assert (update.code, update.text) == ("4.03", "Issuing certificate blocked")
    device.close()
    lift = UnblockTrustedCertificateRequest(name=name)
    api.call(api.trusted_certificates.UnblockTrustedCertificate, lift)
    (await thing.registered(await thing.claimed(), tenant.id)).close()


async def test_a_ca_that_an_account_blocks_is_good_in_the_next_one(
    instance: Instance, tenant: Tenant, factory: Manufacturer, owner: ApiClient
) -> None:
    mine = enrolled_thing(tenant, factory)
    other = instance.tenant()
    other.trust(factory)
    theirs = enrolled_thing(other, factory)
    request = BlockTrustedCertificateRequest(name=only_certificate(tenant))

    owner.call(owner.trusted_certificates.BlockTrustedCertificate, request)

    assert await refusal(mine) == "4.03 Issuing certificate blocked"
    assert (await theirs.claimed()).device_id


async def test_the_owners_watch_tells_of_blocks_by_either_party(
    instance: Instance, tenant: Tenant, factory: Manufacturer, owner: ApiClient
) -> None:
    thing, outcome = await claimed_thing(tenant, factory)
    start = owner.call(owner.devices.ListDevices, ListDevicesRequest()).revision + 1
    block(instance.api, thing)
    block(owner, thing)
    unblock(owner, thing)

    told: list[str] = []
    watching = owner.stream(owner.devices.WatchDevices, WatchDevicesRequest(start_revision=start))
    for response in watching:
        kinds = [DeviceEvent.Kind.Name(event.kind) for event in response.events]
        told += [kind for kind in kinds if kind != "BOOTSTRAPPED"]
        if len(told) == 3:
            break
    assert told == ["BLOCKED", "BLOCKED", "UNBLOCKED"]
    assert outcome.device_id


def test_a_block_that_is_only_judged_blocks_nothing(
    instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)
    request = BlockDeviceRequest(enrollment_identity=identity(thing), validate_only=True)
    assert instance.api.call(instance.api.devices.BlockDevice, request).kind == Block.DEVICE
    assert asyncio.run(thing.claimed()).device_id


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, Reason.FIELD_REQUIRED, "name"),
        ({"name": "accounts/x"}, Reason.RESOURCE_NAME_INVALID, "name"),
        ({"enrollment_identity": "B-00"}, Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED, "enrollment_identity"),
        (
            {"name": "x", "enrollment_identity": "A-00"},
            Reason.FIELD_INVALID,
            "enrollment_identity",
        ),
        (
            {"enrollment_identity": "A-" + ":".join(["00"] * 32), "note": "x" * 501},
            Reason.FIELD_INVALID,
            "note",
        ),
    ],
)
def test_a_block_of_nothing_is_refused_and_named(
    instance: Instance, fields: dict[str, str], reason: Reason, field: str
) -> None:
    with pytest.raises(FtcError) as refused:
        instance.api.call(instance.api.devices.BlockDevice, BlockDeviceRequest(**fields))  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_a_fingerprint_that_is_none_is_refused(instance: Instance) -> None:
    request = BlockTrustedCertificateRequest(certificate_fingerprint="abc")
    with pytest.raises(FtcError) as refused:
        instance.api.call(instance.api.trusted_certificates.BlockTrustedCertificate, request)
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "certificate_fingerprint")


def test_a_blocked_ca_keeps_nobody_from_an_explanation_by_another(
    instance: Instance, tenant: Tenant, factory: Manufacturer, owner: ApiClient
) -> None:
    """By its identity alone a device might be of either CA."""
    tenant.trust(Manufacturer(f"Second factory {uuid4()}"))
    thing = enrolled_thing(tenant, factory)
    listed = owner.call(owner.trusted_certificates.ListTrustedCertificates, ListTrustedCertificatesRequest())
    for number, certificate in enumerate(listed.trusted_certificates, start=1):
        request = BlockTrustedCertificateRequest(name=certificate.name)
        owner.call(owner.trusted_certificates.BlockTrustedCertificate, request)
        question = ExplainClaimRequest(
            parent=tenant.name, enrollment_identity=identity(thing), endpoint_name=thing.endpoint_name
        )
        answer = owner.call(owner.device_enrollments.ExplainClaim, question)
        assert answer.granted is (number == 1)


async def test_a_released_device_takes_no_block_of_its_owner_along(
    instance: Instance, factory: Manufacturer, tenant: Tenant, owner: ApiClient
) -> None:
    thing = Thing.of(instance, factory)
    enrollment = tenant.enroll(thing.credential.certificate)
    await thing.claimed()
    block(owner, thing)
    tenant.release(enrollment)
    buyer = instance.tenant()
    buyer.trust(factory)
    buyer.enroll(thing.credential.certificate)
    assert (await thing.claimed()).lwm2m
    assert buyer.device(thing.endpoint_name) is not None


def test_a_block_holds_in_every_worker_from_the_answer_on(tmp_path: Path) -> None:
    """The kernel spreads the attempts, each from a port of its own, over the workers."""
    factory = Manufacturer("Factory")
    with running_instance(make_data_directory(tmp_path / "data"), "--workers=3") as instance:
        tenant = instance.tenant()
        tenant.trust(factory)
        thing = enrolled_thing(tenant, factory)
        block(instance.api, thing)

        attempts = asyncio.run(_attempts(thing, 12))

        assert {attempt.text for attempt in attempts} == {REVOKED}
        unblock(instance.api, thing)
        assert asyncio.run(thing.claimed()).device_id


async def _attempts(thing: Thing, number: int) -> list[BootstrapFailed]:
    return [await thing.refused() for _ in range(number)]
