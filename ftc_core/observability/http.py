"""Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`. wsgiref's server, a thread per request."""

from __future__ import annotations

import errno
import socket
import socketserver
from collections.abc import Callable, Iterable, Sequence
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from ftc_core.errors import FtcError, Reason
from ftc_core.listen import ANY_HOST, ListenAddress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HttpServer", "health_app"]

_log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S = 10.0
"""Seconds of silence after which a client's connection is closed."""

_TEXT = ("Content-Type", "text/plain; charset=utf-8")


def health_app(registry: CollectorRegistry, find_obstacles: Callable[[], Sequence[str]]) -> WSGIApplication:
    """The application. `find_obstacles` gives, a line each, what keeps the instance from being ready."""
    metrics: WSGIApplication = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            return _answer(start_response, "405 Method Not Allowed", ["only GET"], ("Allow", "GET"))
        match environ.get("PATH_INFO"):
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                return _answer(start_response, "200 OK", ["alive"])
            case "/readyz":
                obstacles = find_obstacles()
                if obstacles:
                    return _answer(start_response, "503 Service Unavailable", obstacles)
                return _answer(start_response, "200 OK", ["ready"])
            case _:
                lines = ["nothing here; there are /metrics, /healthz and /readyz"]
                return _answer(start_response, "404 Not Found", lines)

    return app


def _answer(
    start_response: StartResponse, status: str, lines: Iterable[str], *headers: tuple[str, str]
) -> Iterable[bytes]:
    body = "".join(f"{line}\n" for line in lines).encode()
    start_response(
        status, [_TEXT, ("Content-Length", str(len(body))), ("Cache-Control", "no-store"), *headers]
    )
    return [body]


class HttpServer:
    """Serves `app` on `listen` from threads of its own, from its making to `close`.

    Raises FtcError PORT_IN_USE, or SETTING_INVALID for an address that is not ours.
    """

    def __init__(self, listen: ListenAddress, app: WSGIApplication) -> None:
        self._servers: list[_Server] = []
        try:
            for host, port in listen.bindings():
                # "*:0" is one port on both families: the second takes what the first was given.
                same = port or (self._servers[0].server_port if self._servers else 0)
                try:
                    self._servers.append(_Server(host, same, app))
                except FtcError as error:
                    # "*" on a host without IPv6 is all of IPv4.
                    if listen.host != ANY_HOST or host != "::" or error.reason is Reason.PORT_IN_USE:
                        raise
        except FtcError:
            self._close_sockets()
            raise
        self._threads = [
            Thread(target=server.serve_forever, name="metrics", daemon=True) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as host:port."""
        return tuple(str(ListenAddress(*server.socket.getsockname()[:2])) for server in self._servers)

    def close(self) -> None:
        """Stop listening; requests under way are not waited for."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for server in self._servers:
            server.server_close()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a client that reads slowly does not hold up the end

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.address_family, _, _, _, address = found[0]
            super().__init__((str(address[0]), port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise FtcError(Reason.PORT_IN_USE, f"TCP port {port} on {host} is in use") from None
            raise FtcError(
                Reason.SETTING_INVALID,
                f"setting metrics_listen: cannot listen on {host}:{port}: {error.strerror or error}",
                field="metrics_listen",
            ) from None
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind one address family, and ask no name server for our own name, as the base class does."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, mostly: nothing for standard error."""
        _log.debug("http request failed", peer=str(client_address), exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Requests are for debugging: a probe comes every few seconds."""
        _log.debug("http", request=format % args, peer=str(self.client_address[0]))
