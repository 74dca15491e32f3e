"""What a CoAP layer tells its user: the values that `next_event` returns."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from aiocoap.message import Message

__all__ = [
    "Event",
    "ExchangeFailed",
    "FailureCause",
    "RequestReceived",
    "ResponseAcknowledged",
    "ResponseHandedOut",
    "ResponseLost",
    "ResponseReceived",
]


class FailureCause(StrEnum):
    """Why a request of ours has no response."""

    TIMED_OUT = "TIMED_OUT"
    """Retransmissions spent without an acknowledgement, or acknowledged and never answered."""
    RESET = "RESET"
    """The peer rejected the request with a Reset message."""
    TRANSFER_BROKEN = "TRANSFER_BROKEN"
    """The blocks of request or response do not fit together, or the response's body is too large."""


class RequestReceived(msgspec.Struct, frozen=True):
    """The peer asks; answer with `send_response(exchange, …)`. Delivered once, however often it came."""

    exchange: int
    message: Message


class ResponseReceived(msgspec.Struct, frozen=True):
    """The answer to the request that `send_request` numbered `exchange`: its end."""

    exchange: int
    message: Message


class ExchangeFailed(msgspec.Struct, frozen=True):
    """The request that `send_request` numbered `exchange` gets no answer: its end."""

    exchange: int
    cause: FailureCause


class ResponseAcknowledged(msgspec.Struct, frozen=True):
    """A separate response has arrived at the peer. Piggy-backed responses report nothing."""

    exchange: int


class ResponseLost(msgspec.Struct, frozen=True):
    """A separate response was reset by the peer, or never acknowledged."""

    exchange: int


class ResponseHandedOut(msgspec.Struct, frozen=True):
    """The peer asked for the last block of a response that went out by Block2, and was sent it."""

    exchange: int


Event = (
    RequestReceived
    | ResponseReceived
    | ExchangeFailed
    | ResponseAcknowledged
    | ResponseLost
    | ResponseHandedOut
)
