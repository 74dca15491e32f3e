"""One device's DTLS connection over a UDP socket: the edge of the simulated device.

The same `Peer` that the server keeps per device, seen from the other end.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

from ftc_core.dtls.association import Association, CloseCause, Closed
from ftc_core.endpoint.peer import CoapFactory, Peer, SessionFactory
from ftc_core.endpoint.udp import Origin
from ftc_core.limits import DATAGRAM_MAX_BYTES

__all__ = ["DeviceConnection"]


class DeviceConnection:
    """A connected UDP socket, one association over it, and one session over that.

    Open it with `open`, wait for the end with `ended`; `wake` sends what the session queued from outside.
    """

    def __init__(
        self,
        sock: socket.socket,
        association: Association,
        new_coap: CoapFactory,
        new_session: SessionFactory,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[Closed] = self._loop.create_future()
        origin = Origin(sock.getpeername(), ())
        self._peer = Peer(origin, association, new_coap, new_session, lambda _: self.wake())
        self._loop.add_reader(sock.fileno(), self._readable)
        self._settle()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        association: Association,
        new_coap: CoapFactory,
        new_session: SessionFactory,
    ) -> DeviceConnection:
        """Resolve `host`, connect a socket, begin the handshake. Raises OSError if there is no way to it."""
        loop = asyncio.get_running_loop()
        family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return cls(sock, association, new_coap, new_session)

    @property
    def local_port(self) -> int:
        """The UDP port that the device speaks from."""
        port: int = self._sock.getsockname()[1]
        return port

    async def ended(self) -> Closed:
        """Wait until the association has ended, and say how."""
        return await asyncio.shield(self._ended)

    def wake(self) -> None:
        """Send what the session wants to send now."""
        if not self._ended.done():
            self._peer.resume(monotonic())
            self._settle()

    def close(self) -> None:
        """End the association with close_notify."""
        if not self._ended.done():
            self._peer.close(monotonic())
            self._settle()
            self._end(Closed(CloseCause.CLOSED_HERE))

    def _readable(self) -> None:
        while not self._ended.done():
            try:
                payload = self._sock.recv(DATAGRAM_MAX_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # Nobody listens there just now (ICMP port unreachable): DTLS retransmits, as over any loss.
                break
            self._peer.receive_datagram(payload, monotonic())
            self._settle()

    def _due(self) -> None:
        self._timer = None
        self._peer.handle_timer(monotonic() + 0.002)
        self._settle()

    def _settle(self) -> None:
        for payload in self._peer.take_datagrams():
            try:
                self._sock.send(payload)
            except OSError:
                continue  # as lost as any datagram; its retransmission follows
        if self._peer.closed_cause is not None:
            self._end(self._peer.closed_cause)
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._peer.get_timer(monotonic())
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._due)

    def _end(self, cause: Closed) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended.done():
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._ended.set_result(cause)
