"""ExplainClaim and `ftc explain` against the running server: what they say, and what a device then meets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from ftc_core.cli.main import cli
from ftc_core.device.client import BootstrapFailed
from ftc_core.domain.account import AccountStatus
from ftc_core.domain.identity import format_enrollment_id
from tests.certificates import Manufacturer
from tests.instance import Instance
from tests.things import Thing


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no account holds yet."""
    return Manufacturer(f"Factory {uuid4()}")


@pytest.fixture
def thing(instance: Instance, factory: Manufacturer) -> Thing:
    return Thing.of(instance, factory)


def explain(instance: Instance, *arguments: str | Path) -> Result:
    return CliRunner().invoke(
        cli,
        ["explain", *map(str, arguments)],
        env={
            "FTC_ENDPOINT": "{}:{}".format(*instance.address("grpc")),
            "FTC_API_KEY": instance.directory.operator_key.read_text().strip(),
            "FTC_CA": str(instance.directory.server_ca_file),
        },
    )


def refused(thing: Thing) -> str:
    """What the device is told."""
    outcome = asyncio.run(thing.bootstrap())
    assert isinstance(outcome, BootstrapFailed)
    return f"{outcome.code} {outcome.text}".strip()


def test_each_step_of_the_way_is_explained_as_the_device_meets_it(
    instance: Instance, factory: Manufacturer, thing: Thing, tmp_path: Path
) -> None:
    certificate, _ = thing.credential.write(tmp_path)

    unknown = explain(instance, certificate)
    assert unknown.exit_code == 1
    assert "would be refused: DTLS alert unknown_ca Secure Connection Failed" in unknown.stdout
    assert "unknown_ca" in refused(thing)

    tenant = instance.tenant()
    tenant.trust(factory)
    waiting = explain(instance, certificate, "--endpoint", thing.endpoint_name)
    assert waiting.exit_code == 1
    assert "would be refused: 4.03 Enrollment ID not registered" in waiting.stdout
    assert refused(thing) == "4.03 Enrollment ID not registered"

    tenant.enroll(thing.credential.certificate)
    let_in = explain(instance, certificate)
    assert let_in.exit_code == 0, let_in.output
    assert f"would be claimed for the first time by {tenant.name}" in let_in.stdout
    asyncio.run(thing.claimed())

    known = explain(instance, format_enrollment_id(thing.fingerprint), "--json")
    device = tenant.device(thing.endpoint_name)
    assert device is not None
    answer = json.loads(known.stdout)
    assert (answer["granted"], answer["device"], answer["account_id"]) == (True, device.name, tenant.id)
    assert answer["checks"][0] == {
        "reason": "CA_NOT_UPLOADED",
        "result": "ASSUMED",
        "detail": "the device's certificate was not given",
    }


def test_account_of_another_is_not_told(
    instance: Instance, factory: Manufacturer, thing: Thing, tmp_path: Path
) -> None:
    holder, stranger = instance.tenant(status=AccountStatus.SUSPENDED), instance.tenant()
    for tenant in (holder, stranger):
        tenant.trust(factory)
    holder.enroll(thing.credential.certificate)
    certificate, _ = thing.credential.write(tmp_path)

    everything = explain(instance, certificate)
    from_outside = explain(instance, certificate, "--account", stranger.id)

    assert "would be refused: 4.03 Account suspended" in everything.stdout
    assert "would be refused: 4.03 Enrollment ID not registered" in from_outside.stdout
    assert holder.id not in from_outside.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["A-00:11"], "enrollment ID"),
        (["A-" + ":".join(["00"] * 32)], "endpoint_name is required"),
        (["/nowhere/device.pem"], "/nowhere/device.pem"),
    ],
)
def test_question_that_makes_no_sense_is_refused(instance: Instance, arguments: list[str], told: str) -> None:
    answer = explain(instance, *arguments)

    assert answer.exit_code == 1
    assert told in answer.output
