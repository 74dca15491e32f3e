"""A stretch of network between a device and a server: a UDP relay that drops what its test wants dropped."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Direction", "Path", "relay"]

Direction = Literal["to server", "to client"]
Path = Callable[[Direction, int, bytes], bool]
"""Whether a datagram passes: its direction, its number in it (from 0), and itself."""

_READ_BYTES = 65_535


@contextmanager
def relay(server: tuple[str, int], path: Path) -> Iterator[tuple[str, int]]:
    """The address at which one device meets `server` over `path`."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", 0))
        far.connect(server)
        ended = threading.Event()
        carrier = threading.Thread(target=_carry, args=(near, far, path, ended))
        carrier.start()
        try:
            yield near.getsockname()
        finally:
            ended.set()
            carrier.join()


def _carry(near: socket.socket, far: socket.socket, path: Path, ended: threading.Event) -> None:
    device: tuple[str, int] | None = None
    numbers: dict[Direction, int] = {"to server": 0, "to client": 0}

    def passes(direction: Direction, datagram: bytes) -> bool:
        number = numbers[direction]
        numbers[direction] = number + 1
        return path(direction, number, datagram)

    while not ended.is_set():
        for sock in select.select([near, far], [], [], 0.02)[0]:
            if sock is near:
                datagram, device = near.recvfrom(_READ_BYTES)
                if passes("to server", datagram):
                    far.send(datagram)
            else:
                datagram = far.recv(_READ_BYTES)
                if device is not None and passes("to client", datagram):
                    near.sendto(datagram, device)
