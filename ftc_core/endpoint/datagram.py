"""The datagram endpoint: sockets in, peers in the middle, sockets out; one thread, no tasks, no awaits.

Each wake-up reads until the socket is drained, bounded in datagrams and in time. What belongs to a peer is
served as it is read, and the replies of the whole wake-up are sent afterwards. ClientHellos come after that
(`doorway`), and a handshake begins only when nothing is left to read for the peers that are already in: a
session that is half done is worth more than a new one, and its device has less patience left. So however many
come, those that are let in are served as quickly as if nobody else were there.

Nothing is kept for an address that has not proven itself with a cookie (RFC 6347 §4.2.1). A new ClientHello
from the address of a live association goes through the gate beside it and replaces it only once proven
(RFC 6347 §4.2.8).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from time import monotonic

import structlog

from ftc_core.dtls.association import Association, CloseCause, Closed
from ftc_core.dtls.cookie import CookieGate
from ftc_core.dtls.record import is_client_hello
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathVerifier
from ftc_core.endpoint.admission import Admission, Place
from ftc_core.endpoint.doorway import Doorway, Entrant, PeerKey
from ftc_core.endpoint.farewells import Farewells
from ftc_core.endpoint.peer import CoapFactory, Peer, SessionFactory
from ftc_core.endpoint.peer_timers import PeerTimers
from ftc_core.endpoint.udp import Datagram, Origin, UdpSocket
from ftc_core.errors import Reason
from ftc_core.limits import ADMISSION_PAUSE_MAX_S, ASSOCIATIONS_MAX, RECEIVE_BATCH, TURN_BUDGET_S
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
        handshake_refused: Callable[[Origin, Closed], None] = lambda origin, closed: None,
    ) -> None:
        self._sockets = sockets
        self._verify_path = verify_path
        self._chains = PresentedChains()
        self._new_coap = new_coap
        self._new_session = new_session
        self._counts = counts or EndpointCounts()
        self._handshake_refused = handshake_refused
        admission: Admission[PeerKey] = Admission(self._counts.shed, max_associations=max_associations)
        self._doorway = Doorway(gate, admission, self._counts)
        self._farewells = Farewells()
        self._admitting: asyncio.Handle | None = None
        self._admitted_at = 0.0
        self._peers: dict[PeerKey, Peer] = {}
        self._timers: PeerTimers[PeerKey] = PeerTimers()
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
        self._doorway.close()
        self._note_if_empty()
        if grace_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()
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
        if self._admitting is not None:
            self._admitting.cancel()

    def __len__(self) -> int:
        return len(self._peers)

    # --- reading -----------------------------------------------------------------------------------

    def _readable(self, index: int) -> None:
        now = monotonic()
        drained = self._read(index, now)
        if self._doorway.waiting:
            self._admit(now, drained=drained)

    def _read(self, index: int, now: float) -> bool:
        """Serve the peers of one socket, hear who else is there; whether nothing is left to read."""
        until = now + TURN_BUDGET_S
        touched: dict[PeerKey, Peer] = {}
        strangers: list[tuple[PeerKey, Datagram]] = []
        count, lag_s, in_time = 0, 0.0, True
        for datagram in self._sockets[index].receive(RECEIVE_BATCH):
            count += 1
            lag_s = max(lag_s, now - datagram.received_at)
            key = (index, datagram.origin)
            peer = self._peers.get(key)
            try:
                if is_client_hello(datagram.payload) and (
                    peer is None or not peer.association.owns_client_hello(datagram.payload)
                ):
                    if not self._doorway.hear(key, datagram, now):
                        strangers.append((key, datagram))
                elif peer is not None and not self._doorway.expects(key, datagram):
                    peer.receive_datagram(datagram.payload, now)
                    touched[key] = peer
                else:
                    # A record of a session that we do not have. Silence (RFC 6347 §4.1.2.7): its owner will
                    # notice by its own timers, and an answer could be used for reflection. Unless it ended
                    # here, and its owner did not hear that.
                    for farewell in self._farewells.again(key, datagram.payload, now):
                        self._sockets[index].send(farewell, datagram.origin)
                    self._doorway.follow(key, datagram)
            except Exception:
                self._drop(key)
                continue
            if monotonic() > until:
                in_time = False
                break
        for key, peer in touched.items():
            self._settle(key, peer)
        for key, datagram in strangers:
            for reply in self._doorway.challenge(datagram, now, known=key in self._peers):
                self._sockets[index].send(reply, datagram.origin)
        self._counts.lag_s = max(self._counts.lag_s, lag_s)
        return in_time and count < RECEIVE_BATCH

    def _drop(self, key: PeerKey) -> None:
        """Give up a peer on which our own code failed: a bug there must not reach its neighbours."""
        _log.exception("peer dropped", peer=str(key[1]), reason=Reason.INTERNAL_10)
        if (peer := self._peers.pop(key, None)) is not None:
            self._timers.forget(key)
            self._leave_place(peer)
        self._note_if_empty()

    # --- letting in ----------------------------------------------------------------------------------

    def _admit(self, now: float, *, drained: bool) -> None:
        """Begin handshakes for as long as this turn lasts: one at least if all peers are served."""
        if drained or now - self._admitted_at > ADMISSION_PAUSE_MAX_S:
            until = now + TURN_BUDGET_S
            while (entrant := self._doorway.enter(now, self._place_of)) is not None:
                self._admitted_at = now
                self._begin(entrant, now)
                if not drained or monotonic() > until:
                    break
        if self._doorway.waiting and self._admitting is None:
            self._admitting = self._loop.call_soon(self._admit_more)

    def _admit_more(self) -> None:
        """Those who still wait: after whatever has come meanwhile for the peers that are in."""
        self._admitting = None
        now = monotonic()
        drained = True
        for index in range(len(self._sockets)):
            drained &= self._read(index, now)
        self._admit(now, drained=drained)

    def _place_of(self, key: PeerKey) -> Place | None:
        peer = self._peers.get(key)
        return None if peer is None else peer.place

    def _begin(self, entrant: Entrant, now: float) -> None:
        key, proven, place, followers = entrant
        if (old := self._peers.get(key)) is not None:
            if not old.established:
                self._counts.handshakes["replaced", ""] += 1
            old.place = None
            old.abandon(now)
        try:
            association = Association.accept(proven, self._verify_path, now, chains=self._chains)
            self._counts.hellos["resumed" if association.resumed else "proven"] += 1
            peer = Peer(key[1], association, self._new_coap, self._new_session, lambda p: self._wake(key, p))
            peer.place = place
            self._peers[key] = peer
            peer.resume(now)
            for datagram in followers:
                peer.receive_datagram(datagram, now)
        except Exception:
            self._drop(key)
            self._doorway.leave(place)
            return
        self._settle(key, peer)

    def _leave_place(self, peer: Peer) -> None:
        if peer.place is not None:
            self._doorway.leave(peer.place)
            peer.place = None

    # --- after an event -----------------------------------------------------------------------------

    def _wake(self, key: PeerKey, peer: Peer) -> None:
        if self._peers.get(key) is peer:
            try:
                peer.resume(monotonic())
            except Exception:
                self._drop(key)
                return
            self._settle(key, peer)

    def _settle(self, key: PeerKey, peer: Peer) -> None:
        """Send what the peer has to send, forget it if it has ended, re-arm its timer otherwise."""
        try:
            self._send_and_arm(key, peer)
        except Exception:
            self._drop(key)

    def _send_and_arm(self, key: PeerKey, peer: Peer) -> None:
        sock = self._sockets[key[0]]
        datagrams = peer.take_datagrams()
        for payload in datagrams:
            sock.send(payload, key[1])
        refused = peer.closed_cause is not None and peer.closed_cause.cause is CloseCause.ALERT_SENT
        if peer.place is not None and peer.place.shaking_hands and (peer.established or peer.closed):
            self._doorway.handshake_ended(peer.place, issuing_ca=peer.issuing_ca, refused=refused)
        if peer.closed:
            if self._peers.get(key) is peer:
                del self._peers[key]
                self._timers.forget(key)
                self._leave_place(peer)
                if peer.closed_cause is not None and peer.closed_cause.cause is CloseCause.CLOSED_HERE:
                    self._farewells.keep(key, datagrams, monotonic())
                if (failure := peer.handshake_failure) is not None:
                    self._counts.handshakes[failure] += 1
                    if refused and peer.closed_cause is not None:
                        self._handshake_refused(key[1], peer.closed_cause)
                self._note_if_empty()
            return
        deadline = peer.get_timer(monotonic())
        if deadline is not None and self._timers.ask(key, deadline):
            self._arm()

    def _arm(self) -> None:
        due = self._timers.earliest
        if due is not None and (self._timer is None or due < self._timer[0]):
            if self._timer is not None:
                self._timer[1].cancel()
            self._timer = (due, self._loop.call_at(due, self._timers_due))

    def _timers_due(self) -> None:
        self._timer = None
        began = monotonic()
        now = began + TIMER_SLACK_S
        while monotonic() - began < TURN_BUDGET_S and (key := self._timers.pop_due(now)) is not None:
            peer = self._peers[key]
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
