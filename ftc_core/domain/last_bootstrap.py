"""The last bootstrap of a device: what was asked of whom, when, and how it was answered.

It is kept beside the device's record, not in it: it is read by one person at a time, and written once for
each bootstrap, while the record is written by every registration update.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["BootstrapStep", "LastBootstrap"]


class BootstrapStep(msgspec.Struct, frozen=True):
    """One request and its answer, of either side ("Bootstrap-Request", "Bootstrap-Write /0/0", …).

    `ended_at` is when the answer came, or when it was given up; None if neither came to pass. `code` is the
    answer's, dotted ("2.04"), or "" if none came.
    """

    name: str
    started_at: datetime
    ended_at: datetime | None = None
    code: str = ""


class LastBootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """A bootstrap that ended after the claim was durable, well or not.

    `reason` and `error` say why it failed: the reason of the catalogue of errors, and its text, which names
    the step. Both are "" if it ended well.
    """

    steps: tuple[BootstrapStep, ...]
    ended_at: datetime
    reason: str = ""
    error: str = ""
    address: str = ""

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return not self.reason
