"""When a claim is put off: the rule alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.application.overload import check_backlog
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import COMMIT_QUEUE_RETRY_S, OVERLOAD_BACKLOG_S


@given(st.floats(0.0, OVERLOAD_BACKLOG_S, exclude_max=True))
def test_a_short_wait_puts_nobody_off(backlog_s: float) -> None:
    check_backlog(backlog_s)


@pytest.mark.parametrize(
    ("backlog_s", "retry_after_s"),
    [
        (OVERLOAD_BACKLOG_S, OVERLOAD_BACKLOG_S),
        (7.5, 7.5),
        (COMMIT_QUEUE_RETRY_S, COMMIT_QUEUE_RETRY_S),
        (COMMIT_QUEUE_RETRY_S + 1, COMMIT_QUEUE_RETRY_S),
        (float("inf"), COMMIT_QUEUE_RETRY_S),
    ],
)
def test_a_long_wait_puts_off_for_as_long_within_a_minute(backlog_s: float, retry_after_s: float) -> None:
    with pytest.raises(FtcError) as refusal:
        check_backlog(backlog_s)
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.retry_after_s == retry_after_s
