"""The bootstrap use cases where devices make their own keys: grant, enrolment, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ftc_core.application.bootstrap import BootstrapService, Conversation, ServerFacts
from ftc_core.application.context import new_id
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.last_bootstrap import BootstrapStep
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.sequence import BootstrapGrant
from ftc_core.lwm2m.timeline import Step
from ftc_core.storage.block_commands import PlaceBlock
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.lmdb import open_lmdb
from tests.conformance.scene import HOUR, NOW, Scene, claim_request, fingerprint
from tests.signing_requests import signing_request, subject

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
KEY = ec.generate_private_key(ec.SECP256R1())


class Desk:
    """The service over a store, each command its own commit; `now` is its clock."""

    def __init__(self, directory: Path) -> None:
        self.store = open_lmdb(directory / "store", create=True)
        self.scene = Scene(self.store)
        self.now = NOW
        self.authority = create_authority("Issuing CA", now=NOW - HOUR, validity=timedelta(days=400))
        issuer = CredentialIssuer(self.authority, timedelta(days=30))
        self.service = BootstrapService(
            self.store, self.commit, issuer, SERVERS, lambda: self.now, new_id, enrolls=True
        )
        self.account = self.scene.trusting_account()
        self.enrollment = self.scene.enrollment(self.account, 1)
        self.request: ClaimRequest = claim_request(1)

    def commit(self, submission: Submission, answer: Callable[[Outcome | FtcError], None]) -> None:
        [outcome] = self.store.write([submission])
        answer(outcome)

    def granted(self) -> tuple[BootstrapGrant, Device]:
        told: list[BootstrapGrant | FtcError] = []
        devices: list[Device] = []
        self.service.claim(self.request, None, told.append, devices.append)
        [grant], [device] = told, devices
        assert isinstance(grant, BootstrapGrant), grant
        return grant, device

    def enroll(self, device: Device, csr: bytes | None = None) -> x509.Certificate:
        csr = signing_request(key=KEY) if csr is None else csr
        return x509.load_der_x509_certificate(self.service.enroll(self.request, device, csr))

    def refusal(self, device: Device, csr: bytes | None = None) -> FtcError:
        with pytest.raises(FtcError) as refused:
            self.enroll(device, csr)
        return refused.value


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    with closing(made.store):
        yield made


def test_the_certificate_is_for_the_devices_key_and_no_key_is_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    csr = signing_request(key=KEY)

    def made_a_key(*_: object) -> NoReturn:
        raise AssertionError("the server makes a private key")

    monkeypatch.setattr(ec, "generate_private_key", made_a_key)
    grant, device = desk.granted()
    assert (grant.client_certificate, grant.client_key) == (None, None)
    assert grant.issuing_certificate == desk.authority.certificate_der
    assert grant.enrolls

    certificate = desk.enroll(device, csr)

    assert certificate.public_key() == KEY.public_key()
    certificate.verify_directly_issued_by(desk.authority.certificate)
    assert [attribute.value for attribute in certificate.subject] == [
        "device-1",
        device.id,
        desk.account.id,
    ]


def test_a_subject_that_says_what_the_device_is_will_do_and_no_other(desk: Desk) -> None:
    _, device = desk.granted()
    own = {"CN": "device-1", "L": device.id, "OU": desk.account.id}
    desk.enroll(device, signing_request(subject(**own)))
    another = {"CN": "device-2", "L": new_id(), "OU": new_id()}
    for name, value in another.items():
        error = desk.refusal(device, signing_request(subject(**{**own, name: value})))
        assert error.reason is Reason.SIGNING_REQUEST_INVALID


def test_a_device_that_was_released_meanwhile_gets_none(desk: Desk) -> None:
    _, device = desk.granted()
    desk.scene.release(desk.enrollment)
    assert desk.refusal(device).reason is Reason.ENROLLMENT_NOT_FOUND


def test_a_device_that_has_another_owner_meanwhile_gets_none(desk: Desk) -> None:
    _, device = desk.granted()
    desk.scene.release(desk.enrollment)
    desk.scene.enrollment(desk.scene.trusting_account(), 1)
    assert desk.refusal(device).reason is Reason.CREDENTIALS_RELEASED


def test_a_device_that_is_blocked_meanwhile_gets_none(desk: Desk) -> None:
    _, device = desk.granted()
    block = Block(
        fingerprint=fingerprint(1), kind=BlockedKind.DEVICE, account_id=desk.account.id, blocked_at=NOW
    )
    desk.scene.run(PlaceBlock(block))
    assert desk.refusal(device).reason is Reason.DEVICE_BLOCKED


def test_with_an_expired_issuing_ca_there_is_none(desk: Desk) -> None:
    _, device = desk.granted()
    desk.now = NOW + timedelta(days=500)
    assert desk.refusal(device).reason is Reason.INTERNAL_4


def test_enrolling_writes_nothing(desk: Desk) -> None:
    _, device = desk.granted()
    before = desk.scene.revision()
    desk.enroll(device)
    desk.refusal(device, b"no request")
    assert desk.scene.revision() == before


def test_the_state_is_recorded_at_finish_and_the_conversation_at_its_end(desk: Desk) -> None:
    _, device = desk.granted()
    finish = Step("Bootstrap-Finish", 98.0, 99.0, "2.04")
    desk.service.finished(device.account_id, device.id)
    stored = desk.scene.find_device(1)
    assert stored is not None
    assert stored.state is DeviceState.BOOTSTRAPPED
    with desk.store.view() as view:
        assert view.get_last_bootstrap(device.account_id, device.id) is None, "it has not ended"
    desk.now = later = NOW + timedelta(seconds=1)
    ended = Step("EST enrolment", 99.0, 100.0, "2.04")
    before = len(desk.scene.events(0))

    desk.service.enrolled(device.account_id, device.id, Conversation((finish, ended), 100.0, "a"))

    with desk.store.view() as view:
        last = view.get_last_bootstrap(device.account_id, device.id)
    assert last is not None
    assert last.completed
    assert last.steps[-1] == BootstrapStep("EST enrolment", NOW, later, "2.04")
    again = desk.scene.find_device(1)
    assert again is not None
    assert (again.state, again.bootstrapped_at) == (DeviceState.BOOTSTRAPPED, NOW)
    assert len(desk.scene.events(0)) == before


def test_a_record_of_a_device_that_has_left_is_lost_and_harms_nobody(desk: Desk) -> None:
    _, device = desk.granted()
    desk.scene.release(desk.enrollment)
    desk.service.enrolled(device.account_id, device.id, Conversation((Step("x", 1.0),), 2.0, "a"))
    assert desk.scene.find_device(1) is None
