"""`ftc device run` where devices make their own LwM2M keys: what it prints, and what its bundle keeps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ftc_core.device.bundle import LwM2MCredentials
from tests.instance import FTC, Instance, eventually
from tests.integration.test_device_command import STEPS, Bundled, Factory, steps

EST_STEPS = [*STEPS, "EST enrolment 2.04"]


@pytest.fixture
def device(est_instance: Instance, tmp_path: Path) -> Bundled:
    factory, owner = Factory(tmp_path / "factory", est_instance), est_instance.tenant()
    owner.trust(factory)
    return Bundled(owner, factory)


def credentials(device: Bundled) -> LwM2MCredentials:
    """Of its bundle, whose key and certificate must fit."""
    kept = device.bundle.lwm2m
    assert kept is not None
    certificate = x509.load_der_x509_certificate(kept.certificate)
    assert load_der_private_key(kept.private_key, None).public_key() == certificate.public_key()
    return kept


def test_the_step_is_printed_and_the_bundle_keeps_certificate_and_key(device: Bundled) -> None:
    device.enroll()

    lines = device.run()

    assert steps(lines) == EST_STEPS
    assert lines[-1].startswith(f"registered at /rd/{device.owner.id}/")
    assert credentials(device).account_id == device.owner.id


@pytest.mark.parametrize(
    ("flags", "accept"),
    [
        ((), ""),
        (("--lwm2m", "1.1"), " Accept=281"),
        (("--lwm2m", "1.2", "--pack"), " Accept=281"),
        (("--block-size", "64"), ""),
    ],
)
def test_the_trace_shows_the_step(device: Bundled, flags: tuple[str, ...], accept: str) -> None:
    device.enroll()

    lines = device.run("--trace", *flags)

    (asked, *_) = [line for line in lines if "-> CON POST /est/sen" in line]
    assert accept in asked
    assert '"' not in asked
    assert lines[-1].startswith("registered at ")
    credentials(device)


def test_the_owner_is_shown_the_step(device: Bundled) -> None:
    device.enroll()
    device.run()
    instance = device.owner.instance
    command = [*FTC, "device", "show", device.name, "--account", device.owner.id]
    command += ["--endpoint", "{}:{}".format(*instance.address("grpc"))]
    command += ["--ca", str(instance.directory.server_ca_file)]
    command += ["--api-key-file", str(instance.directory.operator_key)]

    def shown() -> bool:
        page = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return bool(re.search(r"ms +[0-9.]+ ms  2\.04  EST enrolment", page))

    eventually(shown, "the step is on the device's page")


def test_a_device_whose_owner_changes_makes_another_key(device: Bundled, est_instance: Instance) -> None:
    enrollment = device.enroll()
    device.run()
    first = credentials(device)
    device.owner.release(enrollment)
    other = est_instance.tenant()
    other.trust(device.factory)
    device.enroll(other)

    refused = device.refused()  # it still says the account that released it
    lines = device.run("--factory-reset")

    assert "4.03 Enrollment ID not registered" in refused
    assert steps(lines) == EST_STEPS
    second = credentials(device)
    assert second.account_id == other.id
    assert second.private_key != first.private_key
    assert second.certificate != first.certificate


def test_a_transferred_device_is_refused_and_enrolls_by_itself(
    device: Bundled, est_instance: Instance
) -> None:
    device.enroll()
    device.run()
    first = credentials(device)
    other = est_instance.tenant()
    other.trust(device.factory)
    device.owner.transfer(device.name, to=other)

    lines = device.run()

    assert any(line.startswith("register refused: 4.03") for line in lines)
    assert steps(lines) == EST_STEPS
    second = credentials(device)
    assert second.account_id == other.id
    assert second.private_key != first.private_key
