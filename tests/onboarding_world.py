"""A device's whole way from its first ClientHello to its registration, in one process and in simulated time.

Everything is the product's own but sockets, clocks and the group commit's thread: the device's clients, both
servers' sessions, use cases over a real store, DTLS with its cookie gate. What becomes of each datagram is
the test's choice (`Fate`).

OpenSSL alone looks at the real clock. A `World` therefore says how long its next step must really wait (only
where a handshake has to retransmit), and `together` lets many worlds wait side by side.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from types import MappingProxyType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from ftc_core.application.bootstrap import BootstrapService, ServerFacts
from ftc_core.application.commit import Answer
from ftc_core.application.context import new_id, utc_now
from ftc_core.application.registration import RegistrationService
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.drivers import BootstrapClientDriver, RegistrationClientDriver
from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.device.registration import OperationDone, OperationFailed, RegistrationClient
from ftc_core.domain.denial import Refusal
from ftc_core.domain.device import Device
from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.association import Association
from ftc_core.dtls.context import client_context, server_context
from ftc_core.dtls.cookie import CookieGate, Proven, Reply
from ftc_core.dtls.record import is_client_hello
from ftc_core.dtls.trust import PathVerifier, TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.endpoint.bootstrap_driver import BootstrapDriver
from ftc_core.endpoint.coap_layer import fitting_block_size
from ftc_core.endpoint.peer import Peer, Session, SessionFactory
from ftc_core.endpoint.registration_driver import RegistrationDriver
from ftc_core.endpoint.udp import Origin
from ftc_core.limits import COAP_BLOCK_SIZE
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_core.observability.counts import BootstrapCounts
from ftc_core.storage.commands import Submission
from ftc_core.storage.group_commit import GroupCommit
from tests.dtls_pair import SECRET
from tests.onboarding_site import Site
from tests.things import key_der

__all__ = ["Fate", "World", "together"]

Fate = Mapping[int, Sequence[float]]
"""What becomes of the datagram of each number, counted from 0 in the order of sending: the delays in seconds,
beyond the path's, after which a copy arrives. None of them: it is lost; no entry: it arrives once."""

HOST = "192.0.2.1"
BOOTSTRAP, LWM2M = "coaps://bootstrap.example:5784", "coaps://lwm2m.example:5684"


def together(worlds: Iterable[Iterator[float]]) -> None:
    """Run them all to their end; where each waits for the real clock, all wait at once."""
    order = itertools.count()
    waiting = [(0.0, next(order), world) for world in worlds]
    while waiting:
        ready_at, _, world = heapq.heappop(waiting)
        time.sleep(max(0.0, ready_at - time.monotonic()))
        pause = next(world, None)
        if pause is not None:
            heapq.heappush(waiting, (time.monotonic() + pause, next(order), world))


class _Server:
    """One server's edge: the rules of `endpoint.datagram`, without sockets."""

    def __init__(self, world: World, verify: PathVerifier, new_session: SessionFactory) -> None:
        self.peers: dict[int, Peer] = {}  # by the device's port
        self._world = world
        server = world.site.server
        self._gate = CookieGate(server_context([server.certificate], server.private_key), SECRET)
        self._verify = verify
        self._new_session = new_session

    def receive(self, port: int, datagram: bytes, now: float) -> list[bytes]:
        """Take in a datagram; the gate's replies to it."""
        peer = self.peers.get(port)
        if not is_client_hello(datagram) or (peer and peer.association.owns_client_hello(datagram)):
            if peer is not None:
                peer.receive_datagram(datagram, now)
            return []
        outcome = self._gate.receive(datagram, f"{HOST}|{port}".encode(), now)
        if isinstance(outcome, Reply):
            return list(outcome.datagrams)
        if isinstance(outcome, Proven):
            if peer is not None:
                peer.abandon(now)
            self.peers[port] = self._world.new_peer(
                port, Association.accept(outcome, self._verify, now), self._new_session
            )
        return []


class World:
    """One device, the two servers, and the datagrams under way between them.

    `one_way_s` is the delay of the path, `commit_s` what a commit takes; `block_size`, `answer_delay_s` and
    `model` as in `device.runner.DeviceRunner`. Message IDs of both sides begin at `first_message_id` on each
    association, like those of a device without entropy, and by default wrap around in each conversation. With
    `enrolls`, devices get their LwM2M certificates by EST.
    """

    def __init__(
        self,
        site: Site,
        *,
        fate: Fate = MappingProxyType({}),
        one_way_s: float = 0.02,
        commit_s: float = 0.005,
        block_size: int = COAP_BLOCK_SIZE,
        answer_delay_s: float = 0.0,
        model: ClientModel = IZUMA,
        first_message_id: int = 65_534,
        enrolls: bool = False,
    ) -> None:
        self.site = site
        self._enrolls = enrolls
        self.now = 1_000.0
        self.counts = BootstrapCounts()
        self.refusals: list[Refusal] = []
        self.full_queue: GroupCommit | None = None
        """Takes the commands instead while it is there, and refuses them."""
        self.datagrams = 0
        self.bootstrapped: Succeeded | BootstrapFailed | None = None
        self.registered: OperationDone | OperationFailed | None = None
        self.endpoint_name, self.credential = site.enrolled_device()
        self._fate = fate
        self._one_way_s = one_way_s
        self._commit_s = commit_s
        self._block_size = block_size
        self._answer_delay_s = answer_delay_s
        self._model = model
        self._first_message_id = first_message_id
        self._draw = random.Random(1)
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._servers = {
            urlsplit(BOOTSTRAP).hostname: self._bootstrap_server(),
            urlsplit(LWM2M).hostname: self._lwm2m_server(),
        }
        self._port = 40_000
        self._device: tuple[_Server, Peer] | None = None

    # --- what the device does ----------------------------------------------------------------------

    def onboard(self) -> Iterator[float]:
        """Bootstrap and register, once each; yields real seconds to wait."""
        yield from self.bootstrap()
        if isinstance(self.bootstrapped, Succeeded):
            yield from self.register()

    def bootstrap(self, *, same_port: bool = False, power_off_after_s: float = inf) -> Iterator[float]:
        """One attempt, from a new port or the last one; the device falls silent if its power goes off."""
        account = SecurityInstance(
            server_uri=BOOTSTRAP,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.credential.der,
            server_public_key=self.site.server_ca,
            secret_key=key_der(self.credential),
        )
        client = BootstrapClient(self.endpoint_name, account, model=self._model)
        ended: list[Succeeded | BootstrapFailed] = []

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            return BootstrapClientDriver(client, coap, ended.append, self._answer_delay_s, now)

        device = self._connect(account, new_session, same_port=same_port)
        off_at = self.now + power_off_after_s
        yield from self._until(lambda: bool(ended) or device.closed or self.now >= off_at)
        if self.now >= off_at:
            self._device = None
            return
        self.bootstrapped = ended[0] if ended else BootstrapFailed("", str(device.closed_cause), ())

    def register(self) -> Iterator[float]:
        """Close what is open and register with what the bootstrap gave."""
        assert isinstance(self.bootstrapped, Succeeded)
        self._hang_up()
        account = self.bootstrapped.outcome.lwm2m
        client = RegistrationClient(
            self.endpoint_name, self.site.account.id, lwm2m_version=self._model.version_text
        )
        ended: list[OperationDone | OperationFailed] = []

        def register(driver: RegistrationClientDriver) -> None:
            client.register()

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            driver = RegistrationClientDriver(client, coap, register, ended.append)
            driver.perform(now)
            return driver

        device = self._connect(account, new_session, same_port=False)
        yield from self._until(lambda: bool(ended) or device.closed)
        self.registered = ended[0] if ended else None

    def pass_time(self, seconds: float) -> Iterator[float]:
        """Let the world go on for a while."""
        over: list[bool] = []
        self._at(self.now + seconds, lambda: over.append(True))
        yield from self._until(lambda: bool(over))

    # --- what there is to see ----------------------------------------------------------------------

    def stored(self) -> Device:
        """The device's record, which must exist."""
        with self.site.store.view() as view:
            [device] = view.find_devices([fingerprint_of(self.credential.der)])
        assert device is not None
        return device

    def claims(self) -> int:
        """How often ownership of the device changed, by the events of the store."""
        return self.site.claims()[fingerprint_of(self.credential.der)]

    # --- the network and the clock -----------------------------------------------------------------

    def new_peer(
        self,
        port: int,
        association: Association,
        new_session: SessionFactory,
        *,
        block_size: int = COAP_BLOCK_SIZE,
        token_prefix: bytes = bytes(4),
    ) -> Peer:
        """One end of an association."""

        def new_coap(max_message_bytes: int) -> BlockwiseLayer:
            exchanges = ExchangeLayer(
                first_message_id=self._first_message_id, token_prefix=token_prefix, random=self._draw.random
            )
            return BlockwiseLayer(exchanges, block_size=fitting_block_size(max_message_bytes, block_size))

        peer = Peer(
            Origin((HOST, port), ()),
            association,
            new_coap,
            new_session,
            lambda woken: woken.resume(self.now),
        )
        peer.resume(self.now)
        return peer

    def _connect(self, account: SecurityInstance, new_session: SessionFactory, *, same_port: bool) -> Peer:
        key = load_der_private_key(account.secret_key or b"", password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        context = client_context([x509.load_der_x509_certificate(account.public_key or b"")], key)
        evaluator = TrustEvaluator(
            fixed_anchors([account.server_public_key or b""]),
            purpose=ExtendedKeyUsageOID.SERVER_AUTH,
            pin_leaf=True,
        )
        association = Association.connect(
            context, lambda chain: evaluator.evaluate(chain, utc_now()), self.now
        )
        self._port += not same_port
        peer = self.new_peer(
            self._port,
            association,
            new_session,
            block_size=self._block_size,
            token_prefix=b"" if self._model.izuma else bytes(4),
        )
        self._device = self._servers[urlsplit(account.server_uri).hostname], peer
        return peer

    def _hang_up(self) -> None:
        if self._device is not None:
            self._device[1].close(self.now)
            self._send()

    def _until(self, done: Callable[[], bool]) -> Iterator[float]:
        for _ in range(20_000):
            self._send()
            if done():
                return
            peers = [peer for peer in self._peers() if not peer.closed]
            timers = [(due, peer) for peer in peers if (due := peer.get_timer(self.now)) is not None]
            due, peer = min(timers, key=lambda timer: timer[0], default=(inf, None))
            if self._agenda and self._agenda[0][0] <= due:
                self.now, _, action = heapq.heappop(self._agenda)
                action()
                continue
            assert peer is not None, "nothing is under way and nothing is due"
            if not peer.established:
                yield due - self.now
            self.now = max(self.now, due)
            for peer in peers:
                peer.handle_timer(self.now)
        raise AssertionError("the conversation does not end")

    def _peers(self) -> list[Peer]:
        ours = [self._device[1]] if self._device else []
        return ours + [peer for server in self._servers.values() for peer in server.peers.values()]

    def _send(self) -> None:
        if self._device is not None:
            server, device = self._device
            port = device.origin.port
            for datagram in device.take_datagrams():
                self._carry(partial(self._arrive_at, server, port, datagram))
        for server in self._servers.values():
            for port, peer in server.peers.items():
                self._carry_all(server, port, peer.take_datagrams())

    def _arrive_at(self, server: _Server, port: int, datagram: bytes) -> None:
        self._carry_all(server, port, server.receive(port, datagram, self.now))

    def _carry_all(self, server: _Server, port: int, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self._carry(partial(self._arrive_at_device, server, port, datagram))

    def _arrive_at_device(self, server: _Server, port: int, datagram: bytes) -> None:
        """A connected socket takes only what comes from its server, on its port."""
        if self._device is not None:
            own_server, device = self._device
            if own_server is server and device.origin.port == port:
                device.receive_datagram(datagram, self.now)

    def _carry(self, arrive: Callable[[], None]) -> None:
        for delay in self._fate.get(self.datagrams, (0.0,)):
            self._at(self.now + self._one_way_s + delay, arrive)
        self.datagrams += 1

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), action))

    # --- the servers -------------------------------------------------------------------------------

    def _bootstrap_server(self) -> _Server:
        site = self.site
        facts = ServerFacts(
            lwm2m_uri=LWM2M,
            bootstrap_uri=BOOTSTRAP,
            server_ca=site.server_ca,
            lwm2m_certificate=site.server.certificate_der,
            valid_until=site.server.certificate.not_valid_after_utc,
            short_server_id=1,
            lifetime=3_600,
            binding="U",
        )
        service = BootstrapService(
            site.store,
            self._commit,
            site.issuer,
            facts,
            utc_now,
            new_id,
            self.counts,
            enrolls=self._enrolls,
        )

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            return BootstrapDriver(
                service, path, origin, coap, wake, self._clock, now, self.counts, refused=self.refusals.append
            )

        evaluator = TrustEvaluator(service.find_anchors, find_blocked=service.find_blocked)
        return _Server(self, lambda chain: evaluator.evaluate(chain, utc_now()), new_session)

    def _lwm2m_server(self) -> _Server:
        service = RegistrationService(self._commit, utc_now)

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            return RegistrationDriver(service, path, origin, coap, wake, self._clock, now)

        evaluator = TrustEvaluator(fixed_anchors([self.site.issuing_ca]))
        return _Server(self, lambda chain: evaluator.evaluate(chain, utc_now()), new_session)

    def _commit(self, submission: Submission, answer: Answer) -> None:
        """The group commit without its thread: written, and told after `commit_s`."""
        if self.full_queue is not None:
            self.full_queue.submit(submission, answer)
            return
        [outcome] = self.site.store.write([submission])
        self._at(self.now + self._commit_s, lambda: answer(outcome))

    def _clock(self) -> float:
        return self.now
