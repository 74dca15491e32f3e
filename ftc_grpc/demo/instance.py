"""The instance that the demo runs against: `ftc serve` as a process of its own, on free ports."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ftc_core.application.context import utc_now
from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.endpoint.supervisor import Endpoints
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings

__all__ = ["Instance", "running_instance"]

START_TIMEOUT_S = 30.0
START_POLL_S = 0.05
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Instance:
    """Its data directory, and where it listens (host:port)."""

    directory: DataDirectory
    bootstrap: str
    lwm2m: str
    grpc: str


@asynccontextmanager
async def running_instance(directory: Path) -> AsyncIterator[Instance]:
    """`ftc init` and `ftc serve` in `directory`; SIGTERM at the end.

    Raises FtcError INTERNAL_6 with the log's last lines if it does not start, or does not drain and exit 0.
    """
    settings = Settings(data_dir=directory / "ftc-data")
    data = await initialise(settings, host_name=socket.gethostname(), now=utc_now())
    log_file = directory / "serve.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ftc_core", "serve", "--data-dir", str(settings.data_dir)),
            *(f"--{server}-listen=127.0.0.1:0" for server in ("bootstrap", "lwm2m", "grpc", "metrics")),
            stderr=log,
        )
    try:
        endpoints = await _started(data.root / "endpoints.json", process)
        if endpoints is None:
            raise _failure("ftc serve did not start", log_file)
        yield Instance(data, endpoints.bootstrap[0], endpoints.lwm2m[0], endpoints.grpc[0])
    finally:
        status = await _stop(process)
    if status != 0:
        raise _failure(f"ftc serve ended with {status}", log_file)


async def _started(file: Path, process: asyncio.subprocess.Process) -> Endpoints | None:
    """What the instance says of itself once it serves; None if it does not come to that."""
    for _ in range(int(START_TIMEOUT_S / START_POLL_S)):
        endpoints = _read_endpoints(file)
        if endpoints is not None or process.returncode is not None:
            return endpoints
        await asyncio.sleep(START_POLL_S)
    return None


def _read_endpoints(file: Path) -> Endpoints | None:
    return msgspec.json.decode(file.read_bytes(), type=Endpoints) if file.exists() else None


def _failure(what: str, log_file: Path) -> FtcError:
    return FtcError(Reason.INTERNAL_6, f"{what}:\n{log_file.read_text()}")


async def _stop(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        return await process.wait()
