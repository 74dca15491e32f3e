"""The page on ownership: its commands, as printed, against a real instance."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.errors import Reason
from tests.instance import running_instance
from tests.integration.test_docs_operators import run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ownership.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands need jq")
def test_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    setup, serve, *story = BLOCKS
    assert serve == "ftc serve\n", "this one is started below, on free ports"

    run([setup], tmp_path)
    with running_instance(DataDirectory.open(tmp_path / "ftc-data")) as instance:
        ports = {name: instance.address(name)[1] for name in ("grpc", "bootstrap")}
        output = run(
            [
                block.replace("localhost:50051", f"localhost:{ports['grpc']}").replace(
                    "localhost:5784", f"localhost:{ports['bootstrap']}"
                )
                for block in story
            ],
            tmp_path,
        )

    runs = re.split(r"^device (device-\d+), enrollment ID \S+$", output, flags=re.MULTILINE)
    by_device: dict[str, list[str]] = {}
    for name, told in zip(runs[1::2], runs[2::2], strict=True):
        by_device.setdefault(name, []).append(told)
    first, released, reset = by_device["device-000001"]
    [vendor], [customer] = (re.findall(r"registered at /rd/([0-9a-f]{32})/", told) for told in (first, reset))
    assert vendor != customer
    assert "register refused: 4.03 Device released; bootstrapping again" in released
    assert "nobody's device" in released
    claimed, followed = by_device["device-000002"]
    assert "register refused: 4.03 Device released; bootstrapping again" in followed
    assert f"?aid={vendor}\n" in followed, "it still says the old aid"
    [device] = re.findall(r"claimed by account \S+ as device (\S+)", claimed)
    assert f"claimed by account {customer} as device {device}\n" in followed
    assert f"registered at /rd/{customer}/{device}," in followed
    assert re.search(r"INCOMING +OFFERED +1 .*Order 4711", output)
    assert len(re.findall(r"^state +ACCEPTED", output, re.MULTILINE)) == 3, "tried, by name, and by code"
    assert len(re.findall(r"^state +CANCELLED", output, re.MULTILINE)) == 1


def test_every_reason_of_a_transfer_is_told() -> None:
    transfers = {reason.value for reason in Reason if reason.value.startswith("TRANSFER_")}

    assert transfers == set(re.findall(r"`(TRANSFER_\w+)`", PAGE))
