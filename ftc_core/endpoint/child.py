"""How the supervisor and its processes talk: one JSON line each way, then signals.

The supervisor writes one line with a `ChildSpec` to the child's standard input and keeps it open. The child
answers on standard output with one `Ready` or `Failed` line. From then on SIGTERM means "drain and exit";
so does the end of standard input, which is how a child learns that its supervisor was killed.
Processes are spawned, never forked after use: LMDB environments and gRPC do not survive a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import IO, NoReturn

import msgspec
import structlog
import uvloop

from ftc_core.errors import FtcError, Reason
from ftc_core.observability.logging import configure_logging
from ftc_core.settings import Settings

__all__ = ["ChildSpec", "Failed", "Ready", "calm_collector", "end_without_store", "run_child"]

_log = structlog.get_logger(__name__)


_GC_THRESHOLD = 50_000
"""Container allocations between two looks at the young generation (CPython's default is 700)."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a child needs to start: its name, the settings, and the inherited sockets (file descriptors)."""

    name: str
    settings: Settings
    sockets: tuple[int, ...] = ()


def encode_spec(spec: ChildSpec) -> bytes:
    """The line that a child reads; paths travel as text."""
    return msgspec.json.encode(spec, enc_hook=str) + b"\n"


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

    async def wait(self) -> None:
        """Return when the process is asked to stop."""
        await self._event.wait()


def run_child(serve: Callable[[ChildSpec, Callable[[Ready], None], Stop], Awaitable[None]]) -> int:
    """Run one child process: read its spec, serve until stopped, and give the exit status."""
    output = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may reach the supervisor as an answer
    try:
        spec = msgspec.json.decode(
            sys.stdin.buffer.readline(), type=ChildSpec, dec_hook=lambda kind, text: kind(text)
        )
    except msgspec.DecodeError:
        sys.stderr.write("error: this process is started by `ftc serve`, not by hand\n")
        return 2
    configure_logging(log_format=spec.settings.log_format, level=spec.settings.log_level, process=spec.name)

    async def main() -> None:
        stop = Stop(asyncio.get_running_loop())
        await serve(spec, lambda ready: _say(output, ready), stop)

    calm_collector()
    try:
        uvloop.run(main())
    except FtcError as error:
        _say(output, Failed(error.reason.value, error.message))
        return 1
    return 0


def calm_collector() -> None:
    """Tell the garbage collector what it need not look at, and to look seldom.

    What is loaded by now lives as long as the process, and what a session makes dies with it by reference
    counting: the collector need only look for the odd cycle.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def end_without_store(error: FtcError) -> NoReturn:
    """End the process at once, with EX_TEMPFAIL (sysexits.h): its successor opens the store anew.

    There is nothing to drain: without the store, no session can be brought to its end.
    """
    _log.critical("store lost, ending to open it anew", reason=error.reason, **error.metadata)
    sys.stderr.flush()
    os._exit(os.EX_TEMPFAIL)


def _say(output: IO[str], message: Ready | Failed) -> None:
    # A supervisor that is gone cannot be told; the end of standard input stops this process anyway.
    with contextlib.suppress(BrokenPipeError):
        output.write(msgspec.json.encode(message).decode() + "\n")
        output.flush()


def failure(message: Failed) -> FtcError:
    """The child's refusal as the supervisor raises it."""
    return FtcError(Reason(message.reason), message.message)
