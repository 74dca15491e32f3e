"""`ftc serve`: one supervisor, which owns the sockets, and the processes that serve on them.

The supervisor binds every UDP socket once and hands the same ones to a restarted worker. So the kernel's
SO_REUSEPORT group never changes when a worker dies: the other workers' peers stay with them, and the
datagrams of the dead one's wait in its socket for its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog

from ftc_core.application.own_certificates import own_certificates
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.endpoint.child import ChildSpec
from ftc_core.endpoint.nursery import Nursery
from ftc_core.endpoint.overview import Overview
from ftc_core.endpoint.processes import Child, spawn
from ftc_core.endpoint.service_manager import READY, STOPPING, ServiceManager
from ftc_core.endpoint.udp import bind_group
from ftc_core.errors import FtcError, Reason
from ftc_core.files import replace_file
from ftc_core.limits import DENIAL_GRACE_S
from ftc_core.listen import ANY_HOST, ListenAddress
from ftc_core.observability.http import HttpServer, health_app
from ftc_core.observability.instance_metrics import InstanceMetrics
from ftc_core.settings import Settings
from ftc_core.storage.engines import open_meter

__all__ = ["Endpoints", "Supervisor"]

_log = structlog.get_logger(__name__)

RESTART_DELAY_FIRST_S = 0.05
RESTART_DELAY_MAX_S = 5.0
STABLE_AFTER_S = 10.0
"""Seconds after which a restarted child counts as healthy, and its delay starts from the first again."""


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where an instance listens, each as host:port; written to `endpoints.json` in the data directory."""

    pid: int
    bootstrap: tuple[str, ...]
    lwm2m: tuple[str, ...]
    grpc: tuple[str, ...]
    mtls: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    processes: dict[str, int]


class Supervisor:
    """Starts the processes of one instance, restarts what dies, and stops all in order.

    `module` names of the processes are strings, so that this room imports neither the API nor the workers.
    """

    def __init__(self, settings: Settings, directory: DataDirectory) -> None:
        self._settings = settings
        self._directory = directory
        self._bootstrap: list[socket.socket] = []
        self._lwm2m: list[socket.socket] = []
        self._nursery: Nursery | None = None
        self._children: list[Child] = []
        self._stopping = asyncio.Event()
        self._manager = ServiceManager(os.environ)
        self._cleanup = contextlib.ExitStack()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises FtcError if anything cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        keepers: list[asyncio.Task[None]] = []
        try:
            self._prepare()
            await self._start_all()
            endpoints = self._publish()
            _log.info(
                "serving",
                bootstrap=endpoints.bootstrap,
                lwm2m=endpoints.lwm2m,
                grpc=endpoints.grpc,
                mtls=endpoints.mtls,
                metrics=endpoints.metrics,
                workers=self._settings.workers,
            )
            keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
            self._manager.tell(READY, f"STATUS=serving bootstrap on {', '.join(endpoints.bootstrap)}")
            await self._stopped_or_broken(keepers)
            self._overview.draining = True
            self._manager.tell(STOPPING, "STATUS=draining")
            _log.info("draining", grace_s=self._settings.shutdown_grace_s)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await asyncio.gather(*(child.stop(self._stop_s) for child in self._children))
            if self._nursery is not None:
                await self._nursery.stop()
            self._endpoints_file.unlink(missing_ok=True)
            _close(self._bootstrap + self._lwm2m)
            self._cleanup.close()
        _log.info("stopped")

    async def _stopped_or_broken(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Return when told to stop. Raises what a keeper did not expect.

        Better no instance than one with a process that nobody restarts.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({stopping, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        for task in done:
            task.result()

    @property
    def _stop_s(self) -> float:
        """What each child gets to stop.

        The grace, a second in which it cuts sessions off in order, and what its last denials may take.
        """
        return self._settings.shutdown_grace_s + 1 + DENIAL_GRACE_S

    @property
    def _processes(self) -> list[Child]:
        return ([] if self._nursery is None else [self._nursery.child]) + self._children

    @property
    def _endpoints_file(self) -> Path:
        return self._directory.root / "endpoints.json"

    def _prepare(self) -> None:
        workers = self._settings.workers
        self._bootstrap = self._bind(self._settings.bootstrap_listen, workers)
        self._lwm2m = self._bind(self._settings.lwm2m_listen, 1)
        # What devices are told must name the real ports, also where the settings say 0.
        settings = msgspec.structs.replace(
            self._settings,
            bootstrap_uri=self._settings.public_bootstrap_uri(_port(self._bootstrap)),
            lwm2m_uri=self._settings.public_lwm2m_uri(_port(self._lwm2m)),
        )

        meter = self._cleanup.enter_context(contextlib.closing(open_meter(self._settings.store_url)))
        self._metrics = self._cleanup.enter_context(
            contextlib.closing(InstanceMetrics(lambda: self._overview.collect()))
        )

        def spec(name: str, sockets: Sequence[socket.socket]) -> ChildSpec:
            descriptors = tuple(sock.fileno() for sock in sockets)
            return ChildSpec(name=name, settings=settings, sockets=descriptors)

        environment = self._metrics.environment
        self._nursery = Nursery(spec("nursery", self._bootstrap), environment, self._stop_s)
        self._api = Child(spec("api", []), partial(spawn, "ftc_grpc", environment))
        self._children = [
            *(
                # Groups follow one another, each with a socket for every worker.
                Child(spec(f"bootstrap-{index}", self._bootstrap[index::workers]), self._nursery.fork)
                for index in range(workers)
            ),
            Child(spec("lwm2m", self._lwm2m), partial(spawn, "ftc_core.endpoint.lwm2m_worker", environment)),
            self._api,
        ]
        certificates = {own.name: own.not_after for own in own_certificates(self._directory)}
        self._overview = Overview(self._processes, meter, certificates)
        app = health_app(self._metrics.registry, self._overview.find_obstacles)
        self._http = HttpServer(self._settings.metrics_listen, app)
        self._cleanup.callback(self._http.close)

    def _bind(self, addresses: Sequence[ListenAddress], members: int) -> list[socket.socket]:
        sockets: list[socket.socket] = []
        for address in addresses:
            for host, port in address.bindings():
                # "*:0" is one port on both families: the second takes what the first was given.
                same = port or (_port(sockets) if sockets else 0)
                try:
                    sockets += bind_group(host, same, members)
                except FtcError as error:
                    # "*" on a host without IPv6 is all of IPv4.
                    if address.host != ANY_HOST or host != "::" or error.reason is Reason.PORT_IN_USE:
                        _close(sockets)
                        raise
        return sockets

    async def _start_all(self) -> None:
        results = await asyncio.gather(*(child.start() for child in self._children), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        # The API binds its ports itself: also where the settings say 0, its successor must be where it was.
        names = ("grpc_listen", "mtls_listen")  # the second only if it is set
        bound = map(ListenAddress.parse, self._api.ready.addresses)
        settings = msgspec.structs.replace(self._api.spec.settings, **dict(zip(names, bound, strict=False)))
        self._api.spec = msgspec.structs.replace(self._api.spec, settings=settings)

    def _publish(self) -> Endpoints:
        """Tell other processes where this instance listens, and which processes it has."""
        endpoints = Endpoints(
            pid=os.getpid(),
            bootstrap=_names(self._bootstrap[:: self._settings.workers]),
            lwm2m=_names(self._lwm2m),
            grpc=self._api.ready.addresses[:1],
            mtls=self._api.ready.addresses[1:],
            metrics=self._http.addresses,
            processes={
                child.name: child.process.pid
                for child in self._processes
                if child.process is not None and child.process.pid is not None
            },
        )
        replace_file(self._endpoints_file, msgspec.json.format(msgspec.json.encode(endpoints)) + b"\n")
        return endpoints

    async def _keep(self, child: Child) -> None:
        """Restart `child` whenever it dies, with a delay that doubles while it dies young."""
        loop = asyncio.get_running_loop()
        delay = RESTART_DELAY_FIRST_S
        while True:
            assert child.process is not None  # noqa: S101 - started before it is kept
            started = loop.time()
            status = await child.process.wait()
            child.serves = False
            self._metrics.forget_process(child.name)
            if loop.time() - started > STABLE_AFTER_S:
                delay = RESTART_DELAY_FIRST_S
            # One that ends in order, be it told to or because it has no more ticket keys, did not die.
            tell, event = (
                (_log.error, "process died, restarting")
                if status
                else (_log.info, "process ended, restarting")
            )
            tell(event, process=child.name, status=status, delay_s=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_DELAY_MAX_S)
            try:
                await child.start()
            except (FtcError, OSError) as error:  # OSError: the system has no process or descriptor to give
                _log.error("restart failed", process=child.spec.name, error=str(error))
                continue
            child.restarts += status != 0
            _log.info("restarted", process=child.spec.name, pid=child.process.pid)
            try:
                self._publish()
            except OSError as error:  # a full disk; the process serves all the same
                _log.error("endpoints not published", error=str(error))


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _port(sockets: Sequence[socket.socket]) -> int:
    port: int = sockets[0].getsockname()[1]
    return port


def _names(sockets: Sequence[socket.socket]) -> tuple[str, ...]:
    return tuple(str(ListenAddress(*sock.getsockname()[:2])) for sock in sockets)
