"""The instance that the demo runs against: `ftc serve` as a process of its own, on free ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ftc_core.application.context import utc_now
from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.endpoint.serve_process import ServeProcess
from ftc_core.settings import Settings

__all__ = ["Instance", "running_instance"]


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

    Raises FtcError INTERNAL_6 with its log if it does not start, or does not drain and exit 0.
    """
    settings = Settings(data_dir=directory / "ftc-data")
    data = await initialise(settings, host_name=socket.gethostname(), now=utc_now())
    server = ServeProcess(settings.data_dir, log=directory / "serve.log")
    try:
        endpoints = await asyncio.to_thread(server.wait_until_serving)
        yield Instance(data, endpoints.bootstrap[0], endpoints.lwm2m[0], endpoints.grpc[0])
    except BaseException:
        await asyncio.to_thread(server.stop)  # what went wrong first is what is told
        raise
    await asyncio.to_thread(server.drain)
