"""What of bulk work is tried again, and when: pure rules."""

from __future__ import annotations

from typing import NamedTuple

from ftc_core.errors import Reason
from ftc_core.limits import BULK_INPUT_PATIENCE_S, BULK_RETRY_MAX_S, BULK_RETRY_S

__all__ = ["PASSING", "BulkRetry"]

PASSING = frozenset(
    {
        Reason.INTERNAL_1,
        Reason.INTERNAL_2,
        Reason.INTERNAL_3,
        Reason.OVERLOADED,
        Reason.ETAG_MISMATCH,  # a commit that was told lost has taken effect: go on from where the job stands
    }
)
"""Why work may fail that can succeed later. All else ends a job."""


class BulkRetry(NamedTuple):
    """After how many seconds to try again: `first_s`, then twice as many each time, at most `most_s`.

    A failing store is waited for as long as it takes, for nothing else can go on without it either; an input
    that cannot be read for `input_patience_s` seconds.
    """

    first_s: float = BULK_RETRY_S
    most_s: float = BULK_RETRY_MAX_S
    input_patience_s: float = BULK_INPUT_PATIENCE_S

    def after(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row, 1 at least."""
        return min(self.first_s * 2.0 ** min(failures - 1, 60), self.most_s)
