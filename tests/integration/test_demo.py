"""`ftc demo`, once, as a user runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.instance import FTC


def test_demo_shows_three_devices_and_two_owners_and_exits_0(tmp_path: Path) -> None:
    done = subprocess.run(
        [*FTC, "demo"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    said = done.stdout
    for number in (1, 2, 3):
        name = rf"device-00000{number}"
        for state in ("CLOUD_ENROLLING", "BOOTSTRAPPED", "REGISTERED"):
            assert re.search(rf"the API shows {name} as {state}", said), (name, state)
    assert 'device-000002 refused: 4.03 "Enrollment ID not registered"' in said
    assert 'device-000001 registers with its old credentials: 4.03 "Device released"' in said
    assert "Second Owner: device-000003 offered to First Owner" in said
    assert 'device-000003 updates its registration: 4.03 "Device released"' in said
    assert re.search(
        r"device-000003 bootstraps again by itself, at coaps://\S+\?aid=[0-9a-f]{32}$", said, re.M
    )
    assert "First Owner: the API shows device-000003 as REGISTERED" in said
    assert re.search(r"device-000003: ownership history verified, 2 changes, signed in checkpoint \d+", said)
    assert said.splitlines()[-1].endswith("every state was seen through the API")
    assert list(tmp_path.iterdir()) == []
