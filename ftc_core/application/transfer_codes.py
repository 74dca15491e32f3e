"""The codes of transfers that are offered to whoever has one.

A code is `<transfer ID>-<secret>`: the ID finds the transfer, the secret (26 characters of base32, 130 random
bits) lets its bearer accept. What is stored is the keyed hash of the whole code, as of API keys. Codes are
told on paper and by phone, so case and white space around one do not matter.
"""

from __future__ import annotations

import re
import secrets
import string
from collections import OrderedDict
from datetime import datetime, timedelta

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CODE_FAILURES_MAX, CODE_FAILURES_WINDOW_S

__all__ = ["CodeFailures", "format_code", "new_code_secret", "read_code"]

SECRET_CHARS = 26
ALPHABET = string.ascii_uppercase + "234567"
"""Of base32 (RFC 4648 §6)."""
_CODE = re.compile(r"([0-9a-f]{32})-([A-Z2-7]{26})")
_WINDOW = timedelta(seconds=CODE_FAILURES_WINDOW_S)


def new_code_secret() -> str:
    """130 random bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_CHARS))


def format_code(transfer_id: str, secret: str) -> str:
    """The whole code, as its bearer presents it."""
    return f"{transfer_id}-{secret}"


def read_code(presented: str) -> tuple[str, str]:
    """The transfer's ID in a code, and the code as it was made. Raises FtcError TRANSFER_CODE_INVALID."""
    transfer_id, _, secret = presented.strip().partition("-")
    code = format_code(transfer_id.lower(), secret.upper())
    if _CODE.fullmatch(code) is None:
        raise FtcError(Reason.TRANSFER_CODE_INVALID)
    return transfer_id.lower(), code


class CodeFailures:
    """Who has presented wrong codes lately. One for each process of the API; for one event loop.

    It holds no more accounts than have failed within CODE_FAILURES_WINDOW_S.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[datetime]] = OrderedDict()

    def check(self, account_id: str, now: datetime) -> None:
        """Raises FtcError TRANSFER_CODE_LIMIT_REACHED if the account must wait before its next code."""
        recent = self._recent(account_id, now)
        if len(recent) >= CODE_FAILURES_MAX:
            wait_s = (recent[0] + _WINDOW - now).total_seconds()
            raise FtcError(Reason.TRANSFER_CODE_LIMIT_REACHED, retry_after_s=wait_s)

    def note(self, account_id: str, now: datetime) -> None:
        """The account has just presented a wrong code."""
        self._failures[account_id] = [*self._recent(account_id, now), now]
        self._failures.move_to_end(account_id)
        while next(iter(self._failures.values()))[-1] <= now - _WINDOW:  # ends at the one just noted
            self._failures.popitem(last=False)

    def __len__(self) -> int:
        """How many accounts it holds."""
        return len(self._failures)

    def _recent(self, account_id: str, now: datetime) -> list[datetime]:
        return [at for at in self._failures.get(account_id, ()) if at > now - _WINDOW]
