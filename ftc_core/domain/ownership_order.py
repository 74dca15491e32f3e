"""Which change of ownership may follow which: one owner at a time, who alone gives away (PRODUCT §1, §4)."""

from __future__ import annotations

from ftc_core.domain.ledger import LedgerKind
from ftc_core.domain.ledger_disclosure import Committed, EntryContent, opened

__all__ = ["OwnershipOrder"]


class OwnershipOrder:
    """Follows the entries of one history as far as they are shown.

    Begins with a device that nobody has; with `known` False, with one of which nothing is known.
    """

    def __init__(self, *, known: bool = True) -> None:
        self._owned: bool | None = False if known else None
        self._owner: str | None = None
        self._device: str | None = None
        self._revision = 0

    def follow(self, content: EntryContent | bytes) -> str | None:
        """The next entry → why it cannot be, None if it can. A withheld one (bytes) can always be."""
        if isinstance(content, bytes):
            self._owned, self._owner, self._device = None, None, None
            return None
        impossible = self._judge(content)
        self._owned = content.kind is not LedgerKind.RELEASED
        self._owner, self._device = opened(content.account_id), opened(content.device_id)
        self._revision = max(self._revision, content.revision)
        return impossible

    def _judge(self, content: EntryContent) -> str | None:
        transferred = content.kind is LedgerKind.TRANSFERRED
        if transferred != (content.from_account_id is not None) or transferred != (
            content.transfer_id is not None
        ):
            return f"a {content.kind.value} entry with the fields of another kind"
        if content.revision <= self._revision:
            return f"its revision {content.revision} is not above those before it"
        if content.kind is LedgerKind.CLAIMED:
            return "claimed while somebody owns it" if self._owned else None
        if self._owned is False:
            return f"{content.kind.value} while nobody owns it"
        giver = content.from_account_id if transferred else content.account_id
        if _differ(self._owner, giver):
            return f"{content.kind.value} by an account that does not own it"
        if _differ(self._device, content.device_id):
            return "another device ID than the one before"
        return None


def _differ(known: str | None, shown: Committed | None) -> bool:
    value = opened(shown)
    return known is not None and value is not None and value != known
