"""`ftc device show`: the page of a device as a person reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_grpc._gen.ftc.v1.device_pb2 import BootstrapStep, Device, LastBootstrap, RegisteredObject
from ftc_grpc.cli.device_page import print_device

BEGAN = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def at(ms: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(BEGAN + timedelta(milliseconds=ms))
    return stamp


def page() -> Device:
    return Device(
        id="0" * 31 + "1",
        endpoint_name="sensor-1",
        object_links="</1/0>,</3/0>",
        objects=[
            RegisteredObject(object_id=1, instance_ids=[0, 1]),
            RegisteredObject(object_id=3, instance_ids=[0], version="1.1"),
            RegisteredObject(object_id=5),
        ],
        last_bootstrap=LastBootstrap(
            outcome=LastBootstrap.FAILED,
            reason="INTERNAL_8",
            error="Bootstrap-Write /0/0: the device answered 4.00 no",
            ended_at=at(30),
            address="192.0.2.1:40000",
            steps=[
                BootstrapStep(name="Bootstrap-Request", started_at=at(0), ended_at=at(12.5), code="2.04"),
                BootstrapStep(name="Bootstrap-Write /0/0", started_at=at(13), ended_at=at(30)),
            ],
        ),
    )


def shown(device: Device, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_device(device, as_json=False)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_failed_bootstrap_is_told_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(page(), capsys)[-6:] == [
        "objects: 1/0+1, 3/0 v1.1, 5",
        "last bootstrap failed at 2026-11-23T12:00:00.030Z from 192.0.2.1:40000",
        "  INTERNAL_8: Bootstrap-Write /0/0: the device answered 4.00 no",
        "   began     took  code  step",
        " +0.0 ms  12.5 ms  2.04  Bootstrap-Request",
        "+13.0 ms  17.0 ms  none  Bootstrap-Write /0/0",
    ]


def test_completed_bootstrap_has_no_reason(capsys: pytest.CaptureFixture[str]) -> None:
    device = page()
    device.last_bootstrap.outcome = LastBootstrap.COMPLETED
    device.last_bootstrap.reason = device.last_bootstrap.error = ""

    lines = shown(device, capsys)

    assert "last bootstrap completed at 2026-11-23T12:00:00.030Z from 192.0.2.1:40000" in lines
    assert not any("INTERNAL" in line for line in lines)


def test_device_that_was_only_claimed_shows_neither_objects_nor_bootstrap(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(Device(id="0" * 32, endpoint_name="sensor-1"), capsys)

    assert ["endpoint_name", "sensor-1"] in [line.split() for line in lines]
    assert not any("objects" in line or "bootstrap " in line for line in lines)


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_device(page(), as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert told["object_links"] == "</1/0>,</3/0>"
    assert [step["name"] for step in told["last_bootstrap"]["steps"]] == [
        "Bootstrap-Request",
        "Bootstrap-Write /0/0",
    ]
