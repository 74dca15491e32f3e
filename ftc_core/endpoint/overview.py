"""What a supervisor shows of its instance: whether it is ready, and its own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from prometheus_client import Metric

from ftc_core.errors import FtcError
from ftc_core.observability import metrics
from ftc_core.storage.statistics import StoreMeter

__all__ = ["Overview", "Process"]

_log = structlog.get_logger(__name__)


class Process(Protocol):
    """A supervised process as it is seen here."""

    @property
    def name(self) -> str:
        """Its name within the instance."""
        ...

    @property
    def serves(self) -> bool:
        """Whether it said that it serves and has not died since."""
        ...

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        ...


class Overview:
    """Reads `processes` and `meter` anew at each question, which comes from a thread of the HTTP server.

    `certificates` are the instance's own, by name, with the ends of their validity: those that it serves,
    which are the ones that it started with.
    """

    def __init__(
        self, processes: Sequence[Process], meter: StoreMeter, certificates: Mapping[str, datetime]
    ) -> None:
        self._processes = processes
        self._meter = meter
        self._certificates = certificates
        self.draining = False

    def find_obstacles(self) -> Sequence[str]:
        """What keeps the instance from being ready, a line each."""
        obstacles = [
            f"process {process.name} does not serve" for process in self._processes if not process.serves
        ]
        if self.draining:
            obstacles.insert(0, "the instance is draining")
        try:
            self._meter.read()
        except FtcError as error:
            obstacles.append(f"store: {error.message}")
        return obstacles

    def collect(self) -> Iterable[Metric]:
        """The instance's own metrics; without those of the store if that cannot be read."""
        yield metrics.process_restarts({process.name: process.restarts for process in self._processes})
        yield metrics.processes_ready({process.name: process.serves for process in self._processes})
        yield metrics.certificate_expiries(self._certificates)
        try:
            statistics = self._meter.read()
        except FtcError as error:
            _log.error("store not measured", reason=error.reason)
            return
        yield metrics.store_used_bytes(statistics.used_bytes)
        yield metrics.store_map_bytes(statistics.map_bytes)
        yield metrics.store_entries(statistics.entries)
