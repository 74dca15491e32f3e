"""Why an exchange failed, in the words of the error catalogue."""

from __future__ import annotations

from collections.abc import Mapping

from ftc_core.coap.events import FailureCause
from ftc_core.errors import Reason

__all__ = ["reason_of"]

_REASONS: Mapping[FailureCause, Reason] = {
    FailureCause.TIMED_OUT: Reason.INTERNAL_9,
    FailureCause.RESET: Reason.INTERNAL_7,
    FailureCause.TRANSFER_BROKEN: Reason.INTERNAL_8,
}


def reason_of(cause: FailureCause) -> Reason:
    """The catalogue's reason for an exchange that got no answer."""
    return _REASONS[cause]
