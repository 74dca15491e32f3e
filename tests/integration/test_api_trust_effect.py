"""What the API says of trust, quota and status is what the next device meets, in a process of its own.

No worker keeps trust: each handshake and each claim reads the store, so what the API has answered holds for
the very next device. Hence these tests do not wait between the answer and the device.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import UpdateAccountRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    DeleteTrustedCertificateRequest,
    ListTrustedCertificatesRequest,
    UpdateTrustedCertificateRequest,
)
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant
from tests.things import Thing, claimed_thing, enrolled_thing

UNKNOWN_CA = "Secure Connection Failed: unknown_ca"


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no other account holds, with a name that no other has: what its device meets is due to it."""
    return Manufacturer(f"Factory {uuid4()}")


@pytest.fixture
def tenant(instance: Instance, factory: Manufacturer) -> Tenant:
    tenant = instance.tenant()
    tenant.trust(factory)
    return tenant


def only_certificate(tenant: Tenant) -> TrustedCertificate:
    api = tenant.instance.api
    request = ListTrustedCertificatesRequest(parent=tenant.name)
    [certificate] = api.call(api.trusted_certificates.ListTrustedCertificates, request).trusted_certificates
    return certificate


def set_status(tenant: Tenant, status: TrustedCertificate.Status.ValueType) -> None:
    api = tenant.instance.api
    wanted = TrustedCertificate(name=only_certificate(tenant).name, status=status)
    request = UpdateTrustedCertificateRequest(trusted_certificate=wanted)
    api.call(api.trusted_certificates.UpdateTrustedCertificate, request)


def update_account(tenant: Tenant, *paths: str, **fields: object) -> None:
    api = tenant.instance.api
    request = UpdateAccountRequest(
        account=Account(name=tenant.name, **fields),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths),
    )
    api.call(api.accounts.UpdateAccount, request)


async def refusal(thing: Thing) -> str:
    refused = await thing.refused()
    return f"{refused.code} {refused.text}".strip()


async def test_deactivated_ca_fails_the_next_handshake_and_a_reactivated_one_does_not(
    tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)

    for _ in range(3):
        set_status(tenant, TrustedCertificate.INACTIVE)
        assert await refusal(thing) == UNKNOWN_CA
        set_status(tenant, TrustedCertificate.ACTIVE)
        assert (await thing.claimed()).device_id


async def test_deleted_ca_fails_the_next_handshake_of_a_device_that_is_claimed_already(
    tenant: Tenant, factory: Manufacturer
) -> None:
    thing, _ = await claimed_thing(tenant, factory)
    api = tenant.instance.api
    request = DeleteTrustedCertificateRequest(name=only_certificate(tenant).name)

    api.call(api.trusted_certificates.DeleteTrustedCertificate, request)

    assert await refusal(thing) == UNKNOWN_CA
    assert [device.endpoint_name for device in tenant.devices()] == [thing.endpoint_name]
    tenant.trust(factory)
    assert (await thing.claimed()).device_id


async def test_enrollment_mode_switches_the_next_claim(tenant: Tenant, factory: Manufacturer) -> None:
    thing = enrolled_thing(tenant, factory)
    api = tenant.instance.api
    request = UpdateTrustedCertificateRequest(
        trusted_certificate=TrustedCertificate(name=only_certificate(tenant).name),
        update_mask=FieldMask(paths=["enrollment_mode"]),
    )

    api.call(api.trusted_certificates.UpdateTrustedCertificate, request)

    assert await refusal(thing) == "4.00 Corresponding trusted certificate not in account"
    request.trusted_certificate.enrollment_mode = True
    api.call(api.trusted_certificates.UpdateTrustedCertificate, request)
    assert (await thing.claimed()).device_id


async def test_quota_and_suspension_switch_the_next_claim(tenant: Tenant, factory: Manufacturer) -> None:
    thing = enrolled_thing(tenant, factory)

    update_account(tenant, "device_quota", device_quota=0)
    assert await refusal(thing) == "4.03 Account device quota reached"
    update_account(tenant, "status", status=Account.SUSPENDED)
    assert await refusal(thing) == "4.03 Account suspended"
    update_account(tenant, "status", "device_quota", status=Account.ACTIVE, device_quota=1)

    assert (await thing.claimed()).device_id
