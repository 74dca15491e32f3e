"""How long a bulk job rests between its batches."""

from __future__ import annotations

import pytest

from ftc_core.application.bulk_runner import rest_s
from ftc_core.limits import BULK_REST_MAX, BULK_REST_PER_CHANGE_S


def test_job_that_is_alone_never_rests() -> None:
    assert rest_s(0, batch_s=0.03) == 0


def test_few_changes_of_others_buy_a_little_rest_each() -> None:
    assert rest_s(2, batch_s=0.03) == 2 * BULK_REST_PER_CHANGE_S


@pytest.mark.parametrize("batch_s", [0.01, 0.3])
def test_many_changes_leave_the_job_its_share_of_the_time(batch_s: float) -> None:
    assert rest_s(1_000_000, batch_s) == batch_s * BULK_REST_MAX
