"""`ftc serve` as a process of its own on free loopback ports: for the demo, the benchmarks and the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ftc_core.endpoint.supervisor import Endpoints
from ftc_core.errors import FtcError, Reason

__all__ = ["ServeProcess"]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_LISTENERS = ("bootstrap", "lwm2m", "grpc", "metrics")


class ServeProcess:
    """A started instance over the data directory `data_dir`; `flags` are added to its command line.

    No FTC_… variable of the caller reaches it. What it says goes to `log`, after what is there.
    """

    def __init__(self, data_dir: Path, *flags: str, log: Path) -> None:
        self._endpoints_file = data_dir / "endpoints.json"
        self.log = log
        listen = [f"--{server}-listen=127.0.0.1:0" for server in _LISTENERS]
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - this very program
                [sys.executable, "-m", "ftc_core", "serve", "--data-dir", str(data_dir), *listen, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("FTC_")},
            )

    def endpoints(self) -> Endpoints:
        """Where it listens and what its processes are, as published now. Raises FileNotFoundError before."""
        return msgspec.json.decode(self._endpoints_file.read_bytes(), type=Endpoints)

    def wait_until_serving(self) -> Endpoints:
        """What it publishes once it serves. Blocks; raises FtcError INTERNAL_6 with its log otherwise."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self._endpoints_file.exists() and self.endpoints().pid == self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self._failure("ftc serve did not start")
            time.sleep(_POLL_S)
        return self.endpoints()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, unless it has ended → its exit status. Blocks; one that does not end is killed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def drain(self) -> None:
        """Stop it by SIGTERM. Blocks; raises FtcError INTERNAL_6 with its log unless it then exits with 0."""
        status = self.stop()
        if status != 0:
            raise self._failure(f"ftc serve ended with {status}")

    def _failure(self, what: str) -> FtcError:
        return FtcError(Reason.INTERNAL_6, f"{what}:\n{self.log.read_text()}")
