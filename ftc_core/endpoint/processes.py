"""The supervisor's side of one process: how it is started, asked whether it serves, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
import structlog

from ftc_core.endpoint.child import ChildSpec, Failed, Ready, encode_line, failure
from ftc_core.errors import FtcError, Reason
from ftc_core.observability.process_name import PROCESS_NAME_VARIABLE

__all__ = ["Child", "Launch", "Process", "SpawnedProcess", "spawn"]

_log = structlog.get_logger(__name__)

START_TIMEOUT_S = 30.0
"""Seconds in which a child must say that it serves."""


class Process(Protocol):
    """A process that was started for a spec, and may have ended."""

    @property
    def pid(self) -> int | None:
        """Its ID; None while that is not known."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        ...

    async def answer(self) -> Ready | Failed | None:
        """Whether it serves; None if it ended without a word."""
        ...

    async def wait(self) -> int:
        """Its exit status once it has ended, negative for a signal."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        ...


Launch = Callable[[ChildSpec], Awaitable[Process]]
"""Starts a process for a spec. Raises OSError if the system has none to give, FtcError for other reasons."""


class Child:
    """One supervised process: its spec, what starts it, and the process that runs it now."""

    def __init__(self, spec: ChildSpec, launch: Launch) -> None:
        self.spec = spec
        self.restarts = 0
        self.serves = False
        self.process: Process | None = None
        self.ready = Ready()
        self._launch = launch

    @property
    def name(self) -> str:
        """Its name within the instance."""
        return self.spec.name

    async def start(self) -> None:
        """Start it and wait until it serves. Raises FtcError with the child's own reason if it cannot."""
        process = self.process = await self._launch(self.spec)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                answer = await process.answer()
        except TimeoutError:
            answer = None
        if answer is None:
            process.signal(signal.SIGKILL)
            raise FtcError(Reason.INTERNAL_6, f"process {self.name} did not start: see the log")
        if isinstance(answer, Failed):
            await process.wait()
            raise failure(answer)
        self.ready = answer
        self.serves = True

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after `grace_s` seconds."""
        process = self.process
        if process is None or process.ended:
            return
        process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            _log.warning("killed after grace", process=self.name, grace_s=grace_s)
            process.signal(signal.SIGKILL)
            await process.wait()


class SpawnedProcess:
    """A Python module that runs as a process of its own."""

    def __init__(
        self, process: asyncio.subprocess.Process, orders: asyncio.StreamWriter, lines: asyncio.StreamReader
    ) -> None:
        self._process = process
        self.orders = orders
        """Its standard input, whose end stops it."""
        self.lines = lines
        """Its standard output."""

    @property
    def pid(self) -> int:
        """As `Process`."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """As `Process`."""
        return self._process.returncode is not None

    async def answer(self) -> Ready | Failed | None:
        """As `Process`. What is no answer counts as none."""
        try:
            return msgspec.json.decode(await self.lines.readline(), type=Ready | Failed)
        except msgspec.DecodeError:
            return None

    async def wait(self) -> int:
        """As `Process`."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """As `Process`."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def spawn(module: str, environment: Mapping[str, str], spec: ChildSpec) -> SpawnedProcess:
    """Run `module` with `environment` besides ours and the sockets of `spec`. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=spec.sockets,
        env={**os.environ, **environment, PROCESS_NAME_VARIABLE: spec.name},
        start_new_session=True,  # Ctrl-C goes to the supervisor alone, which stops the others
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(encode_line(spec))
    return SpawnedProcess(process, process.stdin, process.stdout)
