"""The nursery: one process that forks all bootstrap workers, so that they have the same ticket keys.

OpenSSL makes a context's ticket keys at random, and the binding of `cryptography` cannot set them. But they
are memory, and a fork copies memory. So the contexts are made in a process that does nothing else:
it has no event loop, no thread, no store and no gRPC that a fork could break. A worker that is restarted is
forked from the same nursery, and opens the tickets of the one before it.

    supervisor ──── Fork, Signal ────▶ nursery (standard input)
               ◀─── Ended ──────────── nursery ─┐ (one standard output)
               ◀─── Answered ───────── workers ─┘

The lines are shorter than PIPE_BUF, so that those of several writers do not mix (POSIX write()). The end of
the output means that the nursery and all of its workers have ended. When the nursery ends, however it does,
its workers see the end of their standard input and drain; when they have, there will be another nursery and
with it other keys. Here is the supervisor's side; `nursery_process` is the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping

import msgspec
import structlog

from ftc_core.endpoint.child import ChildSpec, Failed, Ready, encode_line
from ftc_core.endpoint.processes import Child, SpawnedProcess, spawn

__all__ = ["Answered", "Ended", "Fork", "ForkedProcess", "Nursery", "Signal"]

_log = structlog.get_logger(__name__)

_MODULE = "ftc_core.endpoint.nursery_process"
_STOP_S = 1.0
"""Seconds in which a nursery without workers ends."""


class Fork(msgspec.Struct, frozen=True, tag=True):
    """To the nursery: fork a worker."""

    spec: ChildSpec


class Signal(msgspec.Struct, frozen=True, tag=True):
    """To the nursery: send the worker of that name a signal, unless it has ended."""

    name: str
    number: int


class Answered(msgspec.Struct, frozen=True, tag=True):
    """From a worker: whether it serves."""

    name: str
    pid: int
    answer: Ready | Failed


class Ended(msgspec.Struct, frozen=True, tag=True):
    """From the nursery: a worker ended with that exit status, negative for a signal."""

    name: str
    pid: int
    status: int


class ForkedProcess:
    """A worker that was asked for: a `processes.Process`."""

    def __init__(self, name: str, order: Callable[[Signal], None]) -> None:
        loop = asyncio.get_running_loop()
        self._name = name
        self._order = order
        self._answer: asyncio.Future[Ready | Failed | None] = loop.create_future()
        self._status: asyncio.Future[int] = loop.create_future()
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """As `Process`."""
        return self._pid

    @property
    def ended(self) -> bool:
        """As `Process`."""
        return self._status.done()

    async def answer(self) -> Ready | Failed | None:
        """As `Process`."""
        return await asyncio.shield(self._answer)

    async def wait(self) -> int:
        """As `Process`."""
        return await asyncio.shield(self._status)

    def signal(self, number: signal.Signals) -> None:
        """As `Process`."""
        if not self.ended:
            self._order(Signal(self._name, number))

    def note_answer(self, pid: int, answer: Ready | Failed) -> None:
        """It said whether it serves."""
        self._pid = pid
        if not self._answer.done():
            self._answer.set_result(answer)

    def note_end(self, status: int, pid: int | None = None) -> None:
        """It has ended."""
        self._pid = pid or self._pid
        if not self._answer.done():
            self._answer.set_result(None)
        if not self._status.done():
            self._status.set_result(status)


class Nursery:
    """Starts the nursery when a worker is first asked for, and another one after it died.

    `spec` has the sockets of all workers. The workers of a nursery that died get `grace_s` seconds to end.
    """

    def __init__(self, spec: ChildSpec, environment: Mapping[str, str], grace_s: float) -> None:
        self.child = Child(spec, self._spawn)
        """The nursery's own process."""
        self._environment = environment
        self._grace_s = grace_s
        self._starting = asyncio.Lock()
        self._stopping = False
        self._process: SpawnedProcess | None = None
        self._workers: dict[str, ForkedProcess] = {}
        self._family: asyncio.Task[None] | None = None
        """Done once the nursery and all of its workers have ended."""

    async def fork(self, spec: ChildSpec) -> ForkedProcess:
        """A worker for `spec`. Raises FtcError if there is no nursery and none can be started."""
        async with self._starting:
            if self._process is not None and self._process.ended:
                await self._extinct()  # the old workers read from the sockets that the new ones will
            if self._family is None or self._family.done():
                await self._start()
        worker = self._workers[spec.name] = ForkedProcess(spec.name, self._order)
        self._order(Fork(spec))
        return worker

    async def stop(self) -> None:
        """End the nursery, after its workers have ended."""
        self._stopping = True
        await self.child.stop(_STOP_S)
        await self._extinct()

    async def _spawn(self, spec: ChildSpec) -> SpawnedProcess:
        self._process = await spawn(_MODULE, self._environment, spec)
        return self._process

    async def _start(self) -> None:
        again = self._family is not None
        await self.child.start()
        self.child.restarts += again
        assert self._process is not None  # noqa: S101 - the child was started
        self._family = asyncio.create_task(self._attend(self._process))

    async def _extinct(self) -> None:
        if self._family is not None:
            await asyncio.wait({self._family})

    def _order(self, order: Fork | Signal) -> None:
        if self._process is not None and not self._process.ended:
            self._process.orders.write(encode_line(order))

    async def _attend(self, process: SpawnedProcess) -> None:
        """Hear what `process` and its workers say until all of them have ended."""
        end = asyncio.create_task(self._end_orphans(process))
        while line := await process.lines.readline():
            with contextlib.suppress(msgspec.DecodeError):  # cut off by the end of its writer
                match msgspec.json.decode(line, type=Answered | Ended):
                    case Answered(name, pid, answer):
                        self._workers[name].note_answer(pid, answer)
                    case Ended(name, pid, status):
                        self._workers.pop(name).note_end(status, pid)
        await process.wait()
        end.cancel()
        self.child.serves = False
        for worker in self._workers.values():
            worker.note_end(-signal.SIGKILL)
        self._workers.clear()

    async def _end_orphans(self, process: SpawnedProcess) -> None:
        """Once the nursery has ended, kill whom of its workers outlives it for longer than `grace_s`."""
        status = await process.wait()
        self.child.serves = False
        if not self._stopping:
            _log.error("nursery died, its workers end", process=self.child.name, status=status)
        await asyncio.sleep(self._grace_s)
        # They are its process group, whose number no other process gets as long as one of them lives.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
