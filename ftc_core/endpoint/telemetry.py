"""What a worker counts, on its way to the metrics and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Sized

from prometheus_client import Histogram

from ftc_core.credentials.data_directory import ServerName
from ftc_core.endpoint.udp import UdpSocket
from ftc_core.observability import metrics
from ftc_core.observability.counts import BootstrapCounts, EndpointCounts, RegistrationCounts
from ftc_core.observability.publishing import (
    PUBLISH_INTERVAL_S,
    SUMMARY_INTERVAL_S,
    CounterFeed,
    Summary,
    repeat,
)

__all__ = ["Telemetry", "bootstrap_telemetry", "registration_telemetry"]


class Telemetry:
    """Publishes the counts of one DTLS server in one process. For the thread of its event loop."""

    def __init__(self, server: ServerName, feeds: Sequence[CounterFeed], summary: Summary) -> None:
        self.counts = EndpointCounts()
        self._server = server
        self._summary = summary
        self._sockets: Sequence[UdpSocket] = ()
        self._endpoint: Sized = ()
        self._associations = metrics.ASSOCIATIONS.labels(server)
        self._lag = metrics.LAG_SECONDS.labels(server)
        self._feeds = [
            *feeds,
            CounterFeed(metrics.DATAGRAMS, self._datagrams),
            CounterFeed(metrics.CLIENT_HELLOS, lambda: _prefixed(server, self.counts.hellos)),
            CounterFeed(metrics.SHED, lambda: _prefixed(server, self.counts.shed)),
            CounterFeed(
                metrics.HANDSHAKES, lambda: {(server, *key): n for key, n in self.counts.handshakes.items()}
            ),
        ]
        self._histograms: list[tuple[Histogram, Callable[[], Sequence[float]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, endpoint: Sized, sockets: Sequence[UdpSocket]) -> None:
        """Count the associations of `endpoint` and the datagrams of its `sockets`."""
        self._endpoint, self._sockets = endpoint, sockets

    def observe(self, histogram: Histogram, take: Callable[[], Sequence[float]]) -> None:
        """Publish in `histogram` what `take` gives each time."""
        self._histograms.append((histogram, take))

    def start(self) -> None:
        """Publish and tell at intervals."""
        self._tasks = [
            asyncio.create_task(repeat(self.publish, PUBLISH_INTERVAL_S)),
            asyncio.create_task(repeat(self._summary.tell, SUMMARY_INTERVAL_S)),
        ]

    def stop(self) -> None:
        """Publish and tell what is left."""
        for task in self._tasks:
            task.cancel()
        self.publish()
        self._summary.tell()

    def publish(self) -> None:
        """Bring every metric up to date."""
        for feed in self._feeds:
            feed.publish()
        for histogram, take in self._histograms:
            for value in take():
                histogram.observe(value)
        self._associations.set(len(self._endpoint))
        self._lag.set(self.counts.take_lag())

    def _datagrams(self) -> Mapping[tuple[str, ...], int]:
        return {
            (self._server, "received"): sum(sock.received for sock in self._sockets),
            (self._server, "truncated"): sum(sock.truncated for sock in self._sockets),
            (self._server, "overflowed"): sum(sock.overflowed for sock in self._sockets),
            (self._server, "sent"): sum(sock.sent for sock in self._sockets),
            (self._server, "dropped"): sum(sock.dropped_sends for sock in self._sockets),
        }


def bootstrap_telemetry(counts: BootstrapCounts) -> Telemetry:
    """Of a bootstrap worker."""
    telemetry = Telemetry(
        "bootstrap",
        [
            CounterFeed(metrics.CLAIMS, lambda: {(kind,): n for kind, n in counts.claims.items()}),
            CounterFeed(metrics.CREDENTIALS, lambda: {(): counts.credentials}),
            CounterFeed(
                metrics.UNTRUSTED_ISSUERS, lambda: {(cause,): n for cause, n in counts.untrusted.items()}
            ),
            CounterFeed(metrics.BOOTSTRAPS, lambda: counts.ended),
            CounterFeed(metrics.ENROLMENTS, lambda: counts.enrolments),
            CounterFeed(metrics.DENIALS, lambda: {(result,): n for result, n in counts.denials.items()}),
        ],
        Summary("devices bootstrapped", lambda: _told(counts.ended)),
    )
    telemetry.observe(metrics.BOOTSTRAP_SECONDS, counts.take_durations)
    return telemetry


def registration_telemetry(counts: RegistrationCounts) -> Telemetry:
    """Of the LwM2M worker."""
    return Telemetry(
        "lwm2m",
        [CounterFeed(metrics.REGISTRATIONS, lambda: counts.operations)],
        Summary("devices registered", lambda: _told(counts.operations)),
    )


def _prefixed(server: str, counts: Mapping[str, int]) -> Mapping[tuple[str, ...], int]:
    return {(server, key): number for key, number in counts.items()}


def _told(counts: Mapping[tuple[str, ...], int]) -> Mapping[str, int]:
    """Names for the log: `completed`, `refused_ENROLLMENT_NOT_FOUND`, `register`, `update_…`."""
    return {
        first if second in ("", "OK") else f"{first}_{second}": number
        for (first, second), number in counts.items()
    }
