"""Whether a claim is put off instead of delayed: a pure rule, for where `overload_answer` is 5.03.

By default nobody who was let in is refused, for a widely used client stops for good at a 5.03. Fleets whose
clients take it for what it is (RFC 7252 §5.9.3.4) come back when they are told, and hold no connection until
then.
"""

from __future__ import annotations

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import COMMIT_QUEUE_RETRY_S, OVERLOAD_BACKLOG_S

__all__ = ["check_backlog"]


def check_backlog(backlog_s: float) -> None:
    """Raises FtcError OVERLOADED where a claim would wait for long; it says when to come again, in seconds.

    `backlog_s` is how long the claim has waited that is the next to be durable. Whoever comes now waits as
    long at least, and as long from now there is room, if no more come than can be served: so that is when to
    come again, but within `COMMIT_QUEUE_RETRY_S`, lest one hang of a disk keep devices away for its length.
    """
    if backlog_s >= OVERLOAD_BACKLOG_S:
        raise FtcError(Reason.OVERLOADED, retry_after_s=min(backlog_s, COMMIT_QUEUE_RETRY_S))
