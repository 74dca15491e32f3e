"""The fleet's side of the network: an address for each device, a few sockets for all of them.

On Linux the whole of 127.0.0.0/8 is this host, and a socket bound to the wildcard address may speak from any
of it (IP_PKTINFO). So every device has an IPv4 address of its own, tens of thousands share a socket, and no
limit on open files or ports is met. Each kind of device lives in prefixes of its own, as the devices of
another customer would.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from ftc_core.endpoint.udp import Origin, UdpSocket, origin_at
from ftc_storm.plan import DeviceKind, PlannedDevice

__all__ = ["DeviceAddress", "LoopbackNetwork"]

DeviceAddress = tuple[int, str]
"""Socket and IPv4 address."""

_SOCKETS = 32
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_KIND_PREFIXES = {kind: 16 + 16 * number for number, kind in enumerate(DeviceKind)}
_REBOUND_PREFIX = 128
_PER_PREFIX = 2**16
_SERVER_HOST = "127.0.0.1"


def _address(prefix: int, index: int) -> str:
    block, rest = divmod(index, _PER_PREFIX)
    return f"127.{prefix + block}.{rest >> 8}.{rest & 255}"


class LoopbackNetwork:
    """The sockets of a fleet whose servers listen on 127.0.0.1."""

    def __init__(self) -> None:
        self.sockets: list[UdpSocket] = []
        try:
            for _ in range(_SOCKETS):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.sockets.append(UdpSocket(sock))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
                sock.bind(("0.0.0.0", 0))  # noqa: S104 - see above: it speaks from 127.0.0.0/8
        except OSError:
            self.close()
            raise

    @staticmethod
    def home(device: PlannedDevice) -> DeviceAddress:
        """The address from which a device begins."""
        return device.index % _SOCKETS, _address(_KIND_PREFIXES[device.kind], device.index)

    @staticmethod
    def rebound(device: PlannedDevice) -> DeviceAddress:
        """The one that its NAT gives it later."""
        return (device.index + 1) % _SOCKETS, _address(_REBOUND_PREFIX, device.index)

    @staticmethod
    def key(address: DeviceAddress, server_port: int) -> tuple[int, Origin]:
        """Socket and origin of what passes between this address and that server."""
        return address[0], origin_at((_SERVER_HOST, server_port), address[1])

    def local_ports(self) -> Iterable[int]:
        """The ports of the sockets."""
        return (sock.local_port for sock in self.sockets)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()
