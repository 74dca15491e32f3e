"""Where a server listens: `host:port`, `[v6 address]:port`, or `*:port` for all of IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["ANY_HOST", "ListenAddress", "is_host_name"]

ANY_HOST = "*"
"""All IPv4 and all IPv6 addresses, as two sockets: no mapped addresses, whatever the system's default is."""

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


def is_host_name(text: str) -> bool:
    """Whether `text` can be a DNS name (RFC 1123 §2.1; underscores as seen in container networks)."""
    return _HOST_NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One setting of where to listen. `port` 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `host:port`. Raises ValueError, saying what is wrong."""
        host, separator, port = text.strip().rpartition(":")
        if not separator:
            raise ValueError(f"{text!r} has no port; write host:port")
        if not (port.isascii() and port.isdigit()) or int(port) > 65_535:
            raise ValueError(f"{text!r}: the port is a number from 0 to 65535")
        return cls(_host(host, text), int(port))

    def bindings(self) -> tuple[tuple[str, int], ...]:
        """The (host, port) pairs to bind: one, or for `*` one per address family, IPv6 first."""
        if self.host == ANY_HOST:
            return (("::", self.port), ("0.0.0.0", self.port))  # noqa: S104 - what the setting asks for
        return ((self.host, self.port),)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host(host: str, text: str) -> str:
    if host == ANY_HOST or is_host_name(host):
        return host
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        if bracketed:
            return str(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        pass
    if not bracketed and ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, [::1]:5784")
    raise ValueError(f"{text!r}: {host!r} is no host; write an address, a name, or * for all")
