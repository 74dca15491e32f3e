"""Gives a process a share of one core, by stopping it (SIGSTOP) whenever it has had that.

    python -m benchmarks.peers.governor PID SHARE

So one machine can offer any server several times what it can do: on two cores, devices simulated in Python
would be the first to be short of breath. What is granted is CPU time, all threads together, not time on the
wall, so neighbours on the machine take nothing away; what a process did not use is forgotten after
`_CREDIT_S`. It ends, and lets the process run again, with its standard input.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["governed", "process_cpu_seconds"]

_LOOK_S = 0.001
_CREDIT_S = 0.05
_CPUCLOCK_SCHED = 2
"""How Linux names the CPU clock of another process (clock_getcpuclockid(3)): its inverted ID, and this."""


def process_cpu_seconds(pid: int) -> float:
    """CPU time of process `pid`, user and kernel, of all threads, those that have ended included."""
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


@contextmanager
def governed(pid: int, share: float) -> Iterator[None]:
    """Process `pid` gets this share of a core, from 0 to 1, while the context lasts."""
    command = [sys.executable, "-m", "benchmarks.peers.governor", str(pid), str(share)]
    governor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert governor.stdout is not None
        governor.stdout.readline()  # it has begun
        yield
    finally:
        governor.communicate()
        os.kill(pid, signal.SIGCONT)


def _govern(pid: int, share: float) -> None:
    seen, used = time.monotonic(), process_cpu_seconds(pid)
    credit, stopped = 0.0, False
    print("governing", flush=True)
    while not select.select([sys.stdin], [], [], _LOOK_S)[0]:
        now, total = time.monotonic(), process_cpu_seconds(pid)
        credit = min(_CREDIT_S * share, credit + (now - seen) * share - (total - used))
        seen, used = now, total
        if stopped != (credit < 0):
            stopped = not stopped
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)


if __name__ == "__main__":
    _govern(int(sys.argv[1]), float(sys.argv[2]))
