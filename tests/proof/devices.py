"""Devices as their servers see them, behind processes that can be killed."""

from __future__ import annotations

import contextlib
import itertools
import queue
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from ftc_core.domain.claim import ClaimRequest
from ftc_core.lwm2m.registration import DeviceIdentity
from tests.proof.device_process import Order, Report
from tests.proof.history import UnknownOutcomeError

__all__ = ["Devices"]

ANSWER_TIMEOUT_S = 20.0


class _Process:
    """One process, and who waits for which of its reports."""

    def __init__(self, root: Path, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.proof.device_process", str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Report | None]] = {}
        self._lock = threading.Lock()
        self._ended = False
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), f"{log} says why it did not start"
        self._reader = threading.Thread(target=self._read, name="devices")
        self._reader.start()

    def ask(self, claim: ClaimRequest | None = None, register: DeviceIdentity | None = None) -> Report:
        """What the device is told. Raises UnknownOutcomeError if the process ends before it tells."""
        answer: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        number = next(self._numbers)
        assert self._process.stdin is not None
        with self._lock:
            if self._ended:
                raise UnknownOutcomeError
            self._waiting[number] = answer
            try:
                self._process.stdin.write(msgspec.json.encode(Order(number, claim, register)) + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise UnknownOutcomeError from None
        report = answer.get(timeout=ANSWER_TIMEOUT_S)
        if report is None:
            raise UnknownOutcomeError
        return report

    def kill(self) -> None:
        """SIGKILL; who waits learns nothing."""
        self._process.kill()
        self._reader.join()

    def close(self) -> None:
        """Let it end by itself."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.close()
        self._reader.join()
        assert self._process.wait() == 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = msgspec.json.decode(line, type=Report)
            self._waiting.pop(report.number).put(report)
        self._process.stdout.close()
        assert self._process.stdin is not None
        with self._lock:
            self._ended = True
            with contextlib.suppress(BrokenPipeError):  # what a killed process has not read is lost
                self._process.stdin.close()
        for waiting in self._waiting.values():
            waiting.put(None)
        self._process.wait()


class Devices:
    """Some processes, used in turn. From any thread."""

    def __init__(self, root: Path, *, processes: int = 2) -> None:
        self._root = root
        self._log = root / "devices.log"
        self._processes = [_Process(root, self._log) for _ in range(processes)]
        self._turns = itertools.count()

    def ask(self, claim: ClaimRequest | None = None, register: DeviceIdentity | None = None) -> Report:
        """What a device is told. Raises UnknownOutcomeError."""
        return self._processes[next(self._turns) % len(self._processes)].ask(claim, register)

    def kill_one(self, index: int) -> None:
        """SIGKILL one of the processes, and start its successor."""
        index %= len(self._processes)
        self._processes[index].kill()
        self._processes[index] = _Process(self._root, self._log)

    def close(self) -> None:
        """End them all."""
        for process in self._processes:
            process.close()

    def log(self) -> str:
        """What they wrote."""
        return self._log.read_text()
