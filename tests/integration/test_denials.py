"""Denials against the running server: what is recorded of each way to be refused, and who sees it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from OpenSSL import SSL

from ftc_core.application.context import utc_now
from ftc_core.cli.main import cli
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.account import AccountStatus
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.dtls.record import split_records
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.block_pb2 import BlockDeviceRequest
from ftc_grpc._gen.ftc.v1.denial_pb2 import (
    DeviceEnrollmentDenial,
    GetDeviceEnrollmentDenialRequest,
    ListDeviceEnrollmentDenialsRequest,
)
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    ListTrustedCertificatesRequest,
    UpdateTrustedCertificateRequest,
)
from ftc_grpc._gen.ftc.v1.watch_pb2 import DeviceEnrollmentEvent, WatchDeviceEnrollmentsRequest
from ftc_grpc.client import ApiClient
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, eventually, running_instance
from tests.raw_peer import POST, RawPeer, uri
from tests.things import Thing


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no account holds yet."""
    return Manufacturer(f"Factory {uuid4()}")


def listed(api: ApiClient, wanted: str, parent: str = "") -> list[DeviceEnrollmentDenial]:
    request = ListDeviceEnrollmentDenialsRequest(parent=parent, filter=wanted)
    answer = api.call(api.device_enrollments.ListDeviceEnrollmentDenials, request)
    return list(answer.device_enrollment_denials)


def identity_of(thing: Thing) -> str:
    return format_enrollment_id(thing.fingerprint)


def denials_of(thing: Thing, tenant: Tenant | None = None) -> list[DeviceEnrollmentDenial]:
    """What the account sees of the device, or the operator."""
    parent = "" if tenant is None else tenant.name
    return listed(thing.instance.api, f'enrollment_identity = "{identity_of(thing)}"', parent)


def denial_of(thing: Thing, tenant: Tenant | None = None) -> DeviceEnrollmentDenial:
    """The one that is recorded within a moment."""
    [denial] = eventually(lambda: denials_of(thing, tenant), "the denial")
    return denial


def refuse(thing: Thing, *, account_id: str | None = None, endpoint_name: str | None = None) -> str:
    """What the device is told."""
    outcome = asyncio.run(thing.refused(account_id=account_id, endpoint_name=endpoint_name))
    return f"{outcome.code} {outcome.text}".strip()


# --- each way to be refused --------------------------------------------------------------------------

Case = Callable[[Thing, Tenant, Manufacturer], Thing]
"""Makes the server refuse a device once, of a CA that is not yet uploaded; gives the device."""

CASES: dict[tuple[str, str, str], Case] = {}
"""By reason, DTLS alert and CoAP code."""


def case(reason: Reason, alert: str = "", code: str = "") -> Callable[[Case], Case]:
    def note(prepared: Case) -> Case:
        CASES[reason.value, alert, code] = prepared
        return prepared

    return note


@case(Reason.CA_NOT_UPLOADED, "unknown_ca")
def unknown_ca(thing: Thing, tenant: Tenant, _: Manufacturer) -> Thing:
    tenant.enroll(thing.credential.certificate)
    refuse(thing)
    return thing


@case(Reason.CA_NOT_UPLOADED, "certificate_expired")
def expired(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    credential = factory.device(thing.endpoint_name, not_after=utc_now() - timedelta(seconds=1))
    old = Thing(thing.instance, thing.endpoint_name, credential)
    refuse(old)
    return old


@case(Reason.DEVICE_BLOCKED, "certificate_revoked")
def blocked(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    api = thing.instance.api
    api.call(api.devices.BlockDevice, BlockDeviceRequest(enrollment_identity=identity_of(thing)))
    refuse(thing)
    return thing


@case(Reason.HANDSHAKE_FAILED, "decrypt_error")
def key_not_proved(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    credential = thing.credential
    with RawPeer(
        thing.instance.address("bootstrap"),
        credential.certificate,
        credential.private_key,
        thing.instance.server_ca,
    ) as peer:
        for _ in range(20):
            for datagram in peer.association.datagrams_to_send():
                peer.sock.send(b"".join(map(_forged, split_records(datagram))))
            if (arrived := peer.receive(1.0)) is None:
                break
            peer.association.receive_datagram(arrived, time.monotonic())
    return thing


def _forged(record: bytes) -> bytes:
    """A CertificateVerify (RFC 5246 §7.4.8) gets another signature; any other record stays."""
    verifying = record[0] == 22 and record[3:5] == b"\x00\x00" and record[13] == 15
    return record[:-1] + bytes((record[-1] ^ 1,)) if verifying else record


@case(Reason.ENROLLMENT_NOT_FOUND, code="4.03")
def not_enrolled(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    refuse(thing)
    return thing


@case(Reason.CA_NOT_IN_ACCOUNT, code="4.00")
def ca_elsewhere(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    thing.instance.tenant().trust(factory)
    tenant.enroll(thing.credential.certificate)
    refuse(thing)
    return thing


@case(Reason.QUOTA_REACHED, code="4.03")
def quota(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)  # the tenant's quota is one
    first = Thing.of(thing.instance, factory)
    for each in (first, thing):
        tenant.enroll(each.credential.certificate)
    asyncio.run(first.claimed())
    refuse(thing)
    return thing


@case(Reason.ENDPOINT_NAME_MISMATCH, code="4.00")
def another_name(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    tenant.enroll(thing.credential.certificate)
    refuse(thing, endpoint_name="another")
    return thing


@case(Reason.ENDPOINT_NAME_MISSING, code="4.00")
def malformed(thing: Thing, tenant: Tenant, factory: Manufacturer) -> Thing:
    tenant.trust(factory)
    credential = thing.credential
    with RawPeer(
        thing.instance.address("bootstrap"),
        credential.certificate,
        credential.private_key,
        thing.instance.server_ca,
    ) as peer:
        peer.connect().ask(POST, uri("/bs"))
        peer.still_works()  # asks for what there is not: no attempt to bootstrap
    return thing


@dataclass(frozen=True)
class Refused:
    """A device that was refused in one of the ways, between two moments, and its account."""

    thing: Thing
    tenant: Tenant
    factory: Manufacturer
    began: datetime
    ended: datetime


@pytest.fixture(scope="module")
def refused(instance: Instance) -> Mapping[tuple[str, str, str], Refused]:
    """Each way, one after the other: what is recorded of them is waited for together."""
    made = {}
    for expected, prepared in CASES.items():
        factory, tenant, began = Manufacturer(f"Factory {uuid4()}"), instance.tenant(quota=1), utc_now()
        thing = prepared(Thing.of(instance, factory), tenant, factory)
        made[expected] = Refused(thing, tenant, factory, began, utc_now())
    return made


@pytest.mark.parametrize("expected", CASES, ids=":".join)
def test_each_refusal_is_recorded_with_its_cause(
    instance: Instance,
    refused: Mapping[tuple[str, str, str], Refused],
    expected: tuple[str, str, str],
) -> None:
    each, stranger = refused[expected], instance.tenant()

    denial = denial_of(each.thing, each.tenant)

    assert (denial.reason, denial.dtls_alert, denial.coap_code) == expected
    assert denial.name == f"{each.tenant.name}/deviceEnrollmentDenials/{denial.id}"
    assert (denial.account_id, denial.count) == (each.tenant.id, 1)
    assert denial.common_name == each.thing.endpoint_name
    assert denial.issuer == each.factory.certificate.subject.rfc4514_string()
    assert each.began <= denial.first_seen_at.ToDatetime(UTC) <= each.ended
    assert denial.last_seen_at == denial.first_seen_at
    assert denial.address.startswith("127.0.0.1:")
    assert denial.proven is (expected[1] == "")
    assert denial.advice
    assert denial.detail
    assert denials_of(each.thing, stranger) == []
    assert [found.name for found in denials_of(each.thing)] == [denial.name]


def test_device_without_certificate_is_the_operators(instance: Instance, factory: Manufacturer) -> None:
    before = utc_now()
    peer = RawPeer(
        instance.address("bootstrap"),
        (credential := factory.device("bare")).certificate,
        credential.private_key,
        instance.server_ca,
    )
    with peer:
        assert "handshake failure" in _without_certificate(peer)

    wanted = f"orphan = true AND dtls_alert = handshake_failure AND last_seen_at >= {before.isoformat()}"
    [denial] = eventually(lambda: listed(instance.api, wanted), "the denial")

    assert (denial.reason, denial.enrollment_identity, denial.account_id) == ("HANDSHAKE_FAILED", "", "")
    assert "peer did not return a certificate" in denial.detail
    assert denial.name == f"accounts/-/deviceEnrollmentDenials/{denial.id}"
    api = instance.api
    request = GetDeviceEnrollmentDenialRequest(name=denial.name)
    assert api.call(api.device_enrollments.GetDeviceEnrollmentDenial, request) == denial
    enrolled = ftc(instance, "denial", "enroll", denial.name, "--account", instance.tenant().id)
    assert enrolled.exit_code == 1
    assert "presented no certificate" in enrolled.output


def _without_certificate(peer: RawPeer) -> str:
    """How the handshake of a client ends that has none."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_cipher_list(b"ECDHE+AESGCM")
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    for _ in range(20):
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            return str(error)
        while True:
            try:
                peer.sock.send(connection.bio_read(65_535))
            except SSL.WantReadError:
                break
        if (arrived := peer.receive(2.0)) is not None:
            connection.bio_write(arrived)
    return "no end"


# --- whom it concerns --------------------------------------------------------------------------------


def test_impostor_of_a_ca_is_not_shown_to_who_holds_the_real_one(
    instance: Instance, factory: Manufacturer
) -> None:
    holder = instance.tenant()
    holder.trust(factory)
    name = factory.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    thing = Thing.of(instance, Manufacturer(str(name)))

    refuse(thing)

    denial = denial_of(thing)
    assert (denial.account_id, denial.dtls_alert) == ("", "bad_certificate")
    assert denials_of(thing, holder) == []


def test_holder_of_an_inactive_ca_learns_why_its_devices_fail(
    instance: Instance, factory: Manufacturer
) -> None:
    tenant = instance.tenant()
    tenant.trust(factory)
    api = instance.api
    held = api.call(
        api.trusted_certificates.ListTrustedCertificates, ListTrustedCertificatesRequest(parent=tenant.name)
    ).trusted_certificates[0]
    request = UpdateTrustedCertificateRequest(
        trusted_certificate=TrustedCertificate(name=held.name, status=TrustedCertificate.INACTIVE)
    )
    request.update_mask.paths.append("status")
    api.call(api.trusted_certificates.UpdateTrustedCertificate, request)
    thing = Thing.of(instance, factory)

    refuse(thing)

    denial = denial_of(thing, tenant)
    assert (denial.dtls_alert, denial.trusted_certificate_id) == ("unknown_ca", held.id)
    assert listed(instance.api, f"trusted_certificate_id = {held.id}", tenant.name) == [denial]


def test_what_is_not_an_accounts_is_not_found(instance: Instance, factory: Manufacturer) -> None:
    thing = Thing.of(instance, factory)
    refuse(thing)
    orphan = denial_of(thing)
    stranger = instance.tenant()
    api = instance.api
    for name in (orphan.name.replace("/-/", f"/{stranger.id}/"), orphan.name[:-1] + "g"):
        with pytest.raises(FtcError) as refusal:
            api.call(
                api.device_enrollments.GetDeviceEnrollmentDenial, GetDeviceEnrollmentDenialRequest(name=name)
            )
        assert refusal.value.reason in (Reason.RESOURCE_NOT_FOUND, Reason.RESOURCE_NAME_INVALID)


# --- retries, watches, restarts ----------------------------------------------------------------------


def test_retries_are_one_denial_and_one_event(instance: Instance, factory: Manufacturer) -> None:
    tenant = instance.tenant(status=AccountStatus.SUSPENDED)
    tenant.trust(factory)
    thing = Thing.of(instance, factory)
    enrollment = tenant.enroll(thing.credential.certificate)
    api = instance.api
    events: list[DeviceEnrollmentEvent] = []
    request = WatchDeviceEnrollmentsRequest(parent=tenant.name)
    stream = api.device_enrollments.WatchDeviceEnrollments(request)
    next(stream)  # it has begun

    def follow() -> None:
        for response in stream:
            events.extend(response.events)
            if len(events) >= 2:
                return

    follower = Thread(target=follow)
    follower.start()
    for _ in range(3):
        refuse(thing)
    eventually(lambda: denials_of(thing, tenant) and denial_of(thing, tenant).count == 3, "three refusals")
    tenant.release(enrollment)
    follower.join(20)
    stream.cancel()

    kinds = [DeviceEnrollmentEvent.Kind.Name(event.kind) for event in events]
    assert kinds == ["DENIED", "DELETED"]
    denied = events[0]
    denial = denial_of(thing, tenant)
    assert denied.device_enrollment_denial_name == denial.name
    assert denied.device_enrollment_denial.reason == "ACCOUNT_SUSPENDED"
    assert (denied.device_enrollment_name, denied.enrollment_identity) == (enrollment, identity_of(thing))


def test_denials_survive_the_server_and_those_of_its_last_moment_are_written(
    data_directory: DataDirectory, tmp_path: Path, factory: Manufacturer
) -> None:
    directory = DataDirectory.open(shutil.copytree(data_directory.root, tmp_path / "data"))
    with running_instance(directory, "--shutdown-grace-s=1") as first:
        thing = Thing.of(first, factory)
        refuse(thing)
    with running_instance(directory, "--shutdown-grace-s=1") as second:
        assert [denial.count for denial in denials_of(Thing(second, "", thing.credential))] == [1]


def test_refusals_are_counted_by_what_became_of_their_record(
    instance: Instance, factory: Manufacturer
) -> None:
    def counts() -> Counter[str]:
        connection = HTTPConnection(*instance.address("metrics"), timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.findall(r'^ftc_denials_total\{result="(\w+)"\} (\S+)', text, re.MULTILINE)
        return Counter({result: int(float(number)) for result, number in found})

    before = counts()
    thing = Thing.of(instance, factory)
    refuse(thing)
    refuse(thing)
    growth = Counter(recorded=1, coalesced=1)
    eventually(lambda: counts() - before >= growth, "one new record, one more sighting")
    assert counts()["dropped"] == 0


# --- the command -------------------------------------------------------------------------------------


def ftc(instance: Instance, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli,
        arguments,
        env={
            "FTC_ENDPOINT": "{}:{}".format(*instance.address("grpc")),
            "FTC_API_KEY": instance.directory.operator_key.read_text().strip(),
            "FTC_CA": str(instance.directory.server_ca_file),
        },
    )


def test_denied_device_is_let_in_by_one_command(instance: Instance, factory: Manufacturer) -> None:
    tenant = instance.tenant()
    tenant.trust(factory)
    thing = Thing.of(instance, factory)
    assert refuse(thing) == "4.03 Enrollment ID not registered"
    denial = denial_of(thing, tenant)

    shown = ftc(instance, "denial", "list", "--account", tenant.id)
    assert shown.exit_code == 0, shown.output
    assert identity_of(thing) in shown.stdout
    assert "ENROLLMENT_NOT_FOUND" in shown.stdout
    detail = json.loads(ftc(instance, "denial", "get", denial.name, "--json").stdout)
    assert detail["endpoint_name"] == thing.endpoint_name

    enrolled = ftc(instance, "denial", "enroll", denial.name, "--expires-at", "2090-01-01", "--json")

    assert enrolled.exit_code == 0, enrolled.output
    assert json.loads(enrolled.stdout)["enrollment_identity"] == identity_of(thing)
    assert asyncio.run(thing.claimed()).device_id
    assert tenant.device(thing.endpoint_name) is not None


def test_stranger_is_enrolled_where_the_operator_says(instance: Instance, factory: Manufacturer) -> None:
    thing = Thing.of(instance, factory)
    refuse(thing)
    denial = denial_of(thing)

    nowhere = ftc(instance, "denial", "enroll", denial.name)
    assert nowhere.exit_code == 1
    assert "--account is required" in nowhere.output

    tenant = instance.tenant()
    tenant.trust(factory)
    enrolled = ftc(instance, "denial", "enroll", denial.name, "--account", tenant.id)
    assert enrolled.exit_code == 0, enrolled.output
    assert asyncio.run(thing.claimed()).device_id


def test_list_is_in_order_of_the_last_time_and_pages_fit_together(
    instance: Instance, factory: Manufacturer
) -> None:
    tenant = instance.tenant()
    tenant.trust(factory)
    things = [Thing.of(instance, factory) for _ in range(3)]
    for thing in things:
        refuse(thing)
    eventually(lambda: len(listed(instance.api, "", tenant.name)) == 3, "three denials")
    api = instance.api

    def names(order_by: str) -> list[str]:
        request = ListDeviceEnrollmentDenialsRequest(parent=tenant.name, page_size=1, order_by=order_by)
        pages = api.pages(api.device_enrollments.ListDeviceEnrollmentDenials, request)
        return [denial.common_name for page in pages for denial in page.device_enrollment_denials]

    expected = [thing.endpoint_name for thing in things]
    assert names("last_seen_at") == expected
    assert names("") == names("last_seen_at desc") == expected[::-1]
    [second] = listed(api, f"endpoint_name = {expected[1]}", tenant.name)
    since = f"last_seen_at >= {second.last_seen_at.ToJsonString()}"
    assert [each.endpoint_name for each in listed(api, since, tenant.name)] == [expected[2], expected[1]]
