"""Certificates by EST from running servers: who gets one, in which form, and who does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from aiocoap.numbers.codes import Code
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, pkcs7
from cryptography.x509.oid import NameOID

from ftc_core.application.context import new_id
from ftc_core.device.client import BootstrapFailed
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.registration import OperationFailed
from ftc_core.domain.device import DeviceState
from ftc_core.lwm2m import bootstrap as bootstrap_session
from ftc_core.lwm2m import content, tlv
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.messages import dotted
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import ListDeviceEnrollmentsRequest
from ftc_grpc._gen.ftc.v1.device_pb2 import LastBootstrap
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest
from tests.certificates import Manufacturer
from tests.est_peer import EstPeer
from tests.instance import Instance, Tenant, eventually
from tests.raw_peer import GET, PUT, RawPeer, uri
from tests.signing_requests import signing_request, subject
from tests.things import enrolled_thing
from tests.worker import LocalThing, Workshop

REFUSED = "4.03 No bootstrap waits for a certificate"
MODELS = {
    "Izuma": IZUMA,
    "LwM2M 1.1": ClientModel(version=VERSION_1_1, content_format=content.SENML_CBOR),
    "LwM2M 1.2, pack": ClientModel(version=VERSION_1_2, packs=True),
}
Value = TypeVar("Value")


# --- a whole instance ----------------------------------------------------------------------------------


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no other account holds."""
    return Manufacturer(f"Factory {new_id()}")


@pytest.fixture
def tenant(est_instance: Instance, factory: Manufacturer) -> Tenant:
    tenant = est_instance.tenant()
    tenant.trust(factory)
    return tenant


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("block_size", [64, 1024])
async def test_a_device_makes_its_key_enrolls_and_registers(
    tenant: Tenant, factory: Manufacturer, name: str, block_size: int
) -> None:
    thing, model = enrolled_thing(tenant, factory), MODELS[name]

    outcome = await thing.claimed(block_size=block_size, model=model)

    certificate = x509.load_der_x509_certificate(outcome.lwm2m.public_key or b"")
    key = load_der_private_key(outcome.lwm2m.secret_key or b"", None)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(tenant.instance.directory.issuing_ca.certificate)
    last = eventually(lambda: last_bootstrap(tenant, thing.endpoint_name), "its bootstrap is on its page")
    assert last.outcome == LastBootstrap.COMPLETED
    assert [(step.name, step.code) for step in last.steps][-1] == ("EST enrolment", "2.04")
    [organization] = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert organization.value == tenant.id
    device = await thing.registered(outcome, tenant.id, model=model)
    assert tenant.state(thing.endpoint_name) is DeviceState.REGISTERED
    device.close()


async def test_a_released_device_enrolls_again_for_its_new_owner(
    est_instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)
    first = await thing.claimed()
    tenant.release(_only_enrollment(tenant))
    other = est_instance.tenant()
    other.trust(factory)
    other.enroll(thing.credential.certificate)

    refused = await thing.try_to_register(first, tenant.id)

    assert isinstance(refused, OperationFailed)
    assert refused.code == "4.03"
    second = await thing.claimed()
    (await thing.registered(second, other.id)).close()
    assert first.lwm2m.secret_key != second.lwm2m.secret_key


async def test_a_transferred_device_enrolls_again_with_the_old_account_still_on_it(
    est_instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)
    first = await thing.claimed()
    other = est_instance.tenant()
    other.trust(factory)
    tenant.transfer(thing.endpoint_name, to=other)

    refused = await thing.try_to_register(first, tenant.id)

    assert isinstance(refused, OperationFailed)
    assert refused.code == "4.03"
    second = await thing.claimed(account_id=tenant.id)
    certificate = x509.load_der_x509_certificate(second.lwm2m.public_key or b"")
    assert certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value == other.id
    (await thing.registered(second, other.id)).close()


async def test_a_client_that_does_not_know_the_mode_fails_and_keeps_its_claim(
    tenant: Tenant, factory: Manufacturer
) -> None:
    thing = enrolled_thing(tenant, factory)
    outcome = await thing.bootstrap(model=ClientModel())
    assert isinstance(outcome, BootstrapFailed)
    last = eventually(lambda: last_bootstrap(tenant, thing.endpoint_name), "its failure is on the page")
    assert (last.reason, last.error.partition(":")[0]) == ("INTERNAL_8", "Bootstrap-Finish")
    assert tenant.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING


def last_bootstrap(tenant: Tenant, endpoint_name: str) -> LastBootstrap | None:
    """As the device's page has it."""
    shown = tenant.device(endpoint_name)
    assert shown is not None
    api = tenant.instance.api
    page = api.call(api.devices.GetDevice, GetDeviceRequest(name=shown.name))
    return page.last_bootstrap if page.HasField("last_bootstrap") else None


def _only_enrollment(tenant: Tenant) -> str:
    api = tenant.instance.api
    request = ListDeviceEnrollmentsRequest(parent=tenant.name)
    [found] = api.call(api.device_enrollments.ListDeviceEnrollments, request).device_enrollments
    return found.name


# --- one worker, and a device in the test's hand ---------------------------------------------------------


async def speaking(thing: LocalThing, say: Callable[[RawPeer], Value]) -> Value:
    """What `say` gives, over a new association of the device."""

    def converse() -> Value:
        with thing.peer() as peer:
            return say(peer.connect())

    return await asyncio.to_thread(converse)


@pytest.fixture
def thing(workshop: Workshop) -> LocalThing:
    return workshop.enroll(workshop.thing())


def own_request(thing: LocalThing, device: EstPeer, **changes: str) -> bytes:
    """As Izuma's client makes it, in whole or with other names."""
    own = {"CN": thing.endpoint_name, "L": device.device_id, "OU": thing.workshop.account.id}
    return signing_request(subject(**{**own, **changes}))


async def test_the_account_is_written_without_certificate_and_key(
    workshop: Workshop, thing: LocalThing
) -> None:
    async with workshop.running(lwm2m_credentials="est"):
        device = await speaking(thing, lambda peer: EstPeer(peer).bootstrap(thing.endpoint_name))
    values = content.decode(tlv.CONTENT_FORMAT, (0, 0), device.security.payload)
    assert values[0, 0, 2] == 4
    assert set(values) == {(0, 0, number) for number in (0, 1, 2, 4, 10)}
    found, last = workshop.found(thing)
    assert found is not None
    assert last is not None
    assert found.id == device.device_id
    assert found.state is DeviceState.BOOTSTRAPPED
    assert last.reason == "CERTIFICATE_NOT_REQUESTED"  # it has left instead
    assert last.error == "EST enrolment: the association was lost"


async def test_each_format_holds_the_same_certificate(workshop: Workshop, thing: LocalThing) -> None:
    def say(peer: RawPeer) -> tuple[bytes, bytes, bytes]:
        device = EstPeer(peer).bootstrap(thing.endpoint_name)
        csr = own_request(thing, device)
        framed, bag, plain = (device.enroll(csr, accept=accept) for accept in (None, 281, 287))
        assert [answer.opt.content_format for answer in (framed, bag, plain)] == [None, 281, 287]
        assert {answer.code for answer in (framed, bag, plain)} == {Code.CHANGED}
        return framed.payload, bag.payload, plain.payload

    async with workshop.running(lwm2m_credentials="est"):
        framed, bag, plain = await speaking(thing, say)
    assert framed == b"\x01\x01" + len(plain).to_bytes(2, "big") + plain
    [bagged] = pkcs7.load_der_pkcs7_certificates(bag)
    assert bagged.public_bytes(Encoding.DER) == plain
    _, last = workshop.found(thing)
    assert last is not None
    assert last.completed
    assert [(step.name, step.code) for step in last.steps][-2:] == [
        ("Bootstrap-Finish", "2.04"),
        ("EST enrolment", "2.04"),
    ]


async def test_the_issuing_ca_is_told(workshop: Workshop, thing: LocalThing) -> None:
    def say(peer: RawPeer) -> bytes:
        EstPeer(peer).bootstrap(thing.endpoint_name)
        answer = peer.ask(GET, [*uri("/est/crts"), (17, (287).to_bytes(2, "big"))])
        assert answer.code is Code.CONTENT
        return answer.payload

    async with workshop.running(lwm2m_credentials="est"):
        assert await speaking(thing, say) == workshop.directory.issuing_ca.certificate_der


async def test_without_a_bootstrap_on_the_very_association_nobody_gets_a_certificate(
    workshop: Workshop, thing: LocalThing
) -> None:
    """Not even a device that another association of has just been granted its claim."""
    stranger = workshop.thing()
    async with workshop.running(lwm2m_credentials="est"):
        csr = signing_request(subject(CN=thing.endpoint_name, L="", OU=""))
        assert await speaking(thing, lambda peer: EstPeer(peer).told(csr)) == REFUSED
        await speaking(thing, lambda peer: EstPeer(peer).bootstrap(thing.endpoint_name))
        assert await speaking(thing, lambda peer: EstPeer(peer).told(csr)) == REFUSED
        assert await speaking(stranger, lambda peer: EstPeer(peer).told(csr)) == REFUSED


async def test_a_bootstrap_entitles_to_one_certificate(workshop: Workshop, thing: LocalThing) -> None:
    def say(peer: RawPeer) -> str:
        device = EstPeer(peer).bootstrap(thing.endpoint_name)
        csr = own_request(thing, device)
        first, again = device.enroll(csr), device.enroll(csr)
        assert first.payload == again.payload
        return device.told(own_request(thing, device))

    async with workshop.running(lwm2m_credentials="est"):
        assert await speaking(thing, say) == REFUSED


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CN", "CSR subject: CN is not the endpoint name"),
        ("L", "CSR subject: L is not the device ID"),
        ("OU", "CSR subject: OU is not the account ID"),
    ],
)
async def test_a_request_with_another_devices_name_is_refused_and_the_device_may_begin_again(
    workshop: Workshop, thing: LocalThing, name: str, text: str
) -> None:
    other = workshop.enroll(workshop.thing())
    async with workshop.running(lwm2m_credentials="est"):
        known = await speaking(other, lambda peer: EstPeer(peer).bootstrap(other.endpoint_name))
        theirs = {"CN": other.endpoint_name, "L": known.device_id, "OU": new_id()}

        def say(peer: RawPeer) -> tuple[str, str]:
            device = EstPeer(peer).bootstrap(thing.endpoint_name)
            refusal = device.told(own_request(thing, device, **{name: theirs[name]}))
            return refusal, device.told(own_request(thing, device))

        assert await speaking(thing, say) == (f"4.00 {text}", REFUSED)
    _, last = workshop.found(thing)
    assert last is not None
    assert (last.reason, last.error) == ("SIGNING_REQUEST_INVALID", text)
    with workshop.scene.store.view() as view:
        denials = view.list_all_denials(after=None, limit=10)
    assert [(denial.reason, denial.endpoint_name, denial.detail) for denial in denials] == [
        ("SIGNING_REQUEST_INVALID", thing.endpoint_name, text)
    ]
    assert (last.steps[-1].name, last.steps[-1].code) == ("EST enrolment", "4.00")
    async with workshop.running(lwm2m_credentials="est"):
        assert await thing.sees() == "claimed"
    _, last = workshop.found(thing)
    assert last is not None
    assert last.completed


async def test_after_the_time_out_there_is_no_certificate(
    workshop: Workshop, thing: LocalThing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap_session, "EST_ENROLMENT_TIMEOUT_S", 0.3)

    def say(peer: RawPeer) -> str:
        device = EstPeer(peer).bootstrap(thing.endpoint_name)
        csr = own_request(thing, device)
        peer.pump(lambda: False, patience_s=1.0)
        return device.told(csr)

    async with workshop.running(lwm2m_credentials="est"):
        assert await speaking(thing, say) == REFUSED
    _, last = workshop.found(thing)
    assert last is not None
    assert last.reason == "CERTIFICATE_NOT_REQUESTED"
    assert last.error.startswith("EST enrolment: the device asked for none within")


async def test_other_methods_paths_and_formats_are_told_and_change_nothing(
    workshop: Workshop, thing: LocalThing
) -> None:
    def say(peer: RawPeer) -> list[str]:
        device = EstPeer(peer).bootstrap(thing.endpoint_name)
        csr = own_request(thing, device)
        answers = [
            peer.ask(PUT, uri("/est/sen"), csr),
            device.enroll(csr, path="/est/sren"),
            device.enroll(csr, accept=60),
            peer.ask(2, [*uri("/est/sen"), (12, (281).to_bytes(2, "big"))], csr),
            device.enroll(csr, path="/.well-known/est/sen"),
        ]
        return [dotted(answer) for answer in answers]

    async with workshop.running(lwm2m_credentials="est"):
        assert await speaking(thing, say) == ["4.05", "4.04", "4.06", "4.00", "2.04"]


async def test_where_keys_are_delivered_there_is_no_est(workshop: Workshop, thing: LocalThing) -> None:
    async with workshop.running():
        told = await speaking(thing, lambda peer: EstPeer(peer).told(signing_request()))
    assert told.startswith("4.04")


async def test_the_server_makes_no_key_for_a_device(
    workshop: Workshop, thing: LocalThing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker runs in this process: whatever made a key there would meet this."""

    def say(peer: RawPeer) -> str:
        device = EstPeer(peer).bootstrap(thing.endpoint_name)
        return dotted(device.enroll(csr))

    csr = signing_request(subject(CN=thing.endpoint_name, L="", OU=""))
    async with workshop.running(lwm2m_credentials="est"):
        monkeypatch.setattr(ec, "generate_private_key", None)
        assert await speaking(thing, say) == "2.04"
