"""What the device's sessions share: requests to their edge beside `lwm2m.effects`, and some words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftc_core.coap.events import FailureCause

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = ["UNANSWERED", "Ignore", "RespondSeparately"]

UNANSWERED = {
    FailureCause.TIMED_OUT: "the server did not answer",
    FailureCause.RESET: "the server reset the exchange",
    FailureCause.TRANSFER_BROKEN: "the server broke the block-wise transfer",
}
"""Why a request of the device has no response, in words."""


@dataclass(frozen=True, slots=True)
class RespondSeparately:
    """Acknowledge a request with an empty message, then answer it by a confirmable one (RFC 7252 §5.2.2).

    The edge tells the end of it by `response_acknowledged` or `response_lost`.
    """

    exchange: int
    message: Message


@dataclass(frozen=True, slots=True)
class Ignore:
    """Treat a request as lost: no acknowledgement, and a retransmission of it counts as new."""

    exchange: int
