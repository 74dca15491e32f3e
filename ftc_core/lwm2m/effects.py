"""What a session asks its edge to do with the CoAP exchanges of one association.

A session is driven by inputs and answers with effects, which the edge takes with `next_effect()` until it
returns None, and performs in that order. `exchange` is the number by which the exchange layer knows a
request that came in or that we sent; `label` stands for a request of ours that has no such number yet: the
edge sends it and tells the number by `request_sent(label, exchange)` before it feeds any other input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from aiocoap.message import Message

    from ftc_core.errors import FtcError

__all__ = ["Cancel", "Respond", "SendRequest"]


class Respond(msgspec.Struct, frozen=True):
    """Answer a request of the peer. `error` is set in a refusal: its reason is for log and metrics."""

    exchange: int
    message: Message
    error: FtcError | None = None


class SendRequest(msgspec.Struct, frozen=True):
    """Send a request, block-wise if it is large, and tell its number by `request_sent(label, exchange)`."""

    label: int
    message: Message


class Cancel(msgspec.Struct, frozen=True):
    """Forget an exchange of either direction: a request of ours with its further blocks, or the peer's."""

    exchange: int
