"""Puts a DTLS server together: inherited sockets, our identity, the gate, the path check, the sessions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import monotonic

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.dtls.context import server_context
from ftc_core.dtls.cookie import CookieGate
from ftc_core.dtls.events import Closed
from ftc_core.dtls.ticket_generations import NamedContext, TicketGenerations
from ftc_core.dtls.ticket_key_name import learn_key_name
from ftc_core.dtls.trust import AnchorFinder, BlockFinder, TrustEvaluator, VerifiedPath
from ftc_core.endpoint.child import ChildSpec
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.endpoint.peer import Session, SessionFactory
from ftc_core.endpoint.telemetry import Telemetry
from ftc_core.endpoint.udp import Origin, UdpSocket
from ftc_core.settings import Settings

__all__ = ["new_generations", "open_endpoint"]


def new_generations(
    directory: DataDirectory, name: ServerName, settings: Settings, *, ahead: int = 0
) -> TicketGenerations:
    """The contexts of server `name` from now on, those of `ahead` generations to come included.

    Raises FtcError FILE_UNREADABLE if the server's identity cannot be read.
    """
    identity = directory.server_identity(name)
    chain, key = [identity.certificate], identity.private_key
    resumption_s = settings.resumption_lifetime_s

    def make() -> NamedContext:
        context = server_context(chain, key, resumption_s=resumption_s)
        return NamedContext(context, learn_key_name(context, chain, key) if resumption_s else b"")

    return TicketGenerations(make, monotonic(), ahead=ahead)


def open_endpoint(
    spec: ChildSpec,
    directory: DataDirectory,
    generations: TicketGenerations,
    find_anchors: AnchorFinder,
    new_session: SessionFactory,
    telemetry: Telemetry,
    *,
    find_blocked: BlockFinder = lambda fingerprints: (),
    handshake_refused: Callable[[Origin, Closed], None] = lambda origin, closed: None,
) -> DatagramEndpoint:
    """The endpoint of the server of `generations` on the sockets of `spec`.

    It trusts whatever `find_anchors` finds and refuses what `find_blocked` finds; `handshake_refused` is told
    of each peer whose handshake we ended. `telemetry` watches it.

    Raises FtcError FILE_UNREADABLE if the secret of the cookies cannot be read.
    """
    gate = CookieGate(
        generations.sealing(monotonic()),
        directory.cookie_secret,
        opening=generations.opening(),
        mtu=spec.settings.dtls_mtu,
    )
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
    if spec.settings.resumption_lifetime_s:
        _keep_renewing(gate, generations)
    return endpoint


def _keep_renewing(gate: CookieGate, generations: TicketGenerations) -> None:
    """Let `gate` seal and open by `generations` for as long as the loop runs."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        now = monotonic()
        loop.call_later(generations.next_change(now) - now, change)

    def change() -> None:
        wait()
        now = monotonic()
        generations.advance(now)
        gate.renew(generations.sealing(now), generations.opening())

    wait()
