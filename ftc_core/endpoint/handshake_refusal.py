"""What is known of a device whose handshake we ended."""

from __future__ import annotations

from ftc_core.domain.denial import Refusal
from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.alert import alert_name
from ftc_core.dtls.events import Closed
from ftc_core.endpoint.udp import Origin
from ftc_core.errors import Reason

__all__ = ["refusal_of"]


def refusal_of(origin: Origin, closed: Closed) -> Refusal:
    """As the end of its association tells it, which was that we sent an alert.

    No device has proved yet that it has the key of its certificate: that comes after the verdict on the chain
    (RFC 5246 §7.4.8).
    """
    return Refusal(
        reason=closed.reason or Reason.HANDSHAKE_FAILED,
        address=str(origin),
        detail=closed.detail,
        alert="" if closed.alert is None else alert_name(closed.alert),
        fingerprint=fingerprint_of(closed.presented[0]) if closed.presented else None,
        chain=closed.presented,
    )
