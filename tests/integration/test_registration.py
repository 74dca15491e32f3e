"""Registration at the LwM2M server: kept alive, ended, expired; and devices that have another owner now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ftc_core.device.client import BootstrapOutcome
from ftc_core.device.registration import OperationDone, OperationFailed
from ftc_core.device.retry import Reaction
from ftc_core.domain.device import DeviceState
from ftc_core.lwm2m.messages import dotted
from ftc_grpc._gen.ftc.v1.device_pb2 import Device
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest
from tests.certificates import Manufacturer, PrivateKey
from tests.instance import Instance, Tenant, eventually
from tests.raw_peer import DELETE, GET, POST, RawPeer, uri
from tests.things import Thing, claimed_thing, key_der


def failure(outcome: object) -> tuple[str, str, Reaction]:
    assert isinstance(outcome, OperationFailed), outcome
    return outcome.code, outcome.text, outcome.reaction


class Claimed:
    """A device of `owner`, its enrollment, and what its bootstrap gave."""

    def __init__(self, owner: Tenant, thing: Thing, enrollment: str, outcome: BootstrapOutcome) -> None:
        self.owner = owner
        self.thing = thing
        self.enrollment = enrollment
        self.outcome = outcome

    def state(self) -> DeviceState | None:
        return self.owner.state(self.thing.endpoint_name)

    def page(self) -> Device:
        """What GetDevice shows."""
        api = self.owner.instance.api
        name = f"{self.owner.name}/devices/{self.outcome.device_id}"
        return api.call(api.devices.GetDevice, GetDeviceRequest(name=name))

    def connect(self) -> RawPeer:
        """At the LwM2M server, with the credentials of the bootstrap."""
        account = self.outcome.lwm2m
        certificate = x509.load_der_x509_certificate(account.public_key or b"")
        key = load_der_private_key(account.secret_key or b"", password=None)
        assert isinstance(key, PrivateKey)
        instance = self.owner.instance
        return RawPeer(instance.address("lwm2m"), certificate, key, instance.server_ca).connect()


@pytest.fixture
async def claimed(owner: Tenant, manufacturer: Manufacturer) -> Claimed:
    thing = Thing.of(owner.instance, manufacturer)
    enrollment = owner.enroll(thing.credential.certificate)
    made = Claimed(owner, thing, enrollment, await thing.claimed())
    await asyncio.to_thread(eventually, lambda: made.state() is DeviceState.BOOTSTRAPPED, "it is recorded")
    return made


@pytest.fixture
def peer(claimed: Claimed) -> Iterator[RawPeer]:
    with claimed.connect() as raw:
        yield raw


async def test_update_keeps_and_changes_the_registration(claimed: Claimed) -> None:
    device = await claimed.thing.registered(claimed.outcome, claimed.owner.id, lifetime=300)
    before = claimed.owner.device(claimed.thing.endpoint_name)

    kept = await device.update()
    changed = await device.update(lifetime=900)

    after = claimed.owner.device(claimed.thing.endpoint_name)
    assert isinstance(kept, OperationDone)
    assert isinstance(changed, OperationDone)
    assert before is not None
    assert after is not None
    assert (before.lifetime.seconds, after.lifetime.seconds) == (300, 900)
    assert after.registered_at == before.registered_at
    assert after.last_seen_at.ToNanoseconds() > before.last_seen_at.ToNanoseconds()
    device.close()


async def test_deregistered_device_can_register_again(claimed: Claimed) -> None:
    device = await claimed.thing.registered(claimed.outcome, claimed.owner.id)

    assert isinstance(await device.leave(), OperationDone)
    assert claimed.state() is DeviceState.DEREGISTERED

    again = await claimed.thing.registered(claimed.outcome, claimed.owner.id)
    assert claimed.state() is DeviceState.REGISTERED
    assert again.location == f"/rd/{claimed.owner.id}/{claimed.outcome.device_id}"
    again.close()


async def test_registration_ends_with_its_lifetime_and_an_update_comes_too_late(claimed: Claimed) -> None:
    device = await claimed.thing.registered(claimed.outcome, claimed.owner.id, lifetime=1)
    assert claimed.state() is DeviceState.REGISTERED

    await asyncio.to_thread(
        eventually, lambda: claimed.state() is DeviceState.DEREGISTERED, "the registration expires"
    )

    assert failure(await device.update()) == ("4.04", "Not registered", Reaction.RETRY)
    assert claimed.state() is DeviceState.DEREGISTERED
    device.close()


async def test_updates_in_time_outlive_the_lifetime(claimed: Claimed) -> None:
    device = await claimed.thing.registered(claimed.outcome, claimed.owner.id, lifetime=2)

    for _ in range(3):
        await asyncio.sleep(1)
        assert isinstance(await device.update(), OperationDone)

    assert claimed.state() is DeviceState.REGISTERED
    device.close()


async def test_registration_outlives_its_association(claimed: Claimed) -> None:
    device = await claimed.thing.registered(claimed.outcome, claimed.owner.id)
    device.close()

    with claimed.connect() as raw:
        answer = raw.ask(POST, uri(device.location))

    assert dotted(answer) == "2.04"
    assert claimed.state() is DeviceState.REGISTERED


async def test_endpoint_name_must_be_the_certificate_s(claimed: Claimed) -> None:
    refused = await claimed.thing.try_to_register(
        claimed.outcome, claimed.owner.id, endpoint_name="somebody-else"
    )

    assert failure(refused) == ("4.03", "Device released", Reaction.BOOTSTRAP_AGAIN)
    assert claimed.state() is DeviceState.BOOTSTRAPPED


async def test_account_must_be_the_certificate_s(claimed: Claimed) -> None:
    refused = await claimed.thing.try_to_register(claimed.outcome, "0" * 32)

    assert failure(refused) == ("4.03", "Device released", Reaction.BOOTSTRAP_AGAIN)
    assert claimed.state() is DeviceState.BOOTSTRAPPED


@pytest.mark.parametrize("code", [POST, DELETE])
async def test_registration_of_another_device_is_out_of_reach(
    code: int, claimed: Claimed, peer: RawPeer, manufacturer: Manufacturer
) -> None:
    neighbour, outcome = await claimed_thing(claimed.owner, manufacturer)
    theirs = await neighbour.registered(outcome, claimed.owner.id)

    answer = peer.ask(code, uri(theirs.location))

    assert (dotted(answer), answer.payload) == ("4.04", b"Not registered")
    assert claimed.owner.state(neighbour.endpoint_name) is DeviceState.REGISTERED
    theirs.close()


@pytest.mark.parametrize(
    ("code", "path", "query", "expected"),
    [
        (POST, "/rd", [], "4.00 ep is missing"),
        (POST, "/rd", [b"ep=\xff"], "4.00 ep is not valid UTF-8"),
        (POST, "/rd", [b"ep={name}", b"lt=0"], "4.00 lt is not a lifetime"),
        (POST, "/rd", [b"ep={name}", b"lt=soon"], "4.00 lt is not a lifetime"),
        (POST, "/rd", [b"ep={name}", b"lt=4294967296"], "4.00 lt is not a lifetime"),
        (GET, "/rd", [], "4.05 Method not allowed"),
        (POST, "/bs", [b"ep={name}"], "4.04 No such resource"),
        (POST, "/rd/somewhere", [], "4.04 Not registered"),
        (POST, "/rd/{account}/{device}", [], "4.04 Not registered"),
        (DELETE, "/rd/{account}/{device}", [], "4.04 Not registered"),
    ],
)
def test_bad_request_is_told_what_is_wrong_and_changes_nothing(
    code: int, path: str, query: list[bytes], expected: str, claimed: Claimed, peer: RawPeer
) -> None:
    before = claimed.owner.everything()
    place = path.format(account=claimed.owner.id, device=claimed.outcome.device_id)
    name = claimed.thing.endpoint_name.encode()

    answer = peer.ask(code, uri(place, *(value.replace(b"{name}", name) for value in query)))

    assert f"{dotted(answer)} {answer.payload.decode()}" == expected
    assert claimed.owner.everything() == before


LINKS = b'</>;rt="oma.lwm2m",</1/0>,</3>;ver=1.1,</3/0>,</5>'


def with_links(options: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Content-Format 40 (option 12) behind the path."""
    return sorted([*options, (12, b"\x28")], key=lambda option: option[0])


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_what_a_device_says_in_any_order_and_among_other_things_is_on_its_page(
    version: str, claimed: Claimed, peer: RawPeer
) -> None:
    query = [
        b"b=UQ",
        b"x=1",
        b"mccv=4.13.2",
        b"lt=7200",
        b"iep=" + claimed.outcome.device_id.encode(),
        b"sms=123",
        b"lwm2m=" + version.encode(),
        b"d=" + claimed.owner.id.encode(),
        b"Q",
        b"ep=" + claimed.thing.endpoint_name.encode(),
        b"aid=" + claimed.owner.id.encode(),
    ]

    answer = peer.ask(POST, with_links(uri("/rd", *query)), LINKS)

    assert dotted(answer) == "2.01"
    assert answer.opt.location_path == ("rd", claimed.owner.id, claimed.outcome.device_id)
    page = claimed.page()
    assert (page.lwm2m_version, page.binding, page.lifetime.seconds) == (version, "UQ", 7_200)
    assert page.client_version == "4.13.2"
    assert page.object_links == LINKS.decode()
    assert [(one.object_id, one.version, list(one.instance_ids)) for one in page.objects] == [
        (1, "", [0]),
        (3, "1.1", [0]),
        (5, "", []),
    ]
    assert page.last_address == f"127.0.0.1:{peer.sock.getsockname()[1]}"


def test_device_that_says_its_name_alone_gets_the_defaults(claimed: Claimed, peer: RawPeer) -> None:
    """LwM2M 1.0.2 TS §5.3.1: `lt` is 86,400, the version 1.0, the binding U."""
    answer = peer.ask(POST, uri("/rd", b"ep=" + claimed.thing.endpoint_name.encode()))

    assert dotted(answer) == "2.01"
    page = claimed.page()
    assert (page.lwm2m_version, page.binding, page.lifetime.seconds) == ("1.0", "U", 86_400)
    assert (page.object_links, list(page.objects)) == ("", [])


def test_update_changes_what_it_says_and_keeps_the_rest(claimed: Claimed, peer: RawPeer) -> None:
    name = b"ep=" + claimed.thing.endpoint_name.encode()
    answer = peer.ask(POST, with_links(uri("/rd", name, b"lwm2m=1.1", b"b=U", b"lt=300")), LINKS)
    location = "/" + "/".join(answer.opt.location_path)

    assert dotted(peer.ask(POST, uri(location, b"b=UQ", b"lt=900", b"odd"))) == "2.04"
    page = claimed.page()
    assert (page.binding, page.lifetime.seconds, page.object_links) == ("UQ", 900, LINKS.decode())

    assert dotted(peer.ask(POST, with_links(uri(location)), b"</1/0>,</3/0>,</9/0>")) == "2.04"
    page = claimed.page()
    assert (page.binding, page.lifetime.seconds, page.lwm2m_version) == ("UQ", 900, "1.1")
    assert [one.object_id for one in page.objects] == [1, 3, 9]


@pytest.mark.parametrize("code", [POST, DELETE])
def test_device_that_is_not_registered_is_told_so(code: int, claimed: Claimed, peer: RawPeer) -> None:
    location = f"/rd/{claimed.owner.id}/{claimed.outcome.device_id}"

    answer = peer.ask(code, uri(location))

    assert (dotted(answer), answer.payload) == ("4.04", b"Not registered")
    assert claimed.state() is DeviceState.BOOTSTRAPPED


def test_registering_again_takes_the_place_of_the_registration(claimed: Claimed, peer: RawPeer) -> None:
    """LwM2M 1.0.2 TS §5.3.1: a second Register of an endpoint replaces the first; its location stays."""
    name = b"ep=" + claimed.thing.endpoint_name.encode()
    first = peer.ask(POST, with_links(uri("/rd", name, b"lt=300", b"b=UQ")), LINKS)

    second = peer.ask(POST, uri("/rd", name))

    assert (dotted(first), dotted(second)) == ("2.01", "2.01")
    assert second.opt.location_path == first.opt.location_path
    page = claimed.page()
    assert (page.lifetime.seconds, page.binding, page.object_links) == (86_400, "U", "")


def test_links_that_are_no_links_do_not_keep_a_device_out(claimed: Claimed, peer: RawPeer) -> None:
    name = b"ep=" + claimed.thing.endpoint_name.encode()

    answer = peer.ask(POST, with_links(uri("/rd", name)), b"</1/0>,oops")

    assert dotted(answer) == "2.01"
    page = claimed.page()
    assert (page.object_links, list(page.objects)) == ("</1/0>,oops", [])


@pytest.mark.parametrize("lifetime", [1, 2**32 - 1])
def test_shortest_and_longest_lifetimes_are_taken(lifetime: int, claimed: Claimed, peer: RawPeer) -> None:
    query = [f"ep={claimed.thing.endpoint_name}".encode(), f"lt={lifetime}".encode()]

    answer = peer.ask(POST, uri("/rd", *query))

    assert dotted(answer) == "2.01"
    assert answer.opt.location_path == ("rd", claimed.owner.id, claimed.outcome.device_id)
    device = claimed.owner.device(claimed.thing.endpoint_name)
    assert device is not None
    assert device.lifetime.seconds == lifetime


async def test_released_device_gets_4_03_and_then_belongs_to_whoever_enrolls_it(
    claimed: Claimed, instance: Instance, manufacturer: Manufacturer
) -> None:
    thing, owner = claimed.thing, claimed.owner
    connected = await thing.registered(claimed.outcome, owner.id)
    released = ("4.03", "Device released", Reaction.BOOTSTRAP_AGAIN)

    owner.release(claimed.enrollment)

    assert owner.devices() == []
    assert owner.device_count() == 0
    assert failure(await connected.update()) == released
    assert failure(await thing.try_to_register(claimed.outcome, owner.id)) == released
    connected.close()

    successor = instance.tenant()
    successor.trust(manufacturer)
    successor.enroll(thing.credential.certificate)
    outcome = await thing.claimed()
    registered = await thing.registered(outcome, successor.id)

    assert successor.state(thing.endpoint_name) is DeviceState.REGISTERED
    assert outcome.device_id != claimed.outcome.device_id
    assert owner.devices() == []
    # The credentials of the first owner are worth nothing, now that the device is somebody else's.
    assert failure(await thing.try_to_register(claimed.outcome, owner.id)) == released
    registered.close()


async def test_credentials_of_before_the_last_bootstrap_still_work(claimed: Claimed) -> None:
    """A device that lost power before it kept the new ones must not be locked out."""
    await claimed.thing.claimed()

    registered = await claimed.thing.registered(claimed.outcome, claimed.owner.id)

    assert claimed.state() is DeviceState.REGISTERED
    registered.close()


async def test_bootstrap_certificate_is_no_credential_for_the_lwm2m_server(claimed: Claimed) -> None:
    account = replace(
        claimed.outcome.lwm2m,
        public_key=claimed.thing.credential.der,
        secret_key=key_der(claimed.thing.credential),
    )

    refused = await claimed.thing.try_to_register(replace(claimed.outcome, lwm2m=account), claimed.owner.id)

    assert failure(refused) == ("", "Secure Connection Failed: unknown_ca", Reaction.RETRY)


async def test_certificate_forged_in_the_name_of_our_issuing_ca_fails_the_handshake(
    claimed: Claimed,
) -> None:
    name = claimed.owner.instance.directory.issuing_ca.certificate.subject.rfc4514_string()
    forged = Manufacturer(name.removeprefix("CN=")).device(claimed.thing.endpoint_name)
    account = replace(claimed.outcome.lwm2m, public_key=forged.der, secret_key=key_der(forged))

    refused = await claimed.thing.try_to_register(replace(claimed.outcome, lwm2m=account), claimed.owner.id)

    assert failure(refused)[:2] == ("", "Secure Connection Failed: bad_certificate")
