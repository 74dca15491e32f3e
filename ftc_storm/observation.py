"""What an instance says of itself during a storm: its metrics, and what the kernel knows of its processes.

A thread looks twice a second, so that the fleet's event loop waits for none of it. The CPU that the answer to
each look takes is the supervisor's, which handles no device.
"""

from __future__ import annotations

import contextlib
import os
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from ftc_core.device.opening import server_address
from ftc_core.observability.publishing import PUBLISH_INTERVAL_S
from ftc_storm.instance import Instance, cpu_seconds, own_bytes, resident_bytes

__all__ = ["ProcessSample", "Sample", "ServerCounters", "Watcher", "scrape"]

_INTERVAL_S = 0.5
_TIMEOUT_S = 5.0
_UDP_TABLE = Path("/proc/net/udp")
SIMULATOR = "simulator"
"""The name of this process among the samples."""


class ProcessSample(msgspec.Struct, frozen=True):
    """Of one process: CPU seconds since the storm began, resident bytes, and those that are its own."""

    cpu_s: float
    resident: int
    own: int


class ServerCounters(msgspec.Struct, frozen=True):
    """The metrics of the two DTLS servers and the claims; each by its labels' values joined with blanks."""

    values: dict[str, dict[str, float]]

    def get(self, metric: str, *labels: str) -> float:
        """One value, 0 if it was never counted."""
        return self.values.get(metric, {}).get(" ".join(labels), 0.0)

    def __sub__(self, earlier: ServerCounters) -> ServerCounters:
        """What was counted since."""
        return ServerCounters(
            {
                metric: {
                    labels: value - earlier.values.get(metric, {}).get(labels, 0.0)
                    for labels, value in values.items()
                    if value != earlier.values.get(metric, {}).get(labels, 0.0)
                }
                for metric, values in self.values.items()
            }
        )


class Sample(msgspec.Struct, frozen=True):
    """One look: seconds since the storm began; bytes that wait in the bootstrap sockets, and datagrams that
    the kernel had to drop there and at the fleet's own sockets; by server its associations, and the longest
    time (s) for which a datagram had waited to be read."""

    at_s: float
    processes: dict[str, ProcessSample]
    queued_bytes: int
    dropped: int
    dropped_here: int
    associations: dict[str, float]
    lag_s: dict[str, float]


_COUNTED = {
    "ftc_handshakes_total": ("server", "outcome", "alert"),
    "ftc_client_hellos_total": ("server", "answer"),
    "ftc_bootstraps_total": ("outcome", "reason"),
    "ftc_registrations_total": ("operation", "outcome"),
    "ftc_claims_total": ("kind",),
    "ftc_datagrams_total": ("server", "event"),
    "ftc_process_restarts_total": ("process",),
    "ftc_shed_total": ("server", "cause"),
}
_GAUGES = ("ftc_associations", "ftc_lag_seconds")


def scrape(url: str) -> tuple[ServerCounters, list[dict[str, float]]]:
    """The counters; associations, and lag in seconds, by server. Raises OSError if nobody answers."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our own instance
        text = answer.read().decode()
    values: dict[str, dict[str, float]] = defaultdict(dict)
    gauges: dict[str, dict[str, float]] = {name: {} for name in _GAUGES}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (names := _COUNTED.get(sample.name)) is not None:
                values[sample.name][" ".join(sample.labels[name] for name in names)] = sample.value
            elif sample.name in gauges:
                gauges[sample.name][sample.labels["server"]] = sample.value
    return ServerCounters(dict(values)), list(gauges.values())


def _sockets(ports: set[int]) -> tuple[int, int]:
    """Bytes waiting, and datagrams dropped, at all UDP sockets with these local ports (proc_net_udp(5))."""
    queued = dropped = 0
    for line in _UDP_TABLE.read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) in ports:
            queued += int(fields[4].rpartition(":")[2], 16)
            dropped += int(fields[-1])
    return queued, dropped


class Watcher:
    """Looks at an instance until it is stopped. `local_ports` are those of the fleet's own sockets."""

    def __init__(self, instance: Instance, local_ports: set[int]) -> None:
        self.samples: list[Sample] = []
        self._instance = instance
        self._bootstrap_ports = {server_address(instance.bootstrap_uri)[1]}
        self._local_ports = local_ports
        self._began = monotonic()
        self._cpu: dict[int, float] = {}
        """CPU seconds of each process ID when last seen: what a process that died has used stays counted."""
        self._names: dict[int, str] = {}
        self._drops = _sockets(self._bootstrap_ports)[1], _sockets(local_ports)[1]
        self._counters_before = scrape(instance.metrics_url)[0]
        self._counters = self._counters_before
        self._cpu_before = self._cpu_by_process(instance.processes_now())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    @property
    def counters(self) -> ServerCounters:
        """What the instance has counted since the watcher was made, as of the last look."""
        return self._counters - self._counters_before

    def start(self) -> None:
        """Begin to look; the storm's clock begins here."""
        self._began = monotonic()
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, once the instance's processes have published their last counts. Blocks."""
        self._stop.set()
        self._thread.join()
        sleep(PUBLISH_INTERVAL_S + _INTERVAL_S)
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._look()

    def _look(self) -> None:
        associations, lag_s = dict[str, float](), dict[str, float]()
        with contextlib.suppress(OSError):  # too busy to answer: the next look will
            self._counters, (associations, lag_s) = scrape(self._instance.metrics_url)
        processes = self._instance.processes_now()
        queued, dropped = _sockets(self._bootstrap_ports)
        cpu = self._cpu_by_process(processes)
        self.samples.append(
            Sample(
                at_s=monotonic() - self._began,
                processes={
                    name: ProcessSample(cpu[name] - self._cpu_before.get(name, 0.0), *_memory(pid))
                    for name, pid in {**processes, SIMULATOR: os.getpid()}.items()
                },
                queued_bytes=queued,
                dropped=dropped - self._drops[0],
                dropped_here=_sockets(self._local_ports)[1] - self._drops[1],
                associations=associations,
                lag_s=lag_s,
            )
        )

    def _cpu_by_process(self, processes: Mapping[str, int]) -> dict[str, float]:
        for name, pid in {**processes, SIMULATOR: os.getpid()}.items():
            self._names[pid] = name
            with contextlib.suppress(OSError):  # it has just died
                self._cpu[pid] = cpu_seconds(pid)
        totals: dict[str, float] = defaultdict(float)
        for pid, name in self._names.items():
            totals[name] += self._cpu.get(pid, 0.0)
        return totals


def _memory(pid: int) -> tuple[int, int]:
    try:
        return resident_bytes(pid), own_bytes(pid)
    except (OSError, StopIteration):  # it has died; a zombie has no memory
        return 0, 0
