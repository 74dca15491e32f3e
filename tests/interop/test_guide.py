"""The operator's guide once more, with grpcurl alone: its commands, as printed, against a real instance."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.instance import BIN, Instance, ftc, running_instance

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "operators.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Instance]]:
    """A directory as the guide leaves it before that section: an instance that serves, a production run."""
    ca, factory = tmp_path / "factory-ca", tmp_path / "factory"
    with running_instance(tmp_path / "ftc-data") as instance:
        server = ("--server-ca", instance.ca, "--bootstrap-uri", "coaps://localhost:5784")
        ftc("factory", "init-ca", "--out", ca)
        ftc("factory", "provision", "--count", "3", "--ca", ca, "--out", factory, "--no-labels", *server)
        yield tmp_path, instance


def test_account_is_administered_with_grpcurl_alone_as_printed(place: tuple[Path, Instance]) -> None:
    directory, instance = place
    commands = "\n".join(BLOCKS).replace("localhost:50051", f"localhost:{instance.ports['grpc']}")

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    output = done.stdout
    assert "ftc.v1.DeviceEnrollmentService\n" in output
    assert '"device_quota": 2000' in output
    assert '"status": "SUSPENDED"' in output
    assert '"description": "Line 4"' in output
    report = re.findall(r'^"A-[0-9A-F:]{95}","409","ENROLLMENT_ALREADY_EXISTS"', output, re.MULTILINE)
    assert len(report) == 1, "the device that was enrolled before its file"
    assert output.count('"kind": "CREATED"') == 2, "the other two, as the watch tells"
    assert instance.ftc("account", "list", "--filter", 'display_name = "Globex"') == []
