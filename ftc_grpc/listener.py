"""One port of the API: its TLS, its limits, and what happens around each call."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import grpc
from grpc import aio

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import RPC_MESSAGE_MAX_BYTES, RPC_METADATA_MAX_BYTES
from ftc_grpc.interceptors.wrapping import Interceptor
from ftc_grpc.method_table import MethodTable

__all__ = ["Listener", "ServerTls"]

Servicer = TypeVar("Servicer")

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # or a second server would share the port in silence
    ("grpc.max_receive_message_length", RPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", RPC_MESSAGE_MAX_BYTES),
    ("grpc.max_metadata_size", RPC_METADATA_MAX_BYTES),
    ("grpc.absolute_max_metadata_size", RPC_METADATA_MAX_BYTES),
    # Of one connection, and far more than a caller has in flight. Who comes near it is refused: gRPC counts
    # streams that have ended and are not freed yet, while to the client they are gone and it opens others.
    ("grpc.max_concurrent_streams", 1_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    # Balancing is per connection: long-lived ones must reconnect now and then to find new servers.
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 5 * 60_000),
    ("grpc.enable_channelz", 1),
)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The server's certificate (with intermediates, if any) and key, PEM.

    With `client_ca_pem` every client must show a certificate from one of these CAs; without, none is asked
    for. gRPC in Python knows nothing between the two: hence a port for each.
    """

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)
    client_ca_pem: bytes | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """The same for gRPC."""
        return grpc.ssl_server_credentials(
            [(self.private_key_pem, self.certificate_pem)],
            root_certificates=self.client_ca_pem,
            require_client_auth=self.client_ca_pem is not None,
        )


class Listener:
    """A gRPC server of one port. `interceptors` take part in each call, in their order."""

    def __init__(self, interceptors: Sequence[Interceptor], tls: ServerTls) -> None:
        self._credentials = tls.credentials()
        self._methods = MethodTable(interceptors)
        self.server = aio.server(handlers=[self._methods], options=_OPTIONS)

    def add(self, add_to_server: Callable[[Servicer, aio.Server], None], servicer: Servicer) -> None:
        """Serve the methods of `servicer`; `add_to_server` is what was generated for its service."""
        add_to_server(servicer, cast("aio.Server", self._methods))  # it asks no more of a server

    def bind(self, address: str) -> int:
        """Take `address` (host:port, port 0 for any), to be served from `server.start` on; gives the port.

        Raises FtcError PORT_IN_USE, or SETTING_INVALID if it cannot be bound for another reason.
        """
        try:
            return self.server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise _cannot_listen(address) from error


def _cannot_listen(address: str) -> FtcError:
    """Why `address` cannot be bound: gRPC does not say, so the system is asked once more."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if "[" in host else socket.AF_INET
        ).close()
    except OSError as error:
        if error.errno is not None and error.errno != errno.EADDRINUSE:
            return FtcError(
                Reason.SETTING_INVALID, f"cannot listen on {address} (TCP): {os.strerror(error.errno)}"
            )
    return FtcError(Reason.PORT_IN_USE, f"TCP port {port} on {host} is in use")
