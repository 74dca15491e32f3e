"""Pages (AIP-158): sizes, and tokens that are good only for the query that they came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Protocol

from ftc_core.application.listing import PageRequest
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

__all__ = ["ListQuery", "Paginator"]

_ID_BYTES = 16
_MAC_BYTES = 16
_KEY_CONTEXT = b"ftc page token v1"
_ORDERS = frozenset({"", "id", "id asc"})


class ListQuery(Protocol):
    """The fields that every List request has."""

    page_size: int
    page_token: str
    filter: str
    order_by: str
    include_total_size: bool


class Paginator:
    """Reads list queries and makes page tokens.

    A token is the last row's ID and a MAC over it and the query, so that nobody can make one up, and one
    that is used with another collection or another caller's scope is refused. `secret` has 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, _KEY_CONTEXT, hashlib.sha256)

    def read(self, query: ListQuery, *, scope: str) -> PageRequest:
        """The page asked for. `scope` names collection and parent.

        Raises FtcError FIELD_INVALID for a negative size, a filter or an order that we do not serve;
        PAGE_TOKEN_INVALID for a token that does not belong to the query.
        """
        if query.page_size < 0:
            raise FtcError(Reason.FIELD_INVALID, "page_size is negative", field="page_size")
        if query.filter:
            raise FtcError(
                Reason.FIELD_INVALID, "filters are not supported by this method yet", field="filter"
            )
        if " ".join(query.order_by.split()) not in _ORDERS:
            raise FtcError(
                Reason.FIELD_INVALID, "this method supports no order but 'id' yet", field="order_by"
            )
        return PageRequest(
            after=self._after(query.page_token, scope) if query.page_token else None,
            size=min(query.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX),
            with_total=query.include_total_size,
        )

    def token(self, next_after: str | None, *, scope: str) -> str:
        """The token of the page that begins past the ID `next_after`; "" if there is none."""
        if next_after is None:
            return ""
        position = bytes.fromhex(next_after)
        return base64.urlsafe_b64encode(position + self._mac(position, scope)).rstrip(b"=").decode()

    def _after(self, token: str, scope: str) -> str:
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        position, mac = raw[:_ID_BYTES], raw[_ID_BYTES:]
        if not hmac.compare_digest(mac, self._mac(position, scope)):
            raise FtcError(Reason.PAGE_TOKEN_INVALID, field="page_token")
        return position.hex()

    def _mac(self, position: bytes, scope: str) -> bytes:
        return hmac.digest(self._key, position + scope.encode(), hashlib.sha256)[:_MAC_BYTES]
