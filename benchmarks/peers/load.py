"""The load: devices on our own DTLS and CoAP client core, the same code against every server.

A device opens a socket, makes the full handshake (one suite, AES-128-GCM, which all servers speak), says what
its `Conversation` is, and leaves with close_notify. In a closed loop so many are under way at a time; in an
open loop they come when it is their turn, however the server fares.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Protocol

from aiocoap.numbers.codes import Code
from OpenSSL import SSL

from benchmarks.peers.devices import Device
from benchmarks.peers.servers import Server
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import Event, ExchangeFailed, ResponseReceived
from ftc_core.credentials.pki import private_key_der
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.connection import DeviceConnection
from ftc_core.device.drivers import BootstrapClientDriver
from ftc_core.device.model import IZUMA
from ftc_core.device.opening import coap_factory, server_verifier
from ftc_core.dtls.association import Association, Closed
from ftc_core.dtls.context import client_context
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.peer import Session, SessionFactory
from ftc_core.endpoint.udp import Origin
from ftc_core.limits import DATAGRAM_MAX_BYTES
from ftc_core.lwm2m.messages import dotted, request
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode

__all__ = ["Bootstrap", "Conversation", "Load", "one_request", "silence", "unproven"]

_SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256"
_OP_LEGACY_SERVER_CONNECT = 1 << 2
"""SSL_OP_LEGACY_SERVER_CONNECT of openssl/ssl.h: to talk to a server that does not know RFC 5746, as
Californium 2 does not. There is no renegotiation here to be attacked."""

_PATIENCE_S = 5.0
_numbers = itertools.count()


def _next_address() -> str:
    """One of 127.1.0.0/16 and up, all of which is this host on Linux: no device comes from where another was.

    libcoap keeps an association for a while whose device has left, and takes the next one there for it.
    """
    block, rest = divmod(next(_numbers), 2**16)
    return f"127.{1 + block % 254}.{rest >> 8}.{rest & 255}"


class Conversation(Protocol):
    """What a device says once its handshake is complete; `ended` is told what came of it, once."""

    def __call__(self, device: Device, server: Server, ended: Callable[[str], None]) -> SessionFactory:
        """The session of this device at this server."""
        ...


class _OneRequest:
    def __init__(self, coap: BlockwiseLayer, ended: Callable[[str], None], now: float) -> None:
        self._ended = ended
        self.finished = False
        coap.send_request(request(Code.GET, ()), now)

    def handle_event(self, event: Event, now: float) -> None:
        match event:
            case ResponseReceived(message=message):
                self._ended(dotted(message))
                self.finished = True
            case ExchangeFailed(cause=cause):
                self._ended(cause)
                self.finished = True
            case _:
                pass

    def get_timer(self) -> None:
        """None but the exchange's."""

    def handle_timer(self, now: float) -> None:
        """Nothing to do."""

    def association_closed(self, now: float) -> None:
        """The load sees that by itself."""


class _Silence:
    finished = False

    def __init__(self, ended: Callable[[str], None]) -> None:
        ended("established")

    def handle_event(self, event: Event, now: float) -> None:
        """Let the server speak."""

    def get_timer(self) -> None:
        """It waits for ever."""

    def handle_timer(self, now: float) -> None:
        """Nothing to do."""

    def association_closed(self, now: float) -> None:
        """The load sees that by itself."""


def one_request(device: Device, server: Server, ended: Callable[[str], None]) -> SessionFactory:
    """`GET /`: the other servers have something there; ours refuses it (4.04), without looking further."""

    def new_session(
        path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        return _OneRequest(coap, ended, now)

    return new_session


def silence(device: Device, server: Server, ended: Callable[[str], None]) -> SessionFactory:
    """The handshake alone, and the association stays."""

    def new_session(
        path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        return _Silence(ended)

    return new_session


@dataclass(frozen=True)
class Bootstrap:
    """The whole bootstrap, to the acknowledged answer to Finish; `account_id` is that of an earlier one."""

    account_id: str = ""

    def __call__(self, device: Device, server: Server, ended: Callable[[str], None]) -> SessionFactory:
        """The session of this device at this server."""
        host, port = server.address
        query = f"?aid={self.account_id}" if self.account_id else ""
        account = SecurityInstance(
            server_uri=f"coaps://{host}:{port}{query}",
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=device.identity.certificate_der,
            server_public_key=server.ca_der,
            secret_key=private_key_der(device.identity.private_key),
        )
        client = BootstrapClient(device.endpoint_name, account)

        def concluded(outcome: Succeeded | BootstrapFailed) -> None:
            ended("2.04" if isinstance(outcome, Succeeded) else f"{outcome.code} {outcome.text}".strip())

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            return BootstrapClientDriver(client, coap, concluded, 0.0, now)

        return new_session


@dataclass(frozen=True)
class _Visit:
    """One device at the server: its association, and what is to come of it."""

    association: Association
    connection: DeviceConnection
    outcome: asyncio.Future[str]


class Load:
    """Devices that hold a conversation with one server; `good` is the outcome that counts.

    All share one DTLS context, as only keys and certificates differ. With `tickets` they ask for one, and
    `sessions` keeps what each device may resume when it comes again; `resumed` counts those that did. Whoever
    waits for all raises RuntimeError at the first outcome that is not good.
    """

    def __init__(
        self, server: Server, conversation: Conversation, good: str, first: Device, *, tickets: bool = False
    ) -> None:
        self.server = server
        self.sessions: dict[str, SSL.Session] = {}
        self.resumed = 0
        self._conversation = conversation
        self._good = good
        self._tickets = tickets
        own = first.identity
        self._context = client_context([own.certificate], own.private_key, suites=[_SUITE], tickets=tickets)
        self._context.set_options(_OP_LEGACY_SERVER_CONNECT)
        self._verify_path = server_verifier(server.ca_der)
        self._new_coap = coap_factory(IZUMA)

    async def closed_loop(self, devices: Sequence[Device], concurrency: int) -> float:
        """All `devices`, `concurrency` at a time; the seconds that they took."""
        started = time.perf_counter()
        await self._all(devices, concurrency, DeviceConnection.close)
        return time.perf_counter() - started

    async def hold(self, devices: Sequence[Device], concurrency: int) -> list[DeviceConnection]:
        """The same, but all associations stay open; the caller closes them."""
        held: list[DeviceConnection] = []
        await self._all(devices, concurrency, held.append)
        return held

    async def open_loop(self, devices: Sequence[Device], rate_per_s: float) -> list[float]:
        """One of `devices` after the other at this rate, until all have come.

        Gives when each was done, in seconds from the start, that had a good outcome by then.
        """
        started = time.perf_counter()
        done: list[float] = []
        visits: list[_Visit] = []

        def concluded(visit: _Visit, outcome: asyncio.Future[str]) -> None:
            if outcome.result() == self._good:
                done.append(time.perf_counter() - started)
            visit.connection.close()

        for index, device in enumerate(devices):
            await asyncio.sleep(index / rate_per_s - (time.perf_counter() - started))
            visit = self._open(device)
            visit.outcome.add_done_callback(partial(concluded, visit))
            visits.append(visit)
        good = list(done)
        for visit in visits:
            visit.connection.close()
        return good

    async def _all(
        self, devices: Sequence[Device], concurrency: int, leave: Callable[[DeviceConnection], None]
    ) -> None:
        async def one_after_the_other(waiting: Iterator[Device]) -> None:
            for device in waiting:
                visit = self._open(device)
                try:
                    result = await visit.outcome
                    self.resumed += visit.association.resumed
                    if self._tickets and (session := visit.association.session) is not None:
                        self.sessions[device.endpoint_name] = session
                finally:
                    leave(visit.connection)
                if result != self._good:
                    raise RuntimeError(f"{self.server.name}: {device.endpoint_name}: {result}")

        waiting = iter(devices)
        await asyncio.gather(*(one_after_the_other(waiting) for _ in range(concurrency)))

    def _open(self, device: Device) -> _Visit:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def ended(result: str) -> None:
            if not outcome.done():
                outcome.set_result(result)

        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((_next_address(), 0))
        sock.connect(self.server.address)
        association = Association.connect(
            self._context,
            self._verify_path,
            monotonic(),
            session=self.sessions.get(device.endpoint_name),
            identity=(device.identity.certificate, device.identity.private_key),
        )
        new_session = self._conversation(device, self.server, ended)
        connection = DeviceConnection(sock, association, self._new_coap, new_session)

        def closed(how: asyncio.Task[Closed]) -> None:
            if not how.cancelled():
                ended(f"closed: {how.result().cause} {how.result().detail}".strip())

        asyncio.create_task(connection.ended()).add_done_callback(closed)
        return _Visit(association, connection, outcome)


async def unproven(server: Server, devices: Sequence[Device]) -> int:
    """Each of `devices` sends its first ClientHello, and no more; how many were answered, with a cookie."""
    first = devices[0].identity
    context = client_context([first.certificate], first.private_key, suites=[_SUITE])
    verify_path = server_verifier(server.ca_der)
    loop = asyncio.get_running_loop()
    answered = 0
    for _ in devices:
        association = Association.connect(context, verify_path, monotonic())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((_next_address(), 0))
            sock.connect(server.address)
            for datagram in association.datagrams_to_send():
                sock.send(datagram)
            answered += bool(await asyncio.wait_for(loop.sock_recv(sock, DATAGRAM_MAX_BYTES), _PATIENCE_S))
    return answered
