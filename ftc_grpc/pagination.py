"""Pages (AIP-158): sizes, and tokens that are good only for the query that they came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol

from ftc_core.application.listing import PageRequest
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

__all__ = ["ListQuery", "Paginator"]

_MAC_BYTES = 16
_KEY_CONTEXT = b"ftc page token v1"
_ALIASES = {"created_at": "id"}
"""IDs rise with the time of creation (UUIDv7)."""
_DIRECTIONS = {"asc": False, "desc": True}


class ListQuery(Protocol):
    """The fields that every List request has."""

    page_size: int
    page_token: str
    filter: str
    order_by: str
    include_total_size: bool


class Paginator:
    """Reads list queries and makes page tokens.

    A token is the last row's position and a MAC over it and the query, so that nobody can make one up, and
    one that is used with another collection or another caller's scope is refused. `secret` has 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _KEY_CONTEXT, hashlib.sha256)

    def read(
        self, query: ListQuery, *, scope: str, orders: Sequence[str] = ("id",), descending: bool = False
    ) -> PageRequest:
        """The page asked for. `scope` names collection and parent, `orders` what it may be ordered by.

        The first of them is the default, in reverse if `descending`. Raises FtcError FIELD_INVALID for a
        negative size or another order; PAGE_TOKEN_INVALID for a token that does not belong to the query.
        """
        if query.page_size < 0:
            raise FtcError(Reason.FIELD_INVALID, "page_size is negative", field="page_size")
        order, reverse = _order(query.order_by)
        if order not in ("", *orders):
            raise _not_served(query.order_by, orders)
        return PageRequest(
            order=order or orders[0],
            descending=reverse if order else descending,
            after=self._after(query.page_token, _bound(query, scope)) if query.page_token else None,
            size=min(query.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX),
            with_total=query.include_total_size,
            filter=query.filter,
        )

    def token(self, next_after: str | None, query: ListQuery, *, scope: str) -> str:
        """The token of the query's page that begins past the position `next_after`; "" if there is none."""
        if next_after is None:
            return ""
        position = bytes.fromhex(next_after)
        mac = self._mac(position, _bound(query, scope))
        return base64.urlsafe_b64encode(position + mac).rstrip(b"=").decode()

    def _after(self, token: str, scope: str) -> str:
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        position, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(position, scope)):
            raise FtcError(Reason.PAGE_TOKEN_INVALID, field="page_token")
        return position.hex()

    def _mac(self, position: bytes, scope: str) -> bytes:
        return hmac.digest(self._key, position + scope.encode(), hashlib.sha256)[:_MAC_BYTES]


def _bound(query: ListQuery, scope: str) -> str:
    """All that decides which rows come, and in which order; as a literal, so that no two run together."""
    order, descending = _order(query.order_by)
    return repr((scope, query.filter.strip(), order, descending))


def _order(order_by: str) -> tuple[str, bool]:
    """The field, "" for the default one, and whether it falls. Raises FtcError FIELD_INVALID."""
    words = order_by.split()
    name = words[0] if words else ""
    if len(words) > 2 or (len(words) == 2 and words[1] not in _DIRECTIONS):
        raise FtcError(
            Reason.FIELD_INVALID,
            f"order_by {order_by[:100]!r} is not a field, or a field and asc or desc",
            field="order_by",
        )
    return _ALIASES.get(name, name), len(words) == 2 and _DIRECTIONS[words[1]]


def _not_served(order_by: str, orders: Sequence[str]) -> FtcError:
    names = [*orders, *(alias for alias, name in _ALIASES.items() if name in orders)]
    return FtcError(
        Reason.FIELD_INVALID,
        f"order_by {order_by[:100]!r} has no index to serve it; there is, each also with desc:"
        f" {', '.join(names)}",
        field="order_by",
    )
