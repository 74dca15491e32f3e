"""Where a client's accounts stand and go, and how it is told to trust our server.

A client of Izuma's family has its accounts at fixed numbers. Of any other, `Survey` takes what it said of
itself (Bootstrap-Discover, what it let us delete, Bootstrap-Read), and makes the `AccountLayout` that fits.
The reasons are in docs/decisions/0007-bootstrap-of-any-client.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from ftc_core.limits import BOOTSTRAP_CLEAR_MAX
from ftc_core.lwm2m.discovery import VERSION_1_1, Discovered, Version
from ftc_core.lwm2m.values import Path, Values

__all__ = ["AccountLayout", "Survey", "Trust", "pack_layout"]

_SECURITY, _SERVER = 0, 1
_PACK_INSTANCE = 2
"""Of the LwM2M account in a pack, if nothing says where the bootstrap account is: at 0 or 1, as a rule."""
_SHORT_SERVER_ID = 0


class Trust(Enum):
    """What resource 4 of the LwM2M account holds."""

    CA = auto()
    """Our server CA and nothing more: Izuma's family verifies the server's chain with it."""
    CA_WITH_USAGE = auto()
    """Our server CA, and resource 15 saying that it is one (LwM2M 1.1 and later)."""
    END_ENTITY = auto()
    """The server's own certificate, as LwM2M 1.0 has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLayout:
    """The instance numbers to write: /0/`lwm2m`, /1/`server`, /0/`bootstrap`; the defaults are Izuma's.

    `short_server_id` is one that the client has free, None if the usual one will do. `bootstrap_found`: the
    bootstrap account is known to stand there, complete.
    """

    lwm2m: int = 0
    server: int = 0
    bootstrap: int = 1
    bootstrap_found: bool = False
    short_server_id: int | None = None
    trust: Trust = Trust.CA


def pack_layout(bootstrap_accounts: Collection[int]) -> AccountLayout:
    """Where the LwM2M account of a pack goes: to a number that is not one of the `bootstrap_accounts`."""
    lwm2m = _lowest_free(bootstrap_accounts) if bootstrap_accounts else _PACK_INSTANCE
    return AccountLayout(lwm2m=lwm2m, trust=Trust.CA_WITH_USAGE)


class Survey:
    """One client's accounts, from its answer to Bootstrap-Discover on, which follows the Delete of /0.

    Take `to_delete` until it is None, telling each time how that went by `deleted`; then read /1 if
    `read_wanted`, telling by `has_read`; then there is a `layout`.
    """

    def __init__(self, discovered: Discovered, bootstrap: int, version: Version) -> None:
        self._bootstrap = bootstrap
        self._version = version
        self._security = dict(discovered.security)
        self._servers = dict(discovered.servers)
        left = [number for number in self._security if number != bootstrap]
        self._to_delete: deque[Path] = deque((_SECURITY, number) for number in left[:BOOTSTRAP_CLEAR_MAX])
        if set(self._servers) - {0}:  # /1/0 is going to be written anew
            self._to_delete.append((_SERVER,))

    @property
    def to_delete(self) -> Path | None:
        """What an earlier owner left behind, and is to be deleted next."""
        return self._to_delete[0] if self._to_delete else None

    def deleted(self, gone: bool) -> None:
        """The client answered the deletion of `to_delete`."""
        path = self._to_delete.popleft()
        if gone and path == (_SERVER,):
            self._servers.clear()
        elif gone:
            del self._security[path[1]]

    @property
    def read_wanted(self) -> bool:
        """Whether the client keeps servers whose Short Server IDs it did not say, and can be asked for."""
        return self._version >= VERSION_1_1 and self._keeps_servers and None in self._servers.values()

    def has_read(self, values: Values) -> None:
        """The client's answer to Bootstrap-Read of /1; nothing, if it refused."""
        for path, value in values.items():
            if path[0] == _SERVER and path[2] == _SHORT_SERVER_ID and isinstance(value, int):
                self._servers[path[1]] = value

    def layout(self, short_server_id: int) -> AccountLayout:
        """Where our accounts go, `short_server_id` being the one that they have if it is free."""
        ours, server = None, 0
        if self._keeps_servers:
            ours = _free_short_server_id(short_server_id, {*self._servers.values(), *self._security.values()})
            server = _lowest_free(self._servers)
        return AccountLayout(
            lwm2m=_lowest_free(self._security),
            server=server,
            bootstrap=self._bootstrap,
            bootstrap_found=True,
            short_server_id=ours,
            trust=Trust.CA_WITH_USAGE if self._version >= VERSION_1_1 else Trust.END_ENTITY,
        )

    @property
    def _keeps_servers(self) -> bool:
        """Whether accounts of others stay: the client did not let them be deleted."""
        return bool(set(self._security) - {self._bootstrap} or set(self._servers) - {0})


def _lowest_free(taken: Collection[int]) -> int:
    return next(number for number in count() if number not in taken)


def _free_short_server_id(wanted: int, taken: Collection[int | None]) -> int:
    """`wanted`, or the lowest of 1 to 65534 that is free (0 and 65535 are reserved, Appendix E.1)."""
    candidates: Iterable[int] = (wanted, *range(1, 0xFFFF))
    return next(number for number in candidates if number not in taken)
