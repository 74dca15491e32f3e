"""Puts a DTLS server together: inherited sockets, our identity, the gate, the path check, the sessions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.dtls.context import server_context
from ftc_core.dtls.cookie import CookieGate
from ftc_core.dtls.events import Closed
from ftc_core.dtls.trust import AnchorFinder, BlockFinder, TrustEvaluator, VerifiedPath
from ftc_core.endpoint.child import ChildSpec
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.endpoint.peer import Session, SessionFactory
from ftc_core.endpoint.telemetry import Telemetry
from ftc_core.endpoint.udp import Origin, UdpSocket
from ftc_core.limits import TICKET_KEY_LIFETIME_S

__all__ = ["open_endpoint"]


def open_endpoint(
    spec: ChildSpec,
    directory: DataDirectory,
    name: ServerName,
    find_anchors: AnchorFinder,
    new_session: SessionFactory,
    telemetry: Telemetry,
    *,
    find_blocked: BlockFinder = lambda fingerprints: (),
    handshake_refused: Callable[[Origin, Closed], None] = lambda origin, closed: None,
) -> DatagramEndpoint:
    """The endpoint of server `name` on the sockets of `spec`, trusting whatever `find_anchors` finds.

    What `find_blocked` finds is refused; `handshake_refused` is told of each peer whose handshake we ended.
    `telemetry` watches it.

    Raises FtcError FILE_UNREADABLE if the server's identity cannot be read.
    """
    identity = directory.server_identity(name)
    settings = spec.settings
    new_context = partial(
        server_context,
        [identity.certificate],
        identity.private_key,
        resumption_s=settings.resumption_lifetime_s,
    )
    gate = CookieGate(new_context(), directory.cookie_secret, mtu=settings.dtls_mtu)
    evaluator = TrustEvaluator(find_anchors, find_blocked=find_blocked)
    sockets = [UdpSocket(socket.socket(fileno=descriptor)) for descriptor in spec.sockets]

    def counted_session(
        path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        telemetry.counts.handshakes["completed", ""] += 1
        return new_session(path, origin, coap, wake, now)

    endpoint = DatagramEndpoint(
        sockets,
        gate,
        lambda chain: evaluator.evaluate(chain, utc_now()),
        new_coap_layer,
        counted_session,
        counts=telemetry.counts,
        handshake_refused=handshake_refused,
    )
    telemetry.watch(endpoint, sockets)
    if settings.resumption_lifetime_s:
        _at_intervals(TICKET_KEY_LIFETIME_S, lambda: gate.renew(new_context()))
    return endpoint


def _at_intervals(interval_s: float, action: Callable[[], None]) -> None:
    """Do `action` every `interval_s` seconds for as long as the loop runs."""
    loop = asyncio.get_running_loop()

    def due() -> None:
        loop.call_later(interval_s, due)
        action()

    loop.call_later(interval_s, due)
