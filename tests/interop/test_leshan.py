"""Devices on Eclipse Leshan, for LwM2M 1.0 and 1.1, from their first claim to their de-registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.fleet import Device, Fleet
from tests.interop.instance import Account, Instance
from tests.interop.leshan_device import LESHAN_1, LESHAN_2, Release, powered

TLV, SENML_JSON, SENML_CBOR = 11542, 110, 112

RELEASES = [
    pytest.param(LESHAN_1, id="LwM2M 1.0"),
    # Leshan 2 asks for SenML CBOR unless it is told to ask for something else.
    pytest.param(LESHAN_2, id="LwM2M 1.1"),
]
CONTENT_FORMATS = [
    pytest.param(LESHAN_2.asking_for(TLV), id="TLV"),
    pytest.param(LESHAN_2.asking_for(SENML_JSON), id="SenML JSON"),
    pytest.param(LESHAN_2.asking_for(SENML_CBOR), id="SenML CBOR"),
]


def device_record(account: Account, device: Device) -> dict[str, Any]:
    (record,) = account.devices_named(device.endpoint_name)
    return record


@pytest.mark.parametrize("release", RELEASES)
def test_device_is_claimed_registers_updates_and_deregisters(
    instance: Instance, owner: Account, device: Device, tmp_path: Path, release: Release
) -> None:
    owner.enroll(device.certificate)

    with powered(release, device, instance, tmp_path) as client:
        assert client.event() == "bootstrapped"
        record = device_record(owner, device)
        identity = record["name"].rpartition("/")[2]
        assert client.event() == f"registered /rd/{owner.id}/{identity}"
        assert device_record(owner, device)["state"] == "REGISTERED"

        client.update()
        assert client.event() == "updated"

        client.switch_off()
        assert client.event() == "deregistered"
    assert device_record(owner, device)["state"] == "DEREGISTERED"


@pytest.mark.parametrize("release", CONTENT_FORMATS)
def test_content_format_that_the_device_asks_for_is_written(
    instance: Instance, owner: Account, device: Device, tmp_path: Path, release: Release
) -> None:
    owner.enroll(device.certificate)

    with powered(release, device, instance, tmp_path) as client:
        assert client.event() == "bootstrapped"
        assert client.event().startswith("registered ")

    assert device_record(owner, device)["state"] == "REGISTERED"


@pytest.mark.parametrize("release", RELEASES)
def test_device_that_nobody_enrolled_is_told_so(
    instance: Instance, owner: Account, device: Device, tmp_path: Path, release: Release
) -> None:
    with powered(release, device, instance, tmp_path) as client:
        assert client.event() == "bootstrap-refused 4.03 Enrollment ID not registered"


@pytest.mark.parametrize("release", RELEASES)
def test_device_reset_to_its_factory_state_is_the_same_device(
    instance: Instance, owner: Account, device: Device, tmp_path: Path, release: Release
) -> None:
    owner.enroll(device.certificate)
    records = []

    for _ in range(2):
        with powered(release, device, instance, tmp_path) as client:
            assert client.event() == "bootstrapped"
            assert client.event().startswith("registered ")
            records.append(device_record(owner, device))

    assert records[0]["name"] == records[1]["name"]
    assert [record["state"] for record in records] == ["REGISTERED", "REGISTERED"]


@pytest.mark.parametrize("release", RELEASES)
def test_released_device_goes_over_to_its_new_account_by_itself(
    instance: Instance,
    owner: Account,
    account: Account,
    fleet: Fleet,
    device: Device,
    tmp_path: Path,
    release: Release,
) -> None:
    enrollment = owner.enroll(device.certificate)

    with powered(release, device, instance, tmp_path) as client:
        assert client.event() == "bootstrapped"
        assert client.event().startswith(f"registered /rd/{owner.id}/")

        owner.release(enrollment)
        account.upload_ca(fleet.ca)
        account.enroll(device.certificate)
        client.update()

        assert client.event().startswith("update-refused 4.03 ")
        assert client.event().startswith("registration-refused 4.03 ")
        assert client.event() == "bootstrapped"
        assert client.event().startswith(f"registered /rd/{account.id}/")

    assert owner.devices_named(device.endpoint_name) == []
    assert device_record(account, device)["state"] == "REGISTERED"
