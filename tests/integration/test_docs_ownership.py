"""The page on ownership: its commands, as printed, against a real instance."""

from __future__ import annotations

import re
from pathlib import Path

from ftc_core.errors import Reason
from tests.printed_commands import needs_jq, page, run_story, shell_blocks

PAGE = page("ownership")


@needs_jq
def test_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    output = run_story(shell_blocks(PAGE), tmp_path)

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
