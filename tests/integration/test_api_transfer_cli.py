"""`ftc transfer …` against a running API: what two people see on their terminals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ftc_core.application import transfers
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer
from tests.integration.test_api_cli import Shell
from tests.integration.test_api_devices import claim


@pytest.fixture(scope="module")
def factory() -> Manufacturer:
    return Manufacturer("Factory")


@pytest.fixture
def giver(api: TestApi, tenant: Tenant, tmp_path: Path) -> Shell:
    return Shell(api, tenant.api_key, tmp_path)


@pytest.fixture
def taker(api: TestApi, other: Tenant, factory: Manufacturer, tmp_path: Path) -> Shell:
    claim(api, other, factory, "taker-1")
    return Shell(api, other.api_key, tmp_path)


@pytest.fixture
def device(api: TestApi, tenant: Tenant, factory: Manufacturer) -> str:
    """The ID of a device of the giver."""
    return claim(api, tenant, factory, "device-1").device.id


def test_a_device_is_handed_over_to_a_named_account(
    giver: Shell, taker: Shell, device: str, other: Tenant
) -> None:
    made = giver.json("transfer", "create", device, "--to", other.id, "--note", "As agreed")[
        "device_transfer"
    ]
    [offered] = taker.json("transfer", "list", "--filter", "direction = INCOMING AND state = OFFERED")
    shown = taker.run("transfer", "get", made["id"])
    checked = taker.json("transfer", "accept", made["id"], "--check")
    accepted = taker.json("transfer", "accept", made["id"])

    assert (made["state"], made["direction"], made["note"]) == ("OFFERED", "OUTGOING", "As agreed")
    assert (offered["id"], offered["device_count"]) == (made["id"], 1)
    assert re.search(rf"{device} +device-1 +A-", shown.stdout)
    assert "INCOMING" in shown.stdout
    assert checked["state"] == accepted["state"] == "ACCEPTED"
    assert giver.json("device", "list") == []
    assert device in [found["id"] for found in taker.json("device", "list")]
    assert giver.json("transfer", "get", made["id"])["state"] == "ACCEPTED"


def test_a_code_stands_alone_on_the_last_line(giver: Shell, taker: Shell, device: str) -> None:
    made = giver.run("transfer", "create", device)
    assert made.exit_code == 0
    code = made.stdout.splitlines()[-1]
    assert re.fullmatch(r"[0-9a-f]{32}-[A-Z2-7]{26}", code)
    assert "cannot be shown again" in made.stderr

    accepted = taker.run("transfer", "accept", FTC_TRANSFER_CODE=code)
    again = taker.run("transfer", "accept", "--code", code)

    assert accepted.exit_code == 0
    assert "ACCEPTED" in accepted.stdout
    assert again.exit_code == 1
    assert "transfer is already ACCEPTED" in again.stderr


@pytest.mark.parametrize(
    ("side", "verb", "state"), [("giver", "cancel", "CANCELLED"), ("taker", "reject", "REJECTED")]
)
def test_each_side_may_end_it(
    giver: Shell, taker: Shell, device: str, other: Tenant, side: str, verb: str, state: str
) -> None:
    made = giver.json("transfer", "create", device, "--to", other.id)["device_transfer"]
    here, there = (giver, taker) if side == "giver" else (taker, giver)

    wrong = there.run("transfer", verb, made["id"])
    ended = here.json("transfer", verb, made["id"], "--etag", made["etag"])

    assert wrong.exit_code == 1
    assert ended["state"] == state
    assert [found["id"] for found in giver.json("device", "list")] == [device]


def test_a_fleet_is_offered_in_as_many_transfers_as_it_takes(
    api: TestApi, giver: Shell, tenant: Tenant, factory: Manufacturer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "TRANSFER_DEVICES_MAX", 2)
    for number in range(5):
        claim(api, tenant, factory, f"pump-{number}")

    first = giver.run("transfer", "create", "--filter", "endpoint_name = pump-*")
    rest = giver.run("transfer", "create", "--filter", "endpoint_name = pump-*", "--all")

    assert "more devices match" in first.stderr
    lines = [
        re.fullmatch(r"[0-9a-f]{32}  (\d)  [0-9a-f]{32}-[A-Z2-7]{26}", line)
        for line in rest.stdout.splitlines()
    ]
    assert [match and match[1] for match in lines] == ["2", "1"]
    assert len(giver.json("transfer", "list")) == 3


def test_lines_of_many_transfers_are_objects_for_programs(giver: Shell, device: str, other: Tenant) -> None:
    done = giver.run(
        "transfer", "create", "--filter", "state != REGISTERED", "--all", "--to", other.id, "--json"
    )

    [line] = done.stdout.splitlines()
    assert json.loads(line)["device_transfer"]["devices"][0]["device_id"] == device


def test_wrong_usage_is_told_before_anything_is_asked(giver: Shell) -> None:
    assert giver.run("transfer", "accept").exit_code == 2
    assert giver.run("transfer", "accept", "x", "--code", "y").exit_code == 2
    assert giver.run("transfer", "create", "x", "--all").exit_code == 2
