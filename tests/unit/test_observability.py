"""Names of metrics, and how counts come to them and to the log."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from structlog.testing import capture_logs

from ftc_core.endpoint.overview import Overview
from ftc_core.errors import FtcError, Reason
from ftc_core.listen import ListenAddress
from ftc_core.observability import metrics
from ftc_core.observability.http import HttpServer, health_app
from ftc_core.observability.publishing import CounterFeed, Summary, repeat
from ftc_core.storage.statistics import StoreStatistics
from tests.metric_families import FAMILIES

NOT_BOUNDED = {"device", "account", "peer", "address", "endpoint_name", "fingerprint", "key"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_ours_explained_and_in_base_units(family: Metric) -> None:
    name, text = family.name, family.documentation

    assert re.fullmatch(r"ftc_[a-z0-9_]+", name)
    assert text.endswith(".")
    assert not re.search(r"_(ms|milliseconds|us|kb|mb)(_|$)", name)


def test_no_metric_has_a_label_without_bound() -> None:
    labelled = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]

    assert len(labelled) >= 13
    assert not [name for metric in labelled for name in metric._labelnames if name in NOT_BOUNDED]


def test_feed_adds_what_has_grown_and_nothing_twice() -> None:
    registry = CollectorRegistry()
    counter = Counter("things", "Things.", ("kind",), registry=registry)
    totals: Tally[tuple[str, ...]] = Tally()
    feed = CounterFeed(counter, lambda: totals)

    totals["a",] += 2
    feed.publish()
    feed.publish()
    totals["a",] += 1
    totals["b",] += 5
    feed.publish()

    assert registry.get_sample_value("things_total", {"kind": "a"}) == 3
    assert registry.get_sample_value("things_total", {"kind": "b"}) == 5


def test_summary_tells_what_happened_since_the_last_one_and_is_silent_otherwise() -> None:
    totals: Tally[str] = Tally()
    summary = Summary("devices bootstrapped", lambda: totals)

    with capture_logs() as lines:
        summary.tell()
        totals.update(completed=3, refused_QUOTA_REACHED=1)
        summary.tell()
        summary.tell()
        totals.update(completed=1)
        summary.tell()

    assert lines == [
        {"event": "devices bootstrapped", "log_level": "info", "completed": 3, "refused_QUOTA_REACHED": 1},
        {"event": "devices bootstrapped", "log_level": "info", "completed": 1},
    ]


async def test_publishing_goes_on_after_a_failure() -> None:
    failures = itertools.count(1)
    thrice = asyncio.Event()

    def fail() -> None:
        if next(failures) == 3:
            thrice.set()
        raise OSError("full")

    with capture_logs() as lines:
        task = asyncio.create_task(repeat(fail, 0.001))
        await asyncio.wait_for(thrice.wait(), 5)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    assert {line["event"] for line in lines} == {"metrics not published"}


class Meter:
    def __init__(self, answer: StoreStatistics | FtcError) -> None:
        self.answer = answer

    def read(self) -> StoreStatistics:
        if isinstance(self.answer, FtcError):
            raise self.answer
        return self.answer

    def close(self) -> None:
        pass


def test_unreadable_store_is_named_as_obstacle_and_does_not_break_the_scrape() -> None:
    overview = Overview([], Meter(FtcError(Reason.INTERNAL_1)), {})

    (obstacle,) = overview.find_obstacles()

    assert obstacle.startswith("store: ")
    assert [family.name for family in overview.collect()] == [
        "ftc_process_restarts",
        "ftc_process_ready",
        "ftc_certificate_expiry_timestamp_seconds",
    ]


def test_draining_instance_is_not_ready() -> None:
    overview = Overview([], Meter(StoreStatistics(1, 2, {})), {})
    assert overview.find_obstacles() == []

    overview.draining = True

    assert overview.find_obstacles() == ["the instance is draining"]


def nothing() -> Sequence[str]:
    return ()


def test_star_is_one_port_on_both_families_and_free_again_after_close() -> None:
    app = health_app(CollectorRegistry(), nothing)
    server = HttpServer(ListenAddress("*", 0), app)
    ports = {address.rpartition(":")[2] for address in server.addresses}
    assert len(ports) == 1

    server.close()

    HttpServer(ListenAddress("*", int(ports.pop())), app).close()


def test_address_that_is_not_ours_names_the_setting() -> None:
    with pytest.raises(FtcError) as caught:
        HttpServer(ListenAddress("192.0.2.1", 0), health_app(CollectorRegistry(), nothing))

    assert caught.value.reason is Reason.SETTING_INVALID
    assert "metrics_listen" in caught.value.message
