"""Puts a DTLS server together: inherited sockets, our identity, the gate, the path check, the sessions."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.dtls.context import server_context
from ftc_core.dtls.cookie import CookieGate
from ftc_core.dtls.trust import AnchorFinder, TrustEvaluator, VerifiedPath
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.endpoint.peer import Session, SessionFactory
from ftc_core.endpoint.telemetry import Telemetry
from ftc_core.endpoint.udp import Origin, UdpSocket

__all__ = ["open_endpoint"]


def open_endpoint(
    descriptors: Sequence[int],
    directory: DataDirectory,
    name: ServerName,
    find_anchors: AnchorFinder,
    new_session: SessionFactory,
    telemetry: Telemetry,
) -> DatagramEndpoint:
    """The endpoint of server `name` on inherited UDP sockets, trusting whatever `find_anchors` finds.

    `telemetry` watches it.

    Raises FtcError FILE_UNREADABLE if the server's identity cannot be read.
    """
    identity = directory.server_identity(name)
    context = server_context([identity.certificate], identity.private_key)
    evaluator = TrustEvaluator(find_anchors)
    sockets = [UdpSocket(socket.socket(fileno=descriptor)) for descriptor in descriptors]

    def counted_session(
        path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        telemetry.counts.handshakes["completed", ""] += 1
        return new_session(path, origin, coap, wake, now)

    endpoint = DatagramEndpoint(
        sockets,
        CookieGate(context, directory.cookie_secret),
        lambda chain: evaluator.evaluate(chain, utc_now()),
        new_coap_layer,
        counted_session,
        counts=telemetry.counts,
    )
    telemetry.watch(endpoint, sockets)
    return endpoint
