"""The metrics of a whole instance: the sums over its processes, and what its supervisor sees itself."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ftc_core.observability.metrics import MULTIPROCESS_VARIABLE, build_info

__all__ = ["InstanceMetrics"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own in it
_DISTRIBUTION = "first-to-claim"


class InstanceMetrics:
    """The directory of the processes' metric files, and the registry over it and over `read_own`.

    In memory where the system has it: the files are mapped, so that a full disk would be a SIGBUS to a
    worker. The files of a process that died stay: its successor has its name and goes on in them.
    """

    def __init__(self, read_own: Callable[[], Iterable[Metric]]) -> None:
        place = _MEMORY if _MEMORY.is_dir() else None
        self._directory = tempfile.mkdtemp(prefix="ftc-metrics-", dir=place)
        self._read_own = read_own
        self.registry = CollectorRegistry(auto_describe=False)
        MultiProcessCollector(self.registry, path=self._directory)  # type: ignore[no-untyped-call] # has no types
        self.registry.register(self)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must have in its environment to take part."""
        return {MULTIPROCESS_VARIABLE: self._directory}

    def forget_process(self, name: str) -> None:
        """The process of that name died: what it held is held no more."""
        mark_process_dead(name, self._directory)  # type: ignore[no-untyped-call] # has no types

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client, at each scrape."""
        yield build_info(version(_DISTRIBUTION), platform.python_version())
        yield from self._read_own()

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._directory, ignore_errors=True)
