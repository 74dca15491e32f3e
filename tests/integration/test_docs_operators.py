"""The operator's guide: its commands, as printed, against a real instance; and its table of settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftc_core.config import environment_variable
from ftc_core.domain.integrity import NOTES, FindingKind
from ftc_core.settings import describe_setting, setting_names
from tests.printed_commands import needs_jq, page, run_blocks, run_story, shell_blocks

GUIDE = page("operators")
BLOCKS = shell_blocks(GUIDE)


@needs_jq
@pytest.mark.timeout(300)  # some seventy commands, each a process
def test_commands_of_the_guide_do_what_they_say(tmp_path: Path) -> None:
    output = run_story(BLOCKS, tmp_path)

    assert '"deviceQuota": 3000' in output
    assert '"description": "Line 4"' in output
    assert re.search(r"operations/[0-9a-f]{32}: 20 rows, 0 failed", output), (
        "the file that is taken off the list"
    )
    assert "is deleted, and its API keys with it" in output
    assert re.search(r"^checked at revision [\d,]+: 1 account, .*; no fault found\n0$", output, re.MULTILINE)
    assert (tmp_path / "acme.key").stat().st_mode & 0o777 == 0o600
    assert re.search(r"^backup made: ftc.backup$", output, re.MULTILINE)
    assert re.search(r"^whole: revision \d+: 1 accounts, ", output, re.MULTILINE)
    assert re.search(r"^restored: rehearsal$", output, re.MULTILINE)


def test_guide_tells_the_modes_of_the_files(tmp_path: Path) -> None:
    run_blocks(BLOCKS[:1], tmp_path)

    rows = re.findall(r"^\| `([^`]+)` \| (0[0-7]{3}) \|", GUIDE, re.MULTILINE)
    assert len(rows) == 6
    for pattern, mode in rows:
        found = list((tmp_path / "ftc-data").glob(pattern.rstrip("/")))
        assert found, pattern
        assert {f"{path.stat().st_mode & 0o777:04o}" for path in found} == {mode}, pattern


def test_guide_tells_what_to_do_about_every_kind_of_fault() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| `") and line.count("|") == 3]
    assert set(FindingKind) - NOTES <= {word for row in rows for word in re.findall(r"`([A-Z_]+)`", row)}


def test_guide_tells_every_setting_as_the_catalogue_does() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| `") and "`FTC_" in line]

    assert rows == [
        f"| `{name}` | `{environment_variable(name)}` | {describe_setting(name)} |"
        for name in setting_names()
    ]
