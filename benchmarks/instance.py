"""A real instance for a benchmark: `ftc init` and `ftc serve` in a temporary directory, and its CPU time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ftc_core.endpoint.supervisor import Endpoints

__all__ = ["Instance", "running_instance"]

_START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Instance:
    """Where it is and what its processes are: name → process ID."""

    data_dir: Path
    bootstrap_uri: str
    processes: dict[str, int]

    def cpu_seconds(self, name: str) -> float:
        """CPU time that process `name` has used, all threads, user and kernel: nanosecond counters."""
        tasks = Path(f"/proc/{self.processes[name]}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def resident_bytes(self, name: str) -> int:
        """Resident memory of process `name`."""
        status = Path(f"/proc/{self.processes[name]}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


@contextmanager
def running_instance(*, workers: int = 1) -> Iterator[Instance]:
    """An instance on free loopback ports, stopped by SIGTERM at the end. Its log goes to a file there."""
    ftc = [sys.executable, "-m", "ftc_core"]
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as temporary:
        data_dir = Path(temporary) / "data"
        subprocess.run([*ftc, "init", "--data-dir", str(data_dir)], check=True, stdout=subprocess.DEVNULL)
        listen = [f"--{name}-listen=127.0.0.1:0" for name in ("bootstrap", "lwm2m", "grpc", "metrics")]
        with (Path(temporary) / "serve.log").open("wb") as log:
            server = subprocess.Popen(
                [*ftc, "serve", "--data-dir", str(data_dir), f"--workers={workers}", *listen], stderr=log
            )
            try:
                endpoints = _wait_for(data_dir / "endpoints.json", server)
                yield Instance(data_dir, f"coaps://{endpoints.bootstrap[0]}", endpoints.processes)
            finally:
                server.terminate()
                server.wait(30)


def _wait_for(file: Path, server: subprocess.Popen[bytes]) -> Endpoints:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not file.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the instance did not start")
        time.sleep(0.05)
    return msgspec.json.decode(file.read_bytes(), type=Endpoints)
