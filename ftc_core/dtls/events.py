"""What an association tells its caller."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ftc_core.dtls.trust import VerifiedPath
from ftc_core.errors import Reason

__all__ = ["ApplicationData", "CloseCause", "Closed", "Event", "HandshakeCompleted"]


class CloseCause(StrEnum):
    """How an association ended."""

    CLOSED_HERE = "CLOSED_HERE"
    CLOSE_NOTIFY = "CLOSE_NOTIFY"  # by the peer
    ALERT_SENT = "ALERT_SENT"
    ALERT_RECEIVED = "ALERT_RECEIVED"
    HANDSHAKE_TIMEOUT = "HANDSHAKE_TIMEOUT"
    HANDSHAKE_TOO_LARGE = "HANDSHAKE_TOO_LARGE"
    UNVERIFIED = "UNVERIFIED"  # the handshake ended without a verdict on the peer's certificate: a bug
    FAILED = "FAILED"  # OpenSSL gave up without an alert


class HandshakeCompleted(msgspec.Struct, frozen=True):
    """The peer is authenticated; `cipher` is OpenSSL's name of the suite."""

    path: VerifiedPath
    cipher: str


class ApplicationData(msgspec.Struct, frozen=True):
    """One decrypted record from the authenticated peer."""

    data: bytes


class Closed(msgspec.Struct, frozen=True):
    """The last event. `alert` is the fatal alert's number (RFC 5246 §7.2) if one was sent or received.

    Of a handshake that failed, `presented` is the peer's chain in DER, leaf first, if it came that far, and
    `reason` the catalogue's word if the chain was refused.
    """

    cause: CloseCause
    alert: int | None = None
    detail: str = ""
    reason: Reason | None = None
    presented: tuple[bytes, ...] = ()


Event = HandshakeCompleted | ApplicationData | Closed
