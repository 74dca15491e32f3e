"""The plan of a storm: arrivals, kinds, fates. The same seed, the same storm."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from statistics import mean

import pytest

from ftc_storm.arrivals import AZURE_DELAY_MIN_S, Curve, arrival_times
from ftc_storm.plan import DeviceKind, StormPlan, plan_devices
from ftc_storm.weather import Direction, Weather

MIXTURE = {
    DeviceKind.AGAIN: 0.1,
    DeviceKind.UNKNOWN: 0.05,
    DeviceKind.WRONG_CA: 0.03,
    DeviceKind.BLOCKED: 0.02,
}


def times(curve: Curve, count: int = 1_000, **options: float) -> list[float]:
    return arrival_times(curve, count, rate_per_s=100.0, random=Random(7), **options)


@pytest.mark.parametrize("curve", Curve)
def test_every_curve_gives_each_device_a_time_in_rising_order(curve: Curve) -> None:
    planned = times(curve)
    assert len(planned) == 1_000
    assert planned == sorted(planned)
    assert planned[0] >= 0


def test_all_come_at_once_whatever_the_rate() -> None:
    assert set(times(Curve.AT_ONCE)) == {0.0}


@pytest.mark.parametrize("curve", [Curve.EVEN, Curve.POISSON, Curve.RAMP])
def test_the_mean_rate_is_the_one_asked_for(curve: Curve) -> None:
    assert times(curve, 10_000)[-1] == pytest.approx(100.0, rel=0.05)


def test_a_ramp_doubles_its_mean_rate_in_the_end() -> None:
    planned = times(Curve.RAMP, 10_000)
    assert sum(at >= 99.0 for at in planned) == pytest.approx(200, abs=5)
    assert sum(at < 10.0 for at in planned) == pytest.approx(100, abs=2)


def test_poisson_gaps_are_as_wide_as_they_are_long() -> None:
    planned = times(Curve.POISSON, 10_000)
    gaps = [after - before for before, after in pairwise(planned)]
    assert mean(gap * gap for gap in gaps) == pytest.approx(2 * mean(gaps) ** 2, rel=0.1)


@pytest.mark.parametrize("load", [0.5, 1.0, 2.0])
def test_azures_delays_lie_between_a_second_and_the_cold_boot_by_load(load: float) -> None:
    planned = times(Curve.AZURE, load=load)  # T = N / cps = 1,000 / 100 = 10 s
    assert planned[0] >= AZURE_DELAY_MIN_S
    assert planned[-1] <= 10.0 / load
    assert mean(planned) == pytest.approx((AZURE_DELAY_MIN_S + 10.0 / load) / 2, rel=0.05)


def test_the_same_seed_gives_the_same_devices_and_another_one_others() -> None:
    def planned(seed: int) -> object:
        return plan_devices(
            StormPlan(
                devices=200, seed=seed, curve=Curve.POISSON, mixture=MIXTURE, deaths=0.1, rebindings=0.1
            )
        )

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)


def test_each_kind_has_its_share_and_new_devices_are_the_rest() -> None:
    kinds = Counter(device.kind for device in plan_devices(StormPlan(devices=1_000, mixture=MIXTURE)))
    assert kinds == {
        DeviceKind.NEW: 800,
        DeviceKind.AGAIN: 100,
        DeviceKind.UNKNOWN: 50,
        DeviceKind.WRONG_CA: 30,
        DeviceKind.BLOCKED: 20,
    }


def test_deaths_and_rebindings_befall_their_share_of_the_welcome_and_never_both() -> None:
    devices = plan_devices(StormPlan(devices=5_000, mixture=MIXTURE, deaths=0.2, rebindings=0.1))
    dying = {device.index for device in devices if device.dies_upon is not None}
    rebound = {device.index for device in devices if device.rebinds_upon is not None}
    welcome = {device.index for device in devices if device.kind.welcome}
    assert len(dying) / len(welcome) == pytest.approx(0.2, abs=0.03)
    assert len(rebound) / len(welcome) == pytest.approx(0.1, abs=0.03)
    assert not dying & rebound
    assert dying | rebound <= welcome


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"devices": 0}, "needs a device"),
        ({"mixture": {DeviceKind.AGAIN: 0.9, DeviceKind.UNKNOWN: 0.2}}, "shares of the kinds"),
        ({"mixture": {DeviceKind.NEW: 0.5}}, "shares of the kinds"),
        ({"deaths": 0.6, "rebindings": 0.6}, "deaths and rebindings"),
        ({"patience_s": 0.0}, "must be positive"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        StormPlan(**{"devices": 10, **wrong})


def fates(weather: Weather, count: int = 20_000, **where: int) -> list[tuple[float, ...]]:
    device, seed = where.get("device", 1), where.get("seed", 1)
    return [weather.fate(seed, device, Direction.TO_SERVER, number) for number in range(count)]


def test_calm_weather_delivers_each_datagram_once_and_at_once() -> None:
    assert Weather().calm
    assert set(fates(Weather())) == {(0.0,)}


def test_loss_and_duplication_take_their_shares() -> None:
    found = Counter(map(len, fates(Weather(loss=0.2, duplication=0.1))))
    assert found[0] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert found[2] / (found[1] + found[2]) == pytest.approx(0.1, abs=0.01)


def test_a_datagram_that_is_held_back_is_overtaken() -> None:
    weather = Weather(reordering=0.1, reordering_delay_s=0.5, delay_s=0.02, jitter_s=0.01)
    delays = [delay for (delay,) in fates(weather)]
    held_back = [delay for delay in delays if delay >= 0.5]
    assert len(held_back) / len(delays) == pytest.approx(0.1, abs=0.01)
    assert all(0.02 <= delay <= 0.03 for delay in delays if delay < 0.5)
    assert all(0.52 <= delay <= 0.53 for delay in held_back)


def test_the_same_datagram_meets_the_same_fate_and_others_their_own() -> None:
    weather = Weather(loss=0.5)
    assert fates(weather, 100) == fates(weather, 100)
    assert fates(weather, 100) != fates(weather, 100, device=2)
    assert fates(weather, 100) != fates(weather, 100, seed=2)
    back = [weather.fate(1, 1, Direction.TO_DEVICE, number) for number in range(100)]
    assert fates(weather, 100) != back


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"loss": 1.1}, "shares"), ({"duplication": -0.1}, "shares"), ({"delay_s": -1.0}, "before it was sent")],
)
def test_weather_that_cannot_be_is_refused(wrong: dict[str, float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Weather(**wrong)
