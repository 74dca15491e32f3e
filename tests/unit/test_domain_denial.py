"""Refusals on their way to the store: what is one, what is bounded, who goes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ftc_core.domain.denial import Denial, Refusal, cause_key, is_news, seen_again
from ftc_core.domain.denial_collector import DenialCollector
from ftc_core.errors import Reason

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def refusal(number: int = 1, **changes: Any) -> Refusal:
    fields: dict[str, Any] = {
        "reason": Reason.ENROLLMENT_NOT_FOUND,
        "address": "192.0.2.1:40000",
        "fingerprint": bytes([number]) * 32,
        "proven": True,
    }
    return Refusal(**(fields | changes))


def denial(**changes: Any) -> Denial:
    fields: dict[str, Any] = {
        "id": "0" * 32,
        "account_id": "a" * 32,
        "reason": Reason.ENROLLMENT_NOT_FOUND,
        "address": "192.0.2.1:40000",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "count": 1,
    }
    return Denial(**(fields | changes))


# --- one device, one cause ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"address": "[2001:db8::7]:1"}, True),
        ({"endpoint_name": "another"}, True),
        ({"reason": Reason.QUOTA_REACHED}, False),
        ({"alert": "unknown_ca"}, False),
        ({"number": 2}, False),
        ({"fingerprint": None}, False),
    ],
)
def test_device_and_cause_make_a_denial(changes: dict[str, Any], same: bool) -> None:
    assert (cause_key(refusal(**changes)) == cause_key(refusal())) is same


@pytest.mark.parametrize(
    ("address", "same"),
    [("192.0.2.1:50000", True), ("192.0.2.2:40000", False), ("[2001:db8::1]:40000", False)],
)
def test_device_without_certificate_is_known_by_its_host(address: str, same: bool) -> None:
    first, second = refusal(fingerprint=None), refusal(fingerprint=None, address=address)
    assert (cause_key(first) == cause_key(second)) is same


def test_retries_are_one_entry_that_tells_the_last_one() -> None:
    collector = DenialCollector()
    for at in range(3):
        assert collector.note(refusal(address=f"192.0.2.1:{at}"), NOW + at * SECOND)

    [entry] = collector.take(10)

    assert (entry.count, entry.first_at, entry.last_at) == (3, NOW, NOW + 2 * SECOND)
    assert entry.refusal.address == "192.0.2.1:2"
    assert len(collector) == 0
    assert collector.take(10) == []


# --- bounds ------------------------------------------------------------------------------------------


def test_strangers_have_half_of_the_room_at_most() -> None:
    collector = DenialCollector(limit=4)
    noted = [collector.note(refusal(number, proven=False), NOW) for number in range(1, 5)]
    assert noted == [True, True, False, False]
    assert [collector.note(refusal(number), NOW) for number in range(11, 14)] == [True, True, False]
    assert collector.note(refusal(1, proven=False), NOW)  # a retry needs no room
    assert len(collector) == 4


def test_proven_devices_are_taken_before_strangers_each_in_their_order() -> None:
    collector = DenialCollector()
    for number, proven in ((1, False), (2, True), (3, False), (4, True)):
        collector.note(refusal(number, proven=proven), NOW)

    taken = [[entry.refusal.fingerprint for entry in collector.take(3)] for _ in range(2)]

    assert taken == [[bytes([2]) * 32, bytes([4]) * 32, bytes([1]) * 32], [bytes([3]) * 32]]


# --- what is kept ------------------------------------------------------------------------------------


def test_counts_add_up_in_whatever_order_workers_report() -> None:
    kept = denial(revision=7, count=2, last_seen_at=NOW + 5 * SECOND, detail="the last")
    early = denial(id="1" * 32, first_seen_at=NOW - SECOND, count=3, detail="earlier", proven=True)

    merged = seen_again(kept, early)

    assert merged == denial(
        revision=7,
        count=5,
        first_seen_at=NOW - SECOND,
        last_seen_at=NOW + 5 * SECOND,
        detail="the last",
        proven=True,
    )


@pytest.mark.parametrize(("silence_s", "told"), [(3_599, False), (3_600, True)])
def test_device_that_is_back_after_an_hour_is_news(silence_s: int, told: bool) -> None:
    later = NOW + timedelta(seconds=silence_s)
    assert is_news(denial(), denial(first_seen_at=later, last_seen_at=later)) is told


def test_first_refusal_is_news() -> None:
    assert is_news(None, denial())
