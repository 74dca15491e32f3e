"""Denials: attempts to bootstrap that were refused, coalesced by device and cause.

A device that is refused tries again, for weeks if need be. What is kept of that is one record per device and
cause: when it was first and last seen, how often, and what was known of it the last time. A device is known
by the fingerprint of its certificate; one that presented none, by the address that it came from.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from ftc_core.domain.ordering import position, sortable_time
from ftc_core.errors import Reason
from ftc_core.limits import DENIAL_SILENCE_S

__all__ = [
    "Denial",
    "Refusal",
    "Sighting",
    "cause_key",
    "is_news",
    "position_among_all",
    "seen_again",
    "seen_position",
]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One refused attempt, as far as it got.

    `chain` is what the device presented, in DER, leaf first; `fingerprint` the leaf's SHA-256, None if it
    presented nothing. `alert` is the DTLS alert ("unknown_ca") that ended its handshake, "" if that was
    completed: then the device has the certificate's key, `proven`, and `issuing_cas` are the trusted CAs that
    vouch for it (`domain.claim`). `address` is host and port, `named_account_id` the request's `aid`.
    """

    reason: Reason
    address: str
    detail: str = ""
    alert: str = ""
    fingerprint: bytes | None = None
    chain: tuple[bytes, ...] = ()
    issuing_cas: tuple[bytes, ...] = ()
    endpoint_name: str = ""
    named_account_id: str | None = None
    proven: bool = False


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept for one party: an account, or the operator (`account_id` None).

    `issuer` is the certificate's issuer in RFC 4514 form, `issuer_key_id` the key identifier by which it
    names that one's key (RFC 5280 §4.2.1.1), empty if it has none. `trusted_certificate_id` is the account's
    CA that issued it, if it has one. The rest is as in the last `Refusal`; `count` is how many there were.
    Party and `id` together name a denial: one refusal that concerns several accounts has one ID in all.
    """

    id: str
    account_id: str | None = None
    reason: Reason
    detail: str = ""
    alert: str = ""
    fingerprint: bytes | None = None
    endpoint_name: str = ""
    common_name: str = ""
    issuer: str = ""
    issuer_key_id: bytes = b""
    trusted_certificate_id: str | None = None
    address: str
    proven: bool = False
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    revision: int = 0


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Refusals of one device for one cause within a moment, ready to be kept.

    `denial` is what is to be kept of them if nothing is yet. The rest tells whom they concern: the SHA-256
    fingerprints of the CAs that issued the certificate, trusted or not, and the device's `aid`.
    """

    denial: Denial
    issuing_cas: tuple[bytes, ...] = ()
    named_account_id: str | None = None


def cause_key(denial: Refusal | Denial) -> bytes:
    """32 bytes, the same for all refusals of one device for one cause."""
    host = denial.address.rpartition(":")[0]
    device = denial.fingerprint.hex() if denial.fingerprint is not None else host
    return hashlib.sha256(f"{device} {denial.reason} {denial.alert}".encode()).digest()


def seen_again(kept: Denial, newer: Denial) -> Denial:
    """`kept` with what `newer` adds to it. They may come out of order, from servers that do not wait."""
    latest = newer if newer.last_seen_at >= kept.last_seen_at else kept
    return msgspec.structs.replace(
        latest,
        id=kept.id,
        account_id=kept.account_id,
        trusted_certificate_id=newer.trusted_certificate_id,
        proven=kept.proven or newer.proven,
        first_seen_at=min(kept.first_seen_at, newer.first_seen_at),
        count=kept.count + newer.count,
    )


def is_news(kept: Denial | None, newer: Denial) -> bool:
    """Whether watchers are told: the first time, and when a device is back after DENIAL_SILENCE_S."""
    if kept is None:
        return True
    return newer.first_seen_at - kept.last_seen_at >= timedelta(seconds=DENIAL_SILENCE_S)


def position_among_all(denial: Denial) -> str:
    """Where it stands in an order by last_seen_at of all parties' (`ordering`); the operator's come first."""
    party = bytes.fromhex(denial.account_id or "0" * len(denial.id))
    return position(sortable_time(denial.last_seen_at) + party, denial.id)


def seen_position(denial: Denial) -> str:
    """Where it stands in an order by last_seen_at (`ordering`)."""
    return position(sortable_time(denial.last_seen_at), denial.id)
