"""Claim secrets end to end: the factory, the enrollment, the proof, and who gets nothing."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.pki import create_authority
from ftc_core.device.bundle import Bundle
from ftc_core.device.client import BootstrapFailed, Succeeded
from ftc_core.device.powered import PoweredDevice
from ftc_core.domain.claim_secret import claim_proof, claim_verifier
from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.dtls.events import HandshakeCompleted
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.provision import ProvisionPlan, provision
from ftc_core.lwm2m.messages import dotted
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    BatchCreateDeviceEnrollmentsRequest,
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    GetDeviceEnrollmentRequest,
)
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, Tenant
from tests.raw_peer import POST, RawPeer, uri

OTHER_SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Factory(Manufacturer):
    """The manufacturer of provisioned bundles."""

    def __init__(self) -> None:
        self.authority = create_authority(f"Factory {new_id()}", now=utc_now())
        self.certificate, self.private_key = self.authority.certificate, self.authority.private_key


@dataclass
class Made:
    """A device with a claim secret, which two accounts could claim: both trust its CA."""

    buyer: Tenant
    rival: Tenant
    bundle: Bundle
    secret: str
    list: Path

    @property
    def identity(self) -> str:
        return self.bundle.enrollment_id

    def enroll(
        self, tenant: Tenant, secret: str = "", *, claim_not_before: Timestamp | None = None
    ) -> DeviceEnrollment:
        api = tenant.instance.api
        wanted = DeviceEnrollment(
            enrollment_identity=self.identity, claim_secret=secret, claim_not_before=claim_not_before
        )
        request = CreateDeviceEnrollmentRequest(parent=tenant.name, device_enrollment=wanted)
        return api.call(api.device_enrollments.CreateDeviceEnrollment, request)

    def take_off(self, enrollment: DeviceEnrollment) -> None:
        api = self.buyer.instance.api
        request = DeleteDeviceEnrollmentRequest(name=enrollment.name)
        api.call(api.device_enrollments.DeleteDeviceEnrollment, request)

    def attempt(self) -> str:
        """What one attempt of the device looks like to it: a refusal's code and text, or its owner."""
        outcome = asyncio.run(PoweredDevice(self.bundle).bootstrap())
        if isinstance(outcome, BootstrapFailed):
            return f"{outcome.code} {outcome.text}".strip()
        assert isinstance(outcome, Succeeded)
        credentials = self.bundle.lwm2m
        assert credentials is not None
        return credentials.account_id

    def peer(self) -> RawPeer:
        """The same device with its requests in the test's hand."""
        certificate = x509.load_der_x509_certificate(self.bundle.bootstrap_certificate)
        key = load_der_private_key(self.bundle.bootstrap_private_key, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        instance = self.buyer.instance
        return RawPeer(instance.address("bootstrap"), certificate, key, instance.server_ca)


@pytest.fixture
def made(instance: Instance, tmp_path: Path) -> Made:
    factory = Factory()
    plan = ProvisionPlan(
        count=1,
        out=tmp_path / "factory",
        authority=factory.authority,
        server_ca=instance.server_ca,
        bootstrap_uri=instance.bootstrap_uri,
        name_prefix="guarded-",
        validity=timedelta(days=1),
        now=utc_now(),
        claim_secrets=True,
    )
    (device,) = provision(plan)
    buyer, rival = instance.tenant(), instance.tenant()
    buyer.trust(factory)
    rival.trust(factory)
    secrets = tmp_path / "factory" / "claim-secrets.csv"
    _, (_, _, secret) = csv.reader(secrets.read_text().splitlines())
    return Made(buyer, rival, Bundle.load(device.directory), secret, secrets)


def stamp(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(utc_now() + timedelta(seconds=seconds))
    return made


def test_a_device_that_proves_its_secret_goes_to_the_account_that_knows_it(made: Made) -> None:
    enrollment = made.enroll(made.buyer, made.secret)
    assert (enrollment.has_claim_secret, enrollment.claim_secret) == (True, "")
    assert made.attempt() == made.buyer.id


def test_whoever_saw_the_id_on_the_wire_gets_nothing(made: Made) -> None:
    plain = made.enroll(made.rival)
    assert made.attempt() == "4.03 Enrollment has no claim secret"
    made.take_off(plain)
    guessed = made.enroll(made.rival, OTHER_SECRET)
    assert made.attempt() == "4.03 Claim secret does not match"
    made.take_off(guessed)
    made.enroll(made.buyer, made.secret)
    assert made.attempt() == made.buyer.id


def test_a_device_that_lost_its_secret_is_refused(made: Made) -> None:
    made.enroll(made.buyer, made.secret)
    (made.bundle.directory / "ftc.ClaimSecret").unlink()
    assert made.attempt() == "4.03 Claim secret not proved"


def test_a_claimed_device_bootstraps_again_with_its_certificate(made: Made) -> None:
    made.enroll(made.buyer, made.secret)
    assert made.attempt() == made.buyer.id
    (made.bundle.directory / "ftc.ClaimSecret").unlink()
    assert made.attempt() == made.buyer.id


def test_a_factory_reset_keeps_the_secret(made: Made) -> None:
    enrollment = made.enroll(made.buyer, made.secret)
    assert made.attempt() == made.buyer.id
    made.take_off(enrollment)
    made.bundle.factory_reset()
    made.enroll(made.rival, made.secret)  # bought from the first owner, secret included
    assert made.attempt() == made.rival.id


def test_the_window_opens_when_it_says(made: Made) -> None:
    made.enroll(made.buyer, made.secret, claim_not_before=stamp(0.7))
    assert made.attempt() == "4.03 Enrollment is not open yet"
    asyncio.run(asyncio.sleep(0.8))
    assert made.attempt() == made.buyer.id


def test_a_proof_is_good_over_its_own_association_alone(made: Made) -> None:
    made.enroll(made.buyer, made.secret)
    fingerprint = parse_enrollment_id(made.identity)
    verifier = claim_verifier(made.secret, fingerprint)
    request = b"ep=" + made.bundle.endpoint_name.encode()

    def proof(peer: RawPeer) -> bytes:
        completed = next(event for event in peer.events if isinstance(event, HandshakeCompleted))
        return b"ftcp=" + claim_proof(verifier, fingerprint, completed.path.channel_binding).encode()

    with made.peer().connect() as first:
        overheard = proof(first)
    with made.peer().connect() as second:
        own = proof(second)
        replayed = second.ask(POST, uri("/bs", request, overheard))
        granted = second.ask(POST, uri("/bs", request, own))
    assert (dotted(replayed), replayed.payload) == ("4.03", b"Claim secret does not match")
    assert dotted(granted) == "2.04"


def test_an_explanation_takes_the_proof_for_granted_and_says_so(made: Made) -> None:
    made.enroll(made.buyer, made.secret)
    done = ftc(made, "explain", made.identity, "--endpoint", made.bundle.endpoint_name, "--json")
    assert done.returncode == 0, done.stderr
    checks = {check["reason"]: check["result"] for check in json.loads(done.stdout)["checks"]}
    assert (checks["CLAIM_TOO_EARLY"], checks["CLAIM_PROOF_REQUIRED"]) == ("PASSED", "ASSUMED")


# --- `ftc` ---------------------------------------------------------------------------------------------


def test_ftc_enrolls_with_the_factorys_list_or_with_one_secret(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "secret.txt"
    other.write_text(OTHER_SECRET + "\n")
    for file, answer in ((other, "4.03 Claim secret does not match"), (made.list, made.buyer.id)):
        done = ftc(made, "enrollment", "create", made.identity, "--claim-secret-file", str(file), "--json")
        assert done.returncode == 0, done.stderr
        created = json.loads(done.stdout)
        assert created["has_claim_secret"]
        assert made.attempt() == answer
        if file is other:
            done = ftc(made, "enrollment", "delete", created["name"])
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ("enrollment_id,endpoint_name,claim_secret\n", 1, "has no claim secret of A-"),
        ("enrollment_id,endpoint_name,claim_secret\nA-00,x,y\n", 1, "line 2 is not a claim secret"),
        ("enrollment_id,endpoint_name\n", 1, "line 1: expected"),
        ("SHORT\n", 1, "is not 26 to 64 characters"),
    ],
)
def test_ftc_refuses_a_file_without_the_secret(
    made: Made, tmp_path: Path, content: str, code: int, text: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content)
    done = ftc(made, "enrollment", "create", made.identity, "--claim-secret-file", str(file))
    assert done.returncode == code
    assert text in done.stderr


def ftc(made: Made, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ftc` with the operator's key, in the buyer's account."""
    directory = made.buyer.instance.directory
    return subprocess.run(
        [
            *FTC,
            *arguments,
            "--account",
            made.buyer.id,
            "--api-key-file",
            str(directory.operator_key),
            "--ca",
            str(directory.server_ca_file),
        ],
        env={**os.environ, "FTC_ENDPOINT": "{}:{}".format(*made.buyer.instance.address("grpc"))},
        capture_output=True,
        text=True,
        timeout=30,
    )


# --- the API ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"claim_secret": "too short"}, "device_enrollment.claim_secret"),
        ({"claim_secret": "A" * 32}, "device_enrollment.claim_secret"),
        ({"claim_not_before": stamp(60)}, "device_enrollment.claim_not_before"),
        (
            {"claim_secret": OTHER_SECRET, "claim_not_before": stamp(7_200), "expires_at": stamp(3_600)},
            "device_enrollment.claim_not_before",
        ),
    ],
)
def test_a_bad_secret_or_window_is_refused_and_named(
    made: Made, fields: dict[str, str | Timestamp], field: str
) -> None:
    api = made.buyer.instance.api
    wanted = DeviceEnrollment(enrollment_identity=made.identity, **fields)  # type: ignore[arg-type]
    request = CreateDeviceEnrollmentRequest(parent=made.buyer.name, device_enrollment=wanted)
    with pytest.raises(FtcError) as refusal:
        api.call(api.device_enrollments.CreateDeviceEnrollment, request)
    assert (refusal.value.reason, refusal.value.field) == (Reason.FIELD_INVALID, field)


def test_a_batch_takes_secrets_and_none_ever_comes_back(made: Made) -> None:
    api = made.buyer.instance.api
    wanted = DeviceEnrollment(enrollment_identity=made.identity, claim_secret=made.secret.lower())
    rows = [CreateDeviceEnrollmentRequest(device_enrollment=wanted)]
    batch = BatchCreateDeviceEnrollmentsRequest(parent=made.buyer.name, requests=rows)
    [created] = api.call(api.device_enrollments.BatchCreateDeviceEnrollments, batch).device_enrollments
    read = api.call(api.device_enrollments.GetDeviceEnrollment, GetDeviceEnrollmentRequest(name=created.name))
    assert read.has_claim_secret
    assert made.secret not in str(created) + str(read)
    assert made.secret.encode() not in b"".join(
        path.read_bytes() for path in made.buyer.instance.directory.store.iterdir()
    ), "stored hashed"
    assert made.attempt() == made.buyer.id


def test_a_repeat_with_another_secret_is_another_request(made: Made) -> None:
    api, request_id = made.buyer.instance.api, "0b7f7d1e-6a0e-4c33-9c61-4b8f1d3d7f10"

    def create(secret: str) -> DeviceEnrollment:
        wanted = DeviceEnrollment(enrollment_identity=made.identity, claim_secret=secret)
        request = CreateDeviceEnrollmentRequest(
            parent=made.buyer.name, device_enrollment=wanted, request_id=request_id
        )
        return api.call(api.device_enrollments.CreateDeviceEnrollment, request)

    first = create(made.secret)
    assert create(made.secret) == first
    with pytest.raises(FtcError) as refusal:
        create(OTHER_SECRET)
    assert refusal.value.reason is Reason.REQUEST_ID_REUSED
