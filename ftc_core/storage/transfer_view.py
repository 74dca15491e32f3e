"""The part of the port's `View` that is about two-party transfers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ftc_core.domain.transfer import DeviceTransfer

__all__ = ["TransferView"]


class TransferView(Protocol):
    """As `View`, of which this is a part."""

    def get_transfer(self, account_id: str, transfer_id: str) -> DeviceTransfer | None:
        """The transfer that the account offers, is offered, or has accepted; None if it is not its to see."""
        ...

    def list_transfers(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[DeviceTransfer]:
        """As `list_accounts`, those that `get_transfer` gives."""
        ...

    def count_transfers(self, account_id: str) -> int:
        """How many those are; it takes a step for each."""
        ...

    def find_offers(self, fingerprints: Sequence[bytes]) -> list[str | None]:
        """The ID of the open transfer that each device is in, in order; one may have expired unswept."""
        ...
