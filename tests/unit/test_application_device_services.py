"""The workers' use cases over a real store and a real group commit: bootstrap and registration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ftc_core.application.bootstrap import BootstrapService, Conversation, ServerFacts
from ftc_core.application.commit import Answer
from ftc_core.application.context import new_id
from ftc_core.application.registration import RegistrationService
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.last_bootstrap import BootstrapStep, LastBootstrap
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.registration import DeviceIdentity
from ftc_core.lwm2m.request import Register, Update
from ftc_core.lwm2m.sequence import BootstrapGrant
from ftc_core.lwm2m.timeline import Step
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.commands import Created, Done, Outcome
from ftc_core.storage.group_commit import GroupCommit
from ftc_core.storage.lmdb import open_lmdb
from tests.conformance.scene import CA, HOUR, NOW, Scene, claim_request

SERVERS = ServerFacts(
    lwm2m_uri="coaps://lwm2m.example:5684",
    bootstrap_uri="coaps://bootstrap.example:5784",
    server_ca=b"DER of the server CA",
    lwm2m_certificate=b"lwm2m server",
    valid_until=NOW + timedelta(days=1_000),
    short_server_id=7,
    lifetime=3_600,
    binding="UQ",
)


CONVERSATION = Conversation(
    (Step("Bootstrap-Request", 98.0, 98.5, "2.04"), Step("Bootstrap-Delete /0", 99.0)),
    100.0,
    "192.0.2.1:40000",
)


class Desk:
    """Both services over one store; `now` is their clock."""

    def __init__(self, directory: Path) -> None:
        self.store = open_lmdb(directory / "store", create=True)
        self.group = GroupCommit(self.store)
        self.scene = Scene(self.store)
        self.now = NOW
        commit = AsyncCommit(self.group, asyncio.get_running_loop()).submit
        authority = create_authority("Issuing CA", now=NOW - HOUR, validity=timedelta(days=400))
        issuer = CredentialIssuer(authority, timedelta(days=30))
        self.bootstrap = BootstrapService(self.store, commit, issuer, SERVERS, lambda: self.now, new_id)
        self.registration = RegistrationService(commit, lambda: self.now)

    def close(self) -> None:
        self.group.close()
        self.store.close()

    async def claim(
        self, request: ClaimRequest, certificate: bytes | None = None
    ) -> BootstrapGrant | FtcError:
        future: asyncio.Future[BootstrapGrant | FtcError] = asyncio.get_running_loop().create_future()
        self.bootstrap.claim(request, certificate, future.set_result)
        return await asyncio.wait_for(future, 5)

    async def granted(self, number: int) -> BootstrapGrant:
        grant = await self.claim(claim_request(number))
        assert isinstance(grant, BootstrapGrant), grant
        return grant

    async def settled(self) -> None:
        """Wait for what was committed before: commits are in order."""
        await answer(lambda told: self.registration.update(NOBODY, update(), "", told))

    def last_bootstrap(self, device: Device) -> LastBootstrap | None:
        with self.store.view() as view:
            return view.get_last_bootstrap(device.account_id, device.id)

    def device(self, number: int) -> Device:
        device = self.scene.find_device(number)
        assert device is not None
        return device


async def answer(ask: Callable[[Answer], None]) -> Outcome | FtcError:
    """What a use case of registration answers; never twice."""
    future: asyncio.Future[Outcome | FtcError] = asyncio.get_running_loop().create_future()
    ask(future.set_result)
    return await asyncio.wait_for(future, 5)


NOBODY = DeviceIdentity("nobody", "0" * 32, "0" * 32)


def identity(device: Device) -> DeviceIdentity:
    return DeviceIdentity(device.endpoint_name, device.id, device.account_id)


def update(lifetime: int | None = None) -> Update:
    return Update(account_id="0" * 32, device_id="0" * 32, lifetime=lifetime)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


# --- bootstrap -------------------------------------------------------------------------------------------


async def test_grant_carries_the_account_the_servers_and_fresh_credentials(desk: Desk) -> None:
    account = desk.scene.trusting_account()
    desk.scene.enrollment(account, 1)

    grant = await desk.claim(claim_request(1), b"DER of the device")

    assert isinstance(grant, BootstrapGrant)
    device = desk.device(1)
    assert (grant.account_id, grant.device_id) == (account.id, device.id)
    assert grant.endpoint_name == "device-1"
    assert (grant.lwm2m_uri, grant.bootstrap_uri) == (SERVERS.lwm2m_uri, SERVERS.bootstrap_uri)
    assert grant.lwm2m_server_certificate == grant.bootstrap_server_certificate == SERVERS.server_ca
    assert (grant.short_server_id, grant.lifetime, grant.binding) == (7, 3_600, "UQ")
    assert grant.device_certificate == b"DER of the device"
    subject = x509.load_der_x509_certificate(grant.client_certificate).subject
    assert [
        subject.get_attributes_for_oid(kind)[0].value
        for kind in (NameOID.COMMON_NAME, NameOID.LOCALITY_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
    ] == ["device-1", device.id, account.id]


async def test_grant_is_told_only_when_the_claim_is_durable(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    seen: list[Device | None] = []
    done = asyncio.Event()

    def told(outcome: BootstrapGrant | FtcError) -> None:
        seen.append(desk.scene.find_device(1))
        done.set()

    desk.bootstrap.claim(claim_request(1), None, told)
    assert seen == [], "not within the call"
    await done.wait()

    assert [device.state for device in seen if device is not None] == [DeviceState.CLOUD_ENROLLING]


async def test_refusal_is_told_within_the_call_and_writes_nothing(desk: Desk) -> None:
    desk.scene.trusting_account()
    before = desk.scene.revision()
    told: list[BootstrapGrant | FtcError] = []

    desk.bootstrap.claim(claim_request(1), None, told.append)

    (refusal,) = told
    assert isinstance(refusal, FtcError)
    assert refusal.reason is Reason.ENROLLMENT_NOT_FOUND
    await desk.settled()
    assert desk.scene.revision() == before


async def test_what_changed_since_the_first_look_is_judged_by_the_transaction(desk: Desk) -> None:
    account = desk.scene.trusting_account(quota=1)
    for number in (1, 2):
        desk.scene.enrollment(account, number)

    # Both look before either is committed: there is room for each.
    outcomes = await asyncio.gather(desk.claim(claim_request(1)), desk.claim(claim_request(2)))

    assert isinstance(outcomes[0], BootstrapGrant)
    assert isinstance(outcomes[1], FtcError)
    assert outcomes[1].reason is Reason.QUOTA_REACHED


async def test_second_claim_keeps_the_device_and_makes_another_key(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)

    first, second = await desk.granted(1), await desk.granted(1)

    assert first.device_id == second.device_id
    assert first.client_key != second.client_key


async def test_no_device_is_claimed_for_a_server_whose_certificate_has_expired(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    desk.now = SERVERS.valid_until

    refusal = await desk.claim(claim_request(1))

    assert isinstance(refusal, FtcError)
    assert refusal.reason is Reason.INTERNAL_6
    assert desk.scene.find_device(1) is None
    desk.now = NOW
    assert await desk.granted(1)


async def test_device_is_named_once_its_claim_is_durable_even_if_no_credential_can_be_issued(
    desk: Desk,
) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    desk.now = NOW + timedelta(days=500)  # the issuing CA has expired
    told: list[object] = []
    done = asyncio.Event()

    def answered(outcome: BootstrapGrant | FtcError) -> None:
        told.append(outcome)
        done.set()

    desk.bootstrap.claim(claim_request(1), None, answered, told.append)
    await done.wait()

    device, refusal = told
    assert device == desk.device(1)
    assert isinstance(refusal, FtcError)


async def test_refused_device_is_not_named(desk: Desk) -> None:
    named: list[Device] = []

    desk.bootstrap.claim(claim_request(1), None, lambda _: None, named.append)

    await desk.settled()
    assert named == []


async def test_claim_stands_where_no_credential_can_be_issued_and_the_next_attempt_ends_it(
    desk: Desk,
) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    desk.now = NOW + timedelta(days=500)  # the issuing CA has expired

    failed = await desk.claim(claim_request(1))

    assert isinstance(failed, FtcError)
    assert failed.reason is Reason.INTERNAL_4
    claimed = desk.device(1)
    desk.now = NOW
    assert (await desk.granted(1)).device_id == claimed.id


async def test_claim_that_the_commit_does_not_take_is_answered_like_any_refusal(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    desk.group.close()
    told: list[BootstrapGrant | FtcError] = []

    desk.bootstrap.claim(claim_request(1), None, told.append)

    (refusal,) = told
    assert isinstance(refusal, FtcError)
    assert refusal.reason is Reason.SHUTTING_DOWN
    assert desk.scene.find_device(1) is None


async def test_anchors_are_those_of_now(desk: Desk) -> None:
    assert list(desk.bootstrap.find_anchors([b"subject"], [])) == []

    desk.scene.trusting_account()

    (anchor,) = desk.bootstrap.find_anchors([b"subject"], [])
    assert anchor.fingerprint == CA


async def test_finished_bootstrap_is_recorded(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    grant = await desk.granted(1)
    desk.now = NOW + HOUR

    desk.bootstrap.bootstrapped(grant.account_id, grant.device_id, CONVERSATION)
    await desk.settled()

    def ago(seconds: float) -> datetime:
        return desk.now - timedelta(seconds=seconds)

    device = desk.device(1)
    assert device.state is DeviceState.BOOTSTRAPPED
    assert device.bootstrapped_at == NOW + HOUR
    assert desk.last_bootstrap(device) == LastBootstrap(
        steps=(
            BootstrapStep("Bootstrap-Request", ago(2), ago(1.5), "2.04"),
            BootstrapStep("Bootstrap-Delete /0", ago(1)),
        ),
        ended_at=desk.now,
        address="192.0.2.1:40000",
    )


async def test_failed_bootstrap_is_recorded_with_its_reason(desk: Desk) -> None:
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    grant = await desk.granted(1)
    error = FtcError(Reason.INTERNAL_8, "Bootstrap-Delete /0: the device answered 4.05")

    desk.bootstrap.failed(grant.account_id, grant.device_id, CONVERSATION, error)
    await desk.settled()

    device = desk.device(1)
    last = desk.last_bootstrap(device)
    assert device.state is DeviceState.CLOUD_ENROLLING
    assert last is not None
    assert (last.reason, last.error) == ("INTERNAL_8", "Bootstrap-Delete /0: the device answered 4.05")
    assert [step.name for step in last.steps] == ["Bootstrap-Request", "Bootstrap-Delete /0"]
    assert (last.ended_at, last.address) == (NOW, "192.0.2.1:40000")


async def test_device_that_was_released_in_mid_bootstrap_stays_released(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    enrollment = desk.scene.enrollment(desk.scene.trusting_account(), 1)
    grant = await desk.granted(1)
    desk.scene.release(enrollment)

    desk.bootstrap.bootstrapped(grant.account_id, grant.device_id, CONVERSATION)
    await desk.settled()

    assert desk.scene.find_device(1) is None
    assert "bootstrap not recorded" in capsys.readouterr().out


# --- registration ----------------------------------------------------------------------------------------


async def claimed(desk: Desk, number: int = 1) -> Device:
    desk.scene.enrollment(desk.scene.trusting_account(), number)
    await desk.granted(number)
    return desk.device(number)


async def register(desk: Desk, device: Device, **request: object) -> Outcome | FtcError:
    asked = Register(endpoint_name=device.endpoint_name, **request)  # type: ignore[arg-type]
    return await answer(
        lambda told: desk.registration.register(identity(device), asked, "192.0.2.9:4000", told)
    )


async def test_registration_is_recorded_with_all_that_the_device_said(desk: Desk) -> None:
    device = await claimed(desk)
    desk.now = NOW + HOUR

    outcome = await register(
        desk,
        device,
        lifetime=120,
        lwm2m_version="1.1",
        binding="UQ",
        object_links="</3/0>",
        client_version="4.13",
    )

    assert isinstance(outcome, Created)
    stored = desk.device(1)
    assert stored.state is DeviceState.REGISTERED
    assert (stored.registered_at, stored.last_seen_at) == (NOW + HOUR, NOW + HOUR)
    assert (stored.lifetime, stored.lwm2m_version, stored.binding) == (120, "1.1", "UQ")
    assert (stored.object_links, stored.client_version) == ("</3/0>", "4.13")
    assert stored.last_address == "192.0.2.9:4000"


async def test_update_changes_what_it_names_and_moves_the_end(desk: Desk) -> None:
    device = await claimed(desk)
    await register(desk, device, lifetime=120, object_links="</3/0>")
    desk.now = NOW + timedelta(seconds=100)

    outcome = await answer(
        lambda told: desk.registration.update(identity(device), update(600), "192.0.2.9:4001", told)
    )

    assert isinstance(outcome, Created)
    stored = desk.device(1)
    assert (stored.lifetime, stored.object_links, stored.last_address) == (600, "</3/0>", "192.0.2.9:4001")
    assert stored.registration_expires_at() == NOW + timedelta(seconds=700)


async def test_deregistration_is_recorded_and_happens_once(desk: Desk) -> None:
    device = await claimed(desk)
    await register(desk, device)

    first, second = [
        await answer(lambda told: desk.registration.deregister(identity(device), told)) for _ in range(2)
    ]

    assert isinstance(first, Done)
    assert isinstance(second, FtcError)
    assert second.reason is Reason.REGISTRATION_NOT_FOUND
    assert desk.device(1).state is DeviceState.DEREGISTERED


async def test_device_of_nobody_is_released_to_all_three(desk: Desk) -> None:
    asked = Register(endpoint_name="nobody")
    outcomes = [
        await answer(lambda told: desk.registration.register(NOBODY, asked, "", told)),
        await answer(lambda told: desk.registration.update(NOBODY, update(), "", told)),
        await answer(lambda told: desk.registration.deregister(NOBODY, told)),
    ]

    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, FtcError)]
    assert reasons == [Reason.CREDENTIALS_RELEASED] * 3


async def test_expiry_ends_what_is_over_and_nothing_else(desk: Desk) -> None:
    account = desk.scene.trusting_account()
    for number in (1, 2):
        desk.scene.enrollment(account, number)
        await desk.granted(number)
        await register(desk, desk.device(number), lifetime=100 * number)
    desk.now = NOW + timedelta(seconds=100)

    desk.registration.expire()
    await desk.settled()

    assert desk.device(1).state is DeviceState.DEREGISTERED
    assert desk.device(2).state is DeviceState.REGISTERED


async def test_expiry_goes_on_until_none_is_left(desk: Desk) -> None:
    """More registrations end than one transaction takes."""
    count = 1_001
    account = desk.scene.trusting_account()
    scene = desk.scene
    numbers = range(count)
    outcomes: list[Outcome | FtcError] = scene.try_all(
        *(scene.create_enrollment(account, number) for number in numbers)
    )
    outcomes += scene.try_all(*(scene.claim_command(number) for number in numbers))
    outcomes += scene.try_all(*(scene.register_command(desk.device(number)) for number in numbers))
    assert not [outcome for outcome in outcomes if isinstance(outcome, FtcError)]
    desk.now = datetime.max.replace(tzinfo=UTC)

    desk.registration.expire()
    await desk.settled()  # behind the first sweep
    await desk.settled()  # behind the one that the first asked for

    states = {desk.device(number).state for number in numbers}
    assert states == {DeviceState.DEREGISTERED}
