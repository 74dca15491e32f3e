"""When a device tries again, and how long it waits."""

from __future__ import annotations

import pytest

from ftc_core.device.retry import Reaction, after_bootstrap, after_registration, asked_wait_s, backoff_s
from ftc_core.errors import CATALOGUE, Reason


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 10.0), (2, 20.0), (3, 40.0), (11, 10_240.0), (12, 14_400.0), (10_000_000, 14_400.0)],
)
def test_the_wait_doubles_up_to_four_hours(failures: int, seconds: float) -> None:
    assert backoff_s(failures, 0.0) == seconds


@pytest.mark.parametrize("failures", [1, 5, 20])
def test_jitter_is_ten_percent_either_way(failures: int) -> None:
    assert backoff_s(failures, -1.0) == pytest.approx(0.9 * backoff_s(failures, 0.0))
    assert backoff_s(failures, 1.0) == pytest.approx(1.1 * backoff_s(failures, 0.0))


@pytest.mark.parametrize(
    ("code", "max_age", "seconds"),
    [("5.03", 7, 7), ("5.03", 0, 0), ("5.03", None, 60), ("5.00", 7, 0), ("4.03", None, 0), ("", None, 0)],
)
def test_only_a_5_03_asks_for_a_wait_and_60_s_if_it_does_not_say(
    code: str, max_age: int | None, seconds: int
) -> None:
    assert asked_wait_s(code, max_age) == seconds


@pytest.mark.parametrize("code", ["4.02", "4.08", "4.12", "4.13", "4.15"])
def test_some_refusals_stop_a_device_for_good(code: str) -> None:
    assert after_bootstrap(code) is Reaction.STOP


@pytest.mark.parametrize("code", ["", "4.00", "4.01", "4.03", "4.04", "4.05", "4.06", "5.00", "5.03"])
def test_all_others_are_retried(code: str) -> None:
    assert after_bootstrap(code) is Reaction.RETRY


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        ("4.00", Reaction.BOOTSTRAP_AGAIN),
        ("4.03", Reaction.BOOTSTRAP_AGAIN),
        ("4.04", Reaction.RETRY),
        ("5.00", Reaction.RETRY),
        ("", Reaction.RETRY),
    ],
)
def test_a_refused_registration_may_mean_to_bootstrap_again(code: str, reaction: Reaction) -> None:
    assert after_registration(code) is reaction


@pytest.mark.parametrize(
    "reason",
    [
        Reason.CA_NOT_UPLOADED,
        Reason.ENROLLMENT_NOT_FOUND,
        Reason.CA_NOT_IN_ACCOUNT,
        Reason.ACCOUNT_SUSPENDED,
        Reason.DUPLICATE_ENDPOINT,
        Reason.QUOTA_REACHED,
        *(reason for reason in Reason if reason.name.startswith("INTERNAL_")),
    ],
)
def test_no_refusal_that_can_heal_stops_a_device(reason: Reason) -> None:
    assert after_bootstrap(CATALOGUE[reason].coap) is Reaction.RETRY
