"""Blocks: certificates that are refused, whatever else speaks for them.

A block names one certificate by its fingerprint: a device's, or a CA's. The operator's holds everywhere, from
the handshake on. An account's holds for what is its own: its device, until it owns that no more, and whatever
a CA vouches for in this account. A blocked CA vouches for nothing, and neither does what lies beyond it on a
certificate path, since whoever trusts that trusts it through the blocked one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import takewhile

import msgspec

__all__ = ["Block", "BlockedKind", "unblocked_cas"]


class BlockedKind(StrEnum):
    """What the blocked certificate is."""

    DEVICE = "DEVICE"
    CERTIFICATE_AUTHORITY = "CERTIFICATE_AUTHORITY"


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate that is blocked by one party; both parties may block the same.

    `fingerprint` is SHA-256 over its DER, 32 bytes. `account_id` is the account that blocked it, None: the
    operator did. `blocked_by` is the caller's ID (of an API key, or the URI of a client certificate).
    """

    fingerprint: bytes
    kind: BlockedKind
    account_id: str | None
    note: str = ""
    blocked_by: str = ""
    blocked_at: datetime
    revision: int = 0

    @property
    def id(self) -> str:
        """What tells it from its party's others: the fingerprint, 64 hex characters."""
        return self.fingerprint.hex()


def unblocked_cas(issuing_cas: Sequence[bytes], blocked: Container[bytes]) -> tuple[bytes, ...]:
    """The `issuing_cas` (nearest to the leaf first) that still vouch: those before the first blocked one."""
    return tuple(takewhile(lambda fingerprint: fingerprint not in blocked, issuing_cas))
