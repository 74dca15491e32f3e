"""A real instance to measure: `ftc init` and `ftc serve` in a temporary directory, and its CPU and memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftc_core.endpoint.serve_process import ServeProcess

__all__ = ["Instance", "cpu_seconds", "own_bytes", "resident_bytes", "running_instance"]


def cpu_seconds(pid: int) -> float:
    """CPU time that process `pid` has used, all threads, user and kernel: nanosecond counters."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def resident_bytes(pid: int) -> int:
    """Resident memory of process `pid`, its share of the store's mapped file included."""
    return _memory_bytes(pid, "VmRSS")


def own_bytes(pid: int) -> int:
    """Resident memory that is no file's: what the process itself allocated."""
    return _memory_bytes(pid, "RssAnon")


def _memory_bytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024


@dataclass(frozen=True)
class Instance:
    """Where it is and what its processes were at the start: name → process ID."""

    data_dir: Path
    bootstrap_uri: str
    api_endpoint: str
    metrics_url: str
    processes: dict[str, int]
    server: ServeProcess

    @property
    def server_ca_pem(self) -> bytes:
        """What devices and callers of the API trust."""
        return (self.data_dir / "pki" / "server-ca.pem").read_bytes()

    @property
    def operator_key(self) -> str:
        """The API key that `ftc init` made."""
        return (self.data_dir / "operator.key").read_text().strip()

    def processes_now(self) -> dict[str, int]:
        """Name → process ID as published now: a process that died has a successor."""
        return self.server.endpoints().processes

    def cpu_seconds(self, name: str) -> float:
        """CPU time that process `name` has used, all threads, user and kernel: nanosecond counters."""
        return cpu_seconds(self.processes[name])

    def resident_bytes(self, name: str) -> int:
        """Resident memory of process `name`."""
        return resident_bytes(self.processes[name])


@contextmanager
def running_instance(*, workers: int = 1) -> Iterator[Instance]:
    """An instance on free loopback ports, stopped by SIGTERM at the end. Its log goes to a file there."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as temporary:
        data_dir = Path(temporary) / "data"
        init = [sys.executable, "-m", "ftc_core", "init", "--data-dir", str(data_dir)]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - this very program
        server = ServeProcess(data_dir, f"--workers={workers}", log=Path(temporary) / "serve.log")
        try:
            endpoints = server.wait_until_serving()
            yield Instance(
                data_dir,
                f"coaps://{endpoints.bootstrap[0]}",
                endpoints.grpc[0],
                f"http://{endpoints.metrics[0]}/metrics",
                endpoints.processes,
                server,
            )
        finally:
            server.stop()
