"""The nursery as a process: makes the ticket keys of the bootstrap workers, and forks them (see `nursery`).

What a fork copies has to be such that two processes can have it: modules, settings, OpenSSL's contexts, whose
callbacks are plain functions. OpenSSL's generator of random numbers notices a fork and takes new seed
(RAND(7)); so does Python's. The garbage collector rests until then, so that the workers share what they read.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import IO

import msgspec

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.dtls.ticket_generations import TicketGenerations
from ftc_core.endpoint import bootstrap_worker
from ftc_core.endpoint.child import (
    ChildSpec,
    Failed,
    Ready,
    decode_path,
    log_as,
    read_spec,
    run_serve,
    say,
    take_output,
)
from ftc_core.endpoint.nursery import Answered, Ended, Fork, Signal
from ftc_core.endpoint.server import new_generations
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import TICKET_GENERATIONS_AHEAD
from ftc_core.observability.process_name import rename_process

__all__ = ["main"]

_COMM = Path("/proc/self/comm")
"""The name that `ps` and `top` show, of 15 bytes at most (proc_pid_comm(5)); only Linux has it."""


class _Forker:
    """Carries out the supervisor's orders, read from `orders`, which has no buffer that a fork would copy.

    `sockets` are those of all workers. `tell` writes a line to the supervisor.
    """

    def __init__(
        self, orders: IO[bytes], sockets: tuple[int, ...], tell: Callable[[msgspec.Struct], None]
    ) -> None:
        self._orders = orders
        self._sockets = sockets
        self._tell = tell
        self._pids: dict[str, int] = {}
        # Its other end is open here alone, so that it ends with this process for all workers.
        self._lifeline, self._lifeline_end = os.pipe()
        self._wakeup, self._wakeup_end = socket.socketpair()
        self._wakeup_end.setblocking(False)

    def run(self, generations: TicketGenerations) -> ChildSpec | None:
        """Fork as ordered until the orders end; in each worker, return what it is to serve."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_end.fileno())
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            now = monotonic()
            generations.advance(now)
            wait_ms = 1_000 * (generations.next_change(now) - now)
            for descriptor, _ in poll.poll(wait_ms):
                if descriptor == self._wakeup.fileno():
                    self._wakeup.recv(select.PIPE_BUF)
                    self._reap()
                    continue
                line = self._orders.readline()
                if not line:
                    return None
                match msgspec.json.decode(line, type=Fork | Signal, dec_hook=decode_path):
                    case Fork(spec):
                        if self._fork(spec.name):
                            self._become(spec)
                            return spec
                    case Signal(name, number) if name in self._pids:
                        os.kill(self._pids[name], number)

    def _fork(self, name: str) -> bool:
        """Whether this is the worker."""
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Answered(name, 0, Failed(Reason.INTERNAL_6, f"cannot fork {name}: {error.strerror}")))
            self._tell(Ended(name, 0, os.EX_OSERR))
            return False
        if pid:
            self._pids[name] = pid
        return pid == 0

    def _become(self, spec: ChildSpec) -> None:
        """Leave everything behind that is the nursery's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._wakeup.close()
        self._wakeup_end.close()
        os.dup2(self._lifeline, self._orders.fileno())
        os.close(self._lifeline)
        os.close(self._lifeline_end)
        for descriptor in set(self._sockets) - set(spec.sockets):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            _COMM.write_text(f"ftc-{spec.name}")
        rename_process(spec.name)
        gc.enable()

    def _reap(self) -> None:
        for name, pid in tuple(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[name]
                self._tell(Ended(name, pid, os.waitstatus_to_exitcode(status)))


def main() -> int:
    """Be the nursery, or one of its workers; the exit status."""
    gc.disable()
    output = take_output()
    orders = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - until the end
    spec = read_spec(orders)
    if spec is None:
        return 2
    try:
        directory = DataDirectory.open(spec.settings.data_dir)
        generations = new_generations(directory, "bootstrap", spec.settings, ahead=TICKET_GENERATIONS_AHEAD)
    except FtcError as error:
        say(output, Failed(error.reason.value, error.message))
        return 1
    say(output, Ready())
    worker = _Forker(orders, spec.sockets, partial(say, output)).run(generations)
    if worker is None:
        return 0
    generations.close()
    log_as(worker)
    name = worker.name
    return run_serve(
        partial(bootstrap_worker.serve, generations),
        worker,
        lambda answer: say(output, Answered(name, os.getpid(), answer)),
    )


if __name__ == "__main__":
    sys.exit(main())
