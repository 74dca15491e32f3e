"""How the supervisor and its processes talk: one JSON line each way, then signals.

The supervisor writes one line with a `ChildSpec` to the child's standard input and keeps it open. The child
answers on standard output with one `Ready` or `Failed` line. From then on SIGTERM means "drain and exit";
so does the end of standard input, which is how a child learns that its supervisor was killed.
Bootstrap workers are forked by a process that only does that (`nursery`), and differ in how they get their
spec and how they answer. No process is forked after use: LMDB environments and gRPC do not survive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import IO, NoReturn, Protocol

import msgspec
import structlog
import uvloop

from ftc_core.errors import FtcError, Reason
from ftc_core.observability.logging import configure_logging
from ftc_core.settings import Settings

__all__ = ["ChildSpec", "Failed", "Ready", "calm_collector", "end_without_store", "run_child"]

_log = structlog.get_logger(__name__)


_GC_THRESHOLDS = 5_000, 1_000
"""Container objects by which they grow between two looks of the garbage collector at the young ones
(CPython's default is 700), and such looks between two at those that survived one (10). As a storm begins,
all of them are of live sessions, some 75 of each. A look at 5,000 takes 5 ms, for which the loop stands;
one at the survivors of ten looks ten times as long. 5 million are more than a worker's sessions have.
"""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a child needs to start: its name, the settings, and the inherited sockets (file descriptors)."""

    name: str
    settings: Settings
    sockets: tuple[int, ...] = ()


def encode_line(message: msgspec.Struct) -> bytes:
    """A line to a child; paths travel as text."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def decode_path(kind: type, text: str) -> object:
    """The way back, for msgspec's `dec_hook`."""
    return kind(text)


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child serves. `addresses` are what it bound itself, as host:port."""

    addresses: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child cannot start, and why."""

    reason: str
    message: str


class Stop:
    """Set once, by SIGTERM, SIGINT or the end of standard input."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._event.set)
        loop.add_reader(sys.stdin.fileno(), self._stdin_ended)

    def _stdin_ended(self) -> None:
        if not os.read(sys.stdin.fileno(), 1):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._event.set()

    def set(self) -> None:
        """Stop from within."""
        self._event.set()

    async def wait(self) -> None:
        """Return when the process is asked to stop."""
        await self._event.wait()


Serve = Callable[[ChildSpec, Callable[[Ready], None], Stop], Awaitable[None]]
"""Serves what the spec says, says so, and returns once it is asked to stop. Raises FtcError if it cannot."""


class _Lines(Protocol):
    """What lines are read from."""

    def readline(self) -> bytes:
        """The next line; b"" at the end."""
        ...


def run_child(serve: Serve) -> int:
    """Run one child process: read its spec, serve until stopped, and give the exit status."""
    output = take_output()
    spec = read_spec(sys.stdin.buffer)
    if spec is None:
        return 2
    return run_serve(serve, spec, lambda answer: say(output, answer))


def take_output() -> IO[str]:
    """Standard output for answers alone: nothing that a library prints may reach the supervisor as one."""
    output = sys.stdout
    sys.stdout = sys.stderr
    return output


def read_spec(lines: _Lines) -> ChildSpec | None:
    """The spec in the first line; None, and a word to the user, if there is none. Sets up the log."""
    try:
        spec = msgspec.json.decode(lines.readline(), type=ChildSpec, dec_hook=decode_path)
    except msgspec.DecodeError:
        sys.stderr.write("error: this process is started by `ftc serve`, not by hand\n")
        return None
    log_as(spec)
    return spec


def log_as(spec: ChildSpec) -> None:
    """Name this process in the log by `spec`, as its settings want the log."""
    configure_logging(log_format=spec.settings.log_format, level=spec.settings.log_level, process=spec.name)


def run_serve(serve: Serve, spec: ChildSpec, answer: Callable[[Ready | Failed], None]) -> int:
    """Run `serve` on a new event loop until stopped, and give the exit status."""

    async def main() -> None:
        await serve(spec, answer, Stop(asyncio.get_running_loop()))

    calm_collector()
    try:
        uvloop.run(main())
    except FtcError as error:
        answer(Failed(error.reason.value, error.message))
        return 1
    return 0


def calm_collector() -> None:
    """Tell the garbage collector what it need not look at, and to look seldom.

    What is loaded by now lives as long as the process, and what a session makes dies with it by reference
    counting: the collector need only look for the odd cycle.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def end_without_store(error: FtcError) -> NoReturn:
    """End the process at once, with EX_TEMPFAIL (sysexits.h): its successor opens the store anew.

    There is nothing to drain: without the store, no session can be brought to its end.
    """
    _log.critical("store lost, ending to open it anew", reason=error.reason, **error.metadata)
    sys.stderr.flush()
    os._exit(os.EX_TEMPFAIL)


def say(output: IO[str], message: msgspec.Struct) -> None:
    """Write one line."""
    # A supervisor that is gone cannot be told; the end of standard input stops this process anyway.
    with contextlib.suppress(BrokenPipeError):
        output.write(msgspec.json.encode(message).decode() + "\n")
        output.flush()


def failure(message: Failed) -> FtcError:
    """The child's refusal as the supervisor raises it."""
    return FtcError(Reason(message.reason), message.message)
