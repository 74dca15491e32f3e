"""Codes of transfers: their form, and what too many wrong ones lead to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ftc_core.application.transfer_codes import CodeFailures, format_code, new_code_secret, read_code
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CODE_FAILURES_MAX, CODE_FAILURES_WINDOW_S

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WINDOW = timedelta(seconds=CODE_FAILURES_WINDOW_S)
TRANSFER = "0123456789abcdef" * 2
SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_a_code_is_transfer_and_130_random_bits() -> None:
    secrets = {new_code_secret() for _ in range(100)}

    assert len(secrets) == 100
    for secret in secrets:
        code = format_code(TRANSFER, secret)
        assert len(code) == 32 + 1 + 26
        assert read_code(code) == (TRANSFER, code)


@pytest.mark.parametrize("presented", [f" {TRANSFER.upper()}-{SECRET.lower()}\n", f"{TRANSFER}-{SECRET}"])
def test_case_and_space_around_do_not_matter(presented: str) -> None:
    assert read_code(presented) == (TRANSFER, f"{TRANSFER}-{SECRET}")


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "-",
        TRANSFER,
        SECRET,
        f"{TRANSFER}{SECRET}",
        f"{TRANSFER}-{SECRET}A",
        f"{TRANSFER}-{SECRET[:-1]}1",
        f"{TRANSFER[:-1]}-{SECRET}",
        f"{TRANSFER}-{SECRET[:-1]}ß",
        f"{TRANSFER[:-1]}g-{SECRET}",
    ],
)
def test_what_is_no_code_is_refused_like_a_wrong_one(presented: str) -> None:
    with pytest.raises(FtcError) as caught:
        read_code(presented)

    assert (caught.value.reason, caught.value.field) == (Reason.TRANSFER_CODE_INVALID, "")


def blocked(failures: CodeFailures, account: str, now: datetime) -> float | None:
    """For how many seconds the account must wait; None if it need not."""
    try:
        failures.check(account, now)
    except FtcError as error:
        assert error.reason is Reason.TRANSFER_CODE_LIMIT_REACHED
        assert error.retry_after_s is not None
        return error.retry_after_s
    return None


def test_after_the_most_wrong_codes_the_account_waits_until_the_first_is_forgiven() -> None:
    failures = CodeFailures()
    for number in range(CODE_FAILURES_MAX):
        assert blocked(failures, "a", NOW + number * SECOND) is None
        failures.note("a", NOW + number * SECOND)

    now = NOW + CODE_FAILURES_MAX * SECOND
    assert blocked(failures, "a", now) == (NOW + WINDOW - now).total_seconds()
    assert blocked(failures, "b", now) is None
    assert blocked(failures, "a", NOW + WINDOW) is None
    failures.note("a", NOW + WINDOW)
    assert blocked(failures, "a", NOW + WINDOW) == 1.0, "until the second of them is forgiven, too"


def test_accounts_are_forgotten_with_their_failures() -> None:
    failures = CodeFailures()
    for number in range(1_000):
        failures.note(f"account {number}", NOW + number * SECOND)

    assert len(failures) == CODE_FAILURES_WINDOW_S
