"""DeviceService over a real channel; the devices are claimed in the store, as a worker does it."""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta

import pytest

from ftc_core.application.context import new_id, utc_now
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.last_bootstrap import BootstrapStep, LastBootstrap
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    ClaimDevice,
    Claimed,
    DeregisterDevice,
    MarkBootstrapped,
    RecordBootstrap,
    RegisterDevice,
    Submission,
)
from ftc_grpc._gen.ftc.v1 import device_pb2
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    GetDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest, ListDevicesRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer


@pytest.fixture
def factory() -> Manufacturer:
    return Manufacturer("Factory")


def claim(api: TestApi, tenant: Tenant, factory: Manufacturer, endpoint_name: str) -> Claimed:
    """Trust the factory, enroll a fresh device of it, and claim it as a bootstrap worker does."""
    client, device = tenant.client, factory.device(endpoint_name)
    fingerprint = hashlib.sha256(device.der).digest()
    certificate = TrustedCertificate(
        display_name="Factory",
        service=TrustedCertificate.BOOTSTRAP,
        enrollment_mode=True,
        certificate=factory.pem.decode(),
    )
    try:
        client.call(
            client.trusted_certificates.CreateTrustedCertificate,
            CreateTrustedCertificateRequest(trusted_certificate=certificate),
        )
    except FtcError as error:
        assert error.reason is Reason.CERTIFICATE_ALREADY_EXISTS
    enrollment = DeviceEnrollment(enrollment_identity=format_enrollment_id(fingerprint))
    client.call(
        client.device_enrollments.CreateDeviceEnrollment,
        CreateDeviceEnrollmentRequest(device_enrollment=enrollment),
    )
    request = ClaimRequest(
        fingerprint=fingerprint,
        common_name=endpoint_name,
        endpoint_name=endpoint_name,
        issuing_cas=(hashlib.sha256(factory.der).digest(),),
        client_version="4.13.2",
        address="192.0.2.7:5784",
    )
    outcome = api.run(api.context.commit.execute(Submission(ClaimDevice(request, new_id(), utc_now()))))
    assert isinstance(outcome, Claimed)
    return outcome


def get(tenant: Tenant, device_id: str) -> device_pb2.Device:
    name = f"{tenant.name}/devices/{device_id}"
    return tenant.client.call(tenant.client.devices.GetDevice, GetDeviceRequest(name=name))


def test_device_is_shown_through_its_states(api: TestApi, tenant: Tenant, factory: Manufacturer) -> None:
    claimed = claim(api, tenant, factory, "sensor-1").device
    states = device_pb2.Device

    device = get(tenant, claimed.id)
    assert device.state == states.CLOUD_ENROLLING
    assert device.endpoint_name == "sensor-1"
    assert device.enrollment_identity == format_enrollment_id(claimed.fingerprint)
    assert device.enrollment_id == claimed.enrollment_id
    assert device.trusted_certificate_id == claimed.trusted_certificate_id
    assert device.client_version == "4.13.2"
    assert not device.HasField("bootstrapped_at")
    assert not device.HasField("lifetime")

    now = utc_now()
    api.run(api.context.commit.execute(Submission(MarkBootstrapped(tenant.id, claimed.id, now))))
    device = get(tenant, claimed.id)
    assert device.state == states.BOOTSTRAPPED
    assert device.bootstrapped_at.ToDatetime(tzinfo=UTC) == now

    register = RegisterDevice(
        account_id=tenant.id,
        device_id=claimed.id,
        endpoint_name="sensor-1",
        lifetime=86_400,
        lwm2m_version="1.0",
        binding="U",
        object_links="</1/0>,</3/0>",
        client_version="",
        address="192.0.2.7:5684",
        now=now,
    )
    api.run(api.context.commit.execute(Submission(register)))
    device = get(tenant, claimed.id)
    assert device.state == states.REGISTERED
    assert device.lifetime.seconds == 86_400
    assert device.registration_expires_at.ToDatetime(tzinfo=UTC) == now + timedelta(days=1)
    assert (device.lwm2m_version, device.binding) == ("1.0", "U")
    assert device.object_links == "</1/0>,</3/0>"
    assert [(one.object_id, list(one.instance_ids)) for one in device.objects] == [(1, [0]), (3, [0])]
    assert device.last_address == "192.0.2.7:5684"

    api.run(api.context.commit.execute(Submission(DeregisterDevice(tenant.id, claimed.id, now))))
    device = get(tenant, claimed.id)
    assert device.state == states.DEREGISTERED
    assert not device.HasField("registration_expires_at")


def test_page_of_a_device_shows_its_objects_and_its_last_bootstrap(
    api: TestApi, tenant: Tenant, factory: Manufacturer
) -> None:
    claimed = claim(api, tenant, factory, "sensor-9").device
    now = utc_now()
    steps = (
        BootstrapStep("Bootstrap-Request", now - timedelta(seconds=2), now - timedelta(seconds=1), "2.04"),
        BootstrapStep("Bootstrap-Delete /0", now - timedelta(seconds=1), now),
    )
    last = LastBootstrap(
        steps=steps,
        ended_at=now,
        reason="INTERNAL_7",
        error="Bootstrap-Delete /0: the device reset the exchange",
        address="192.0.2.7:5784",
    )
    record = RecordBootstrap(tenant.id, claimed.id, last)
    before = get(tenant, claimed.id)
    assert not before.HasField("last_bootstrap")
    api.run(api.context.commit.execute(Submission(record)))

    device = get(tenant, claimed.id)

    shown = device.last_bootstrap
    assert device.etag != before.etag
    assert (shown.outcome, shown.reason) == (device_pb2.LastBootstrap.FAILED, "INTERNAL_7")
    assert (shown.error, shown.address) == (last.error, last.address)
    assert shown.ended_at.ToDatetime(tzinfo=UTC) == now
    assert [
        (step.name, step.started_at.ToDatetime(tzinfo=UTC), step.ended_at.ToDatetime(tzinfo=UTC), step.code)
        for step in shown.steps
    ] == [(step.name, step.started_at, step.ended_at, step.code) for step in steps]
    [listed] = tenant.client.call(tenant.client.devices.ListDevices, ListDevicesRequest()).devices
    assert not listed.HasField("last_bootstrap")


def test_enrollment_names_its_device_and_goes_with_it(
    api: TestApi, tenant: Tenant, factory: Manufacturer
) -> None:
    claimed = claim(api, tenant, factory, "sensor-2").device
    client = tenant.client
    name = f"{tenant.name}/deviceEnrollments/{claimed.enrollment_id}"

    read = GetDeviceEnrollmentRequest(name=name)
    enrollment = client.call(client.device_enrollments.GetDeviceEnrollment, read)
    assert enrollment.enrolled_device_id == claimed.id
    assert enrollment.claimed_at.ToDatetime(tzinfo=UTC) == claimed.claimed_at

    delete = DeleteDeviceEnrollmentRequest(name=name, etag=enrollment.etag)
    client.call(client.device_enrollments.DeleteDeviceEnrollment, delete)
    gone = GetDeviceRequest(name=f"{tenant.name}/devices/{claimed.id}")
    assert api.refused(client, client.devices.GetDevice, gone).reason is Reason.RESOURCE_NOT_FOUND


def test_devices_are_listed_per_account(
    api: TestApi, tenant: Tenant, other: Tenant, factory: Manufacturer
) -> None:
    mine = [claim(api, tenant, factory, f"mine-{index}").device.id for index in range(3)]
    claim(api, other, factory, "theirs")
    client = tenant.client

    listed = client.call(client.devices.ListDevices, ListDevicesRequest(include_total_size=True))

    assert [device.id for device in listed.devices] == sorted(mine)
    assert listed.total_size == 3
    assert listed.next_page_token == ""


def test_device_of_another_account_is_not_found(
    api: TestApi, tenant: Tenant, other: Tenant, factory: Manufacturer
) -> None:
    theirs = claim(api, other, factory, "theirs").device.id
    client = tenant.client

    for account in (other.name, tenant.name):
        name = f"{account}/devices/{theirs}"
        error = api.refused(client, client.devices.GetDevice, GetDeviceRequest(name=name))
        assert (error.reason, error.resource) == (Reason.RESOURCE_NOT_FOUND, name)
    listing = api.refused(client, client.devices.ListDevices, ListDevicesRequest(parent=other.name))
    assert listing.reason is Reason.RESOURCE_NOT_FOUND
