"""The datagram endpoint: sockets in, peers in the middle, sockets out; one thread, no tasks, no awaits.

Reads until drained (bounded), hands each datagram to its peer or to the cookie gate, and sends the replies
of the whole wake-up afterwards. Nothing is kept for an address that has not proven itself with a cookie
(RFC 6347 §4.2.1). A new ClientHello from the address of a live association goes through the gate beside it
and replaces it only once proven (RFC 6347 §4.2.8).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Sequence
from time import monotonic

import structlog

from ftc_core.dtls.association import Association
from ftc_core.dtls.cookie import CookieGate, Proven, Rejected, Reply
from ftc_core.dtls.record import is_client_hello
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathVerifier
from ftc_core.endpoint.peer import CoapFactory, Peer, SessionFactory
from ftc_core.endpoint.udp import Datagram, Origin, UdpSocket
from ftc_core.errors import Reason
from ftc_core.limits import ASSOCIATIONS_MAX, RECEIVE_BATCH
from ftc_core.observability.counts import EndpointCounts

__all__ = ["DatagramEndpoint"]

_log = structlog.get_logger(__name__)

TIMER_SLACK_S = 0.002
"""Seconds by which a timer may fire early: the loop's clock counts milliseconds."""


class DatagramEndpoint:
    """Serves DTLS peers on a set of UDP sockets."""

    def __init__(
        self,
        sockets: Sequence[UdpSocket],
        gate: CookieGate,
        verify_path: PathVerifier,
        new_coap: CoapFactory,
        new_session: SessionFactory,
        *,
        max_associations: int = ASSOCIATIONS_MAX,
        counts: EndpointCounts | None = None,
    ) -> None:
        self._sockets = sockets
        self._gate = gate
        self._verify_path = verify_path
        self._chains = PresentedChains()
        self._new_coap = new_coap
        self._new_session = new_session
        self._max_associations = max_associations
        self._counts = counts or EndpointCounts()
        self._peers: dict[tuple[int, Origin], Peer] = {}
        # (deadline, number, peer's key): no reference to the peer, so a closed one's memory goes at once.
        self._timers: list[tuple[float, int, tuple[int, Origin]]] = []
        self._timer_numbers = itertools.count()
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._loop = asyncio.get_running_loop()
        self._draining = False
        self._empty = asyncio.Event()

    def start(self) -> None:
        """Begin to read."""
        for index, sock in enumerate(self._sockets):
            self._loop.add_reader(sock.fileno(), self._readable, index)

    async def drain(self, grace_s: float) -> None:
        """Admit nobody new, let live sessions finish for `grace_s` seconds, then close the rest."""
        self._draining = True
        self._note_if_empty()
        if grace_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_s)
        if self._peers:
            _log.info("sessions cut off", count=len(self._peers))
        for key, peer in list(self._peers.items()):
            try:
                peer.close(monotonic())
            except Exception:
                self._drop(key)
                continue
            self._settle(key, peer)
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        if self._timer is not None:
            self._timer[1].cancel()

    def __len__(self) -> int:
        return len(self._peers)

    # --- reading -----------------------------------------------------------------------------------

    def _readable(self, index: int) -> None:
        now = monotonic()
        touched: dict[tuple[int, Origin], Peer] = {}
        for datagram in self._sockets[index].receive(RECEIVE_BATCH):
            key = (index, datagram.origin)
            peer = self._peers.get(key)
            try:
                if is_client_hello(datagram.payload) and (
                    peer is None or not peer.association.owns_client_hello(datagram.payload)
                ):
                    peer = self._at_gate(key, datagram, now)
                elif peer is not None:
                    peer.receive_datagram(datagram.payload, now)
                # else: a record of a session that we do not have. Silence (RFC 6347 §4.1.2.7): its owner will
                # notice by its own timers, and an answer could be used for reflection.
            except Exception:
                self._drop(key)
                continue
            if peer is not None:
                touched[key] = peer
        for key, peer in touched.items():
            self._settle(key, peer)

    def _drop(self, key: tuple[int, Origin]) -> None:
        """Give up a peer on which our own code failed: a bug there must not reach its neighbours."""
        _log.exception("peer dropped", peer=str(key[1]), reason=Reason.INTERNAL_10)
        self._peers.pop(key, None)
        self._note_if_empty()

    def _at_gate(self, key: tuple[int, Origin], datagram: Datagram, now: float) -> Peer | None:
        """The peer that a ClientHello makes if it proves its address; else it is answered or dropped here."""
        origin = datagram.origin
        match self._gate.receive(datagram.payload, f"{origin.host}|{origin.port}".encode(), now):
            case Reply(datagrams):
                self._counts.hellos["challenged"] += 1
                if not self._draining:
                    for reply in datagrams:
                        self._sockets[key[0]].send(reply, origin)
            case Proven() as proven:
                old = self._peers.get(key)
                if self._draining or (old is None and len(self._peers) >= self._max_associations):
                    self._counts.hellos["turned_away"] += 1
                    return None
                if old is not None:
                    if not old.established:
                        self._counts.handshakes["replaced", ""] += 1
                    old.abandon(now)
                association = Association.accept(proven, self._verify_path, now, chains=self._chains)
                self._counts.hellos["resumed" if association.resumed else "proven"] += 1
                peer = Peer(
                    origin, association, self._new_coap, self._new_session, lambda p: self._wake(key, p)
                )
                self._peers[key] = peer
                peer.resume(now)
                return peer
            case Rejected():
                self._counts.hellos["rejected"] += 1
        return None

    # --- after an event -----------------------------------------------------------------------------

    def _wake(self, key: tuple[int, Origin], peer: Peer) -> None:
        if self._peers.get(key) is peer:
            try:
                peer.resume(monotonic())
            except Exception:
                self._drop(key)
                return
            self._settle(key, peer)

    def _settle(self, key: tuple[int, Origin], peer: Peer) -> None:
        """Send what the peer has to send, forget it if it has ended, re-arm its timer otherwise."""
        try:
            self._send_and_arm(key, peer)
        except Exception:
            self._drop(key)

    def _send_and_arm(self, key: tuple[int, Origin], peer: Peer) -> None:
        sock = self._sockets[key[0]]
        for payload in peer.take_datagrams():
            sock.send(payload, key[1])
        if peer.closed:
            if self._peers.get(key) is peer:
                del self._peers[key]
                if (failure := peer.handshake_failure) is not None:
                    self._counts.handshakes[failure] += 1
                self._note_if_empty()
            return
        deadline = peer.get_timer(monotonic())
        # An entry earlier than needed fires for nothing, cheaply: only an earlier deadline makes a new one.
        if deadline is not None and (peer.deadline is None or deadline < peer.deadline[0]):
            peer.deadline = (deadline, next(self._timer_numbers))
            heapq.heappush(self._timers, (*peer.deadline, key))
            self._arm()

    def _arm(self) -> None:
        if not self._timers:
            return
        due = self._timers[0][0]
        if self._timer is None or due < self._timer[0]:
            if self._timer is not None:
                self._timer[1].cancel()
            self._timer = (due, self._loop.call_at(due, self._timers_due))

    def _timers_due(self) -> None:
        self._timer = None
        now = monotonic() + TIMER_SLACK_S
        while self._timers and self._timers[0][0] <= now:
            due, number, key = heapq.heappop(self._timers)
            peer = self._peers.get(key)
            if peer is None or peer.deadline != (due, number):
                continue
            peer.deadline = None
            try:
                wanted = peer.get_timer(now)
                if wanted is not None and wanted <= now:
                    peer.handle_timer(now)
            except Exception:
                self._drop(key)
                continue
            self._settle(key, peer)
        self._arm()

    def _note_if_empty(self) -> None:
        if self._draining and not self._peers:
            self._empty.set()
