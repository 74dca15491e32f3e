"""What a service manager is told: that the instance serves, and that it stops (sd_notify(3), systemd).

The protocol is one datagram to the socket that `NOTIFY_SOCKET` names, without an answer, and is stable:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html#Standalone%20Implementations
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog

__all__ = ["READY", "STOPPING", "ServiceManager"]

READY = "READY=1"
STOPPING = "STOPPING=1"

_VARIABLE = "NOTIFY_SOCKET"
_log = structlog.get_logger(__name__)


class ServiceManager:
    """The manager that started this process, as `environ` names it; without one, it is told nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get(_VARIABLE, "")

    def tell(self, *assignments: str) -> None:
        """Send them, in one message. That it cannot be sent is logged: the instance serves all the same."""
        if not self._address:
            return
        # A leading @ stands for Linux's abstract namespace, whose names begin with a NUL (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            _log.warning("service manager not told", socket=self._address, error=str(error))
