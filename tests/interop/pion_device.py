"""A device on pion/dtls and go-coap, DTLS and CoAP in Go: built by `install-peers` from `pion/`."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.interop.fleet import Device
from tests.interop.instance import Instance

__all__ = ["Report", "run"]

_PROGRAM = Path(__file__).parent / "pion" / "target" / "pion-device"
_SECONDS = 40
_ALERT = re.compile(r"alert: Alert Fatal: (\w+)$")


@dataclass(frozen=True)
class Report:
    """How far a device came; an empty string stands for what did not come about.

    `answer` and `register_answer` are code and text; `requests` are the bootstrap server's, as "PUT /0/0".
    """

    suite: str
    answer: str
    requests: list[str] | None
    register_answer: str
    register_location: str
    error: str

    @property
    def alert(self) -> str | None:
        """The fatal alert that ended the handshake, in pion's words: "UnknownCA"."""
        found = _ALERT.search(self.error)
        return found[1] if found else None


def run(instance: Instance, device: Device, *flags: str) -> Report:
    """Bootstrap and register a device; `flags` say what its DTLS offers (`pion-device -help`)."""
    assert _PROGRAM.exists(), f"{_PROGRAM} is not built: run tests/interop/install-peers"
    command = [str(_PROGRAM), "-endpoint", device.endpoint_name, "-ca", str(instance.ca)]
    command += ["-server", f"localhost:{instance.ports['bootstrap']}"]
    command += ["-certificate", str(device.certificate), "-key", str(device.key), *flags]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout))
