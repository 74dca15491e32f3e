"""A tally says to a histogram what its observations would have said one by one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ftc_core.observability.tallies import TalliedHistogram

BOUNDS = (0.25, 0.5, 1.0)
AMOUNTS = (0.0, 0.25, 0.3, 0.5, 0.5, 0.75, 1.0, 1.5, 64.0)  # exact in binary, so that sums are


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


def test_tallies_add_up_to_what_was_observed() -> None:
    told, tallied = CollectorRegistry(), CollectorRegistry()
    one_by_one = TalliedHistogram("waits", "Waits.", registry=told, buckets=BOUNDS)
    together = TalliedHistogram("waits", "Waits.", registry=tallied, buckets=BOUNDS)
    for amounts in (AMOUNTS[:4], AMOUNTS[4:]):
        tally = together.tally()
        for amount in amounts:
            one_by_one.observe(amount)
            tally.observe(amount)
        together.add(tally)

    assert samples(tallied) == samples(told)
    assert samples(tallied)["waits_count", ""] == len(AMOUNTS)


def test_a_histogram_with_labels_takes_tallies() -> None:
    registry = CollectorRegistry()
    child = TalliedHistogram("waits", "Waits.", ("at",), registry=registry, buckets=BOUNDS).labels("door")
    tally = child.tally()
    tally.observe(0.3)
    child.add(tally)

    assert samples(registry)["waits_bucket", "0.5"] == 1
