"""The operator's guide: its commands, as printed, against a real instance; and its table of settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftc_core.config import environment_variable
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.settings import describe_setting, setting_names
from tests.instance import running_instance

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "operators.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
PROGRAMS = Path(sys.executable).parent


def run(blocks: list[str], directory: Path) -> str:
    """The output of the commands, all of them in one shell in `directory`; each must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FTC_")}
    environment["PATH"] = f"{PROGRAMS}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("jq") is None, reason="the guide's commands need jq")
def test_commands_of_the_guide_do_what_they_say(tmp_path: Path) -> None:
    setup, serve, *administration, backup = BLOCKS
    assert serve == "ftc serve\n", "this one is started below, on free ports"

    run([setup], tmp_path)
    with running_instance(DataDirectory.open(tmp_path / "ftc-data")) as instance:
        port = instance.address("grpc")[1]
        output = run(
            [block.replace("localhost:50051", f"localhost:{port}") for block in administration], tmp_path
        )
    run([backup], tmp_path)

    assert '"deviceQuota": 3000' in output
    assert '"description": "Line 4"' in output
    assert re.search(r"operations/[0-9a-f]{32}: 20 rows, 0 failed", output), (
        "the file that is taken off the list"
    )
    assert "is deleted, and its API keys with it" in output
    assert (tmp_path / "acme.key").stat().st_mode & 0o777 == 0o600
    copied = tmp_path / "ftc-data.backup" / "operator.key"
    assert copied.stat().st_mode & 0o777 == 0o600


def test_guide_tells_the_modes_of_the_files(tmp_path: Path) -> None:
    run(BLOCKS[:1], tmp_path)

    rows = re.findall(r"^\| `([^`]+)` \| (0[0-7]{3}) \|", GUIDE, re.MULTILINE)
    assert len(rows) == 6
    for pattern, mode in rows:
        found = list((tmp_path / "ftc-data").glob(pattern.rstrip("/")))
        assert found, pattern
        assert {f"{path.stat().st_mode & 0o777:04o}" for path in found} == {mode}, pattern


def test_guide_tells_every_setting_as_the_catalogue_does() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| `") and "`FTC_" in line]

    assert rows == [
        f"| `{name}` | `{environment_variable(name)}` | {describe_setting(name)} |"
        for name in setting_names()
    ]
