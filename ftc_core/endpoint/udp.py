"""UDP sockets as the endpoints need them: many workers on one port, and replies from the right address.

A socket bound to a wildcard address must answer from the address that it was spoken to, or a multi-homed
host's replies are dropped by the peer. So the destination of each datagram is read from its control message
(IP_PKTINFO, RFC 3542 §6 IPV6_PKTINFO) and handed back with the reply.

DTLS cuts its flights to fit the path. For a path that is narrower still, the kernel is told not to forbid
fragments (Linux sets DF on UDP by default): a router may cut what it would otherwise drop without a word.

The kernel notes when each datagram came (SO_TIMESTAMPNS, socket(7)), so that a process which fell behind
knows how far, and what is no longer worth an answer.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from time import monotonic, time
from typing import NamedTuple

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DATAGRAM_MAX_BYTES

__all__ = ["Datagram", "Origin", "UdpSocket", "bind_group", "origin_at"]

Address = tuple[str, int] | tuple[str, int, int, int]

_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Linux's number; CPython 3.11 does not name it
_IP_MTU_DISCOVER = getattr(socket, "IP_MTU_DISCOVER", 10)
_IPV6_MTU_DISCOVER = getattr(socket, "IPV6_MTU_DISCOVER", 23)
_PMTUDISC_DONT = 0  # ip(7), ipv6(7)
# Linux's numbers on 64-bit machines; CPython has no names for them.
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_TIMESPEC = struct.Struct("=qq")  # struct timespec: seconds, nanoseconds
_MEMINFO = struct.Struct("=9I")  # SK_MEMINFO_VARS of linux/sock_diag.h
_MEMINFO_DROPS = 8
_IN_PKTINFO = struct.Struct("=I4s4s")  # struct in_pktinfo: ifindex, spec_dst, addr
_IN6_PKTINFO = struct.Struct("=16sI")  # struct in6_pktinfo: addr, ifindex
_TIMESTAMP = (int(socket.SOL_SOCKET), _SO_TIMESTAMPNS)
_TRUNCATED = int(socket.MSG_TRUNC)  # as a flag of an enum, each test of it would cost more than a decoding
_CONTROL_BYTES = socket.CMSG_SPACE(_IN6_PKTINFO.size) + socket.CMSG_SPACE(_TIMESPEC.size)
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel, which may give less (net.core.rmem_max): a storm's first second fits."""


class Origin(NamedTuple):
    """Where a datagram came from and which of our addresses it was sent to; hashable, one per peer.

    `control` is the ancillary data that makes a reply leave from that address: (level, type, bytes).
    """

    remote: Address
    control: tuple[tuple[int, int, bytes], ...]

    @property
    def host(self) -> str:
        """The peer's address, an IPv4-mapped one in its IPv4 form."""
        return self.remote[0].removeprefix("::ffff:")

    @property
    def port(self) -> int:
        """The peer's UDP port."""
        return self.remote[1]

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Datagram(NamedTuple):
    """One received datagram. `received_at` is when the kernel got it, on the monotonic clock."""

    payload: bytes
    origin: Origin
    received_at: float


class UdpSocket:
    """A non-blocking UDP socket. Sending never queues: DTLS and CoAP retransmit what a full buffer drops."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
        with contextlib.suppress(OSError):  # where there are no timestamps, all that is read came just now
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._sock = sock
        self._overflowed = self._overflowed_before = 0
        self._overflowed_before = self._read_overflowed()
        self._buffer = bytearray(DATAGRAM_MAX_BYTES)
        self.received = 0
        self.sent = 0
        self.dropped_sends = 0
        self.truncated = 0

    def fileno(self) -> int:
        """The file descriptor, for `loop.add_reader`."""
        return self._sock.fileno()

    @property
    def local_port(self) -> int:
        """The UDP port that it is bound to."""
        port: int = self._sock.getsockname()[1]
        return port

    def close(self) -> None:
        """Close this process's handle; the supervisor keeps its own, so the kernel's group is unchanged."""
        self._sock.close()

    def receive(self, limit: int) -> Iterator[Datagram]:
        """Up to `limit` datagrams that are here now; oversized or truncated ones are counted and skipped."""
        # Into one buffer: a fresh one of the largest size for every small datagram costs more than the call.
        receive, buffer, view = self._sock.recvmsg_into, (self._buffer,), memoryview(self._buffer)
        now = monotonic()
        # The kernel stamps by the wall clock: if that is set while a datagram waits, its age is wrong.
        wall_clock_lead = time() - now
        for _ in range(limit):
            try:
                size, control, flags, remote = receive(buffer, _CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # A queued ICMP error (ECONNREFUSED and kin) concerns a datagram sent earlier: read on.
                continue
            if flags & _TRUNCATED:
                self.truncated += 1
                continue
            self.received += 1
            received_at = now
            ours: tuple[tuple[int, int, bytes], ...] = ()
            for message in control:
                if message[:2] == _TIMESTAMP:
                    seconds, nanoseconds = _TIMESPEC.unpack(message[2])
                    received_at = min(now, seconds + nanoseconds * 1e-9 - wall_clock_lead)
                else:
                    ours = (_reply_control(message),)  # there is one per datagram
            yield Datagram(bytes(view[:size]), Origin(remote, ours), received_at)

    @property
    def overflowed(self) -> int:
        """Datagrams that the kernel dropped since this object was made, because nobody read them in time."""
        return self._read_overflowed() - self._overflowed_before

    def _read_overflowed(self) -> int:
        with contextlib.suppress(OSError):  # closed, or a system that does not tell
            figures = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            if len(figures) == _MEMINFO.size:
                self._overflowed = int(_MEMINFO.unpack(figures)[_MEMINFO_DROPS])
        return self._overflowed

    def send(self, payload: bytes, origin: Origin) -> None:
        """Send one datagram to where `origin` came from, from the address it was sent to."""
        try:
            self._sock.sendmsg((payload,), origin.control, 0, origin.remote)
        except OSError:
            self.dropped_sends += 1
        else:
            self.sent += 1


@lru_cache(maxsize=256)  # one for each of our own addresses and interfaces
def _reply_control(message: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    level, kind, data = message
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        _, specific, _ = _IN_PKTINFO.unpack_from(data)
        # Interface 0 leaves the route to the kernel; spec_dst is the source address of the reply.
        data = _IN_PKTINFO.pack(0, specific, bytes(4))
    elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
        address, interface = _IN6_PKTINFO.unpack_from(data)
        # Only a link-local address needs its interface.
        data = _IN6_PKTINFO.pack(address, interface if address[:2] == b"\xfe\x80" else 0)
    return level, kind, data


def origin_at(remote: tuple[str, int], local: str) -> Origin:
    """The origin of datagrams that come from the IPv4 peer `remote` to our address `local`.

    For who speaks first: a socket bound to the wildcard address sends to it from `local`.
    """
    control = _IN_PKTINFO.pack(0, socket.inet_aton(local), bytes(4))
    return Origin(remote, ((socket.IPPROTO_IP, _IP_PKTINFO, control),))


def bind_group(host: str, port: int, members: int) -> list[socket.socket]:
    """`members` sockets on one address, among which the kernel spreads peers by their address and port.

    `port` 0 takes a free one, the same for all. Raises FtcError PORT_IN_USE if the port is taken, even by
    another group of this very user (SO_REUSEPORT alone would join it silently), and SETTING_INVALID for an
    address that is not ours.
    """
    sockets: list[socket.socket] = []
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        port = _probe(family, str(address[0]), port)
        sockets.extend(_bind(family, str(address[0]), port, reuse=True) for _ in range(members))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _bind_error(error, host, port) from None
    return sockets


def _probe(family: socket.AddressFamily, address: str, port: int) -> int:
    sock = _bind(family, address, port, reuse=False)
    bound: int = sock.getsockname()[1]
    sock.close()
    return bound


def _bind(family: socket.AddressFamily, address: str, port: int, *, reuse: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_error(error: OSError, host: str, port: int) -> FtcError:
    if error.errno == errno.EADDRINUSE:
        return FtcError(Reason.PORT_IN_USE, f"UDP port {port} on {host} is in use")
    return FtcError(Reason.SETTING_INVALID, f"cannot listen on {host}:{port}: {error.strerror or error}")
