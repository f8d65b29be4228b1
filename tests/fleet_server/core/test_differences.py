"""Differences in differences of device means, and the e-process on bad devices: what cancels, and what shows."""

import math
import random

import pytest

from fleet_server.core.canary import DeviceHistory, find_bad
from fleet_server.core.canary_metrics import DeviceSums, measure, scaled_margin, shown_change
from fleet_server.core.differences import Cell, DeviceSeries, compare_arms
from fleet_server.core.newly_bad import HAZARD_RATIOS, BadDevice, weigh_newly_bad
from fleet_server.core.policies import Metric
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.tails import student_quantile, student_tail


def fleet(canary: float, surge: float = 0.0, profiles: str = "a", seed: int = 1) -> list[DeviceSeries]:
    """Twenty canary and a hundred stable devices with levels of their own; look 2 raises everybody by `surge`."""
    rng, made = random.Random(seed), []
    for number in range(120):
        level, is_canary = rng.uniform(0, 1), number < 20
        shift = canary if is_canary else 0.0
        values = [level + shift + (surge if look == 2 else 0.0) + rng.gauss(0, 0.01) for look in (1, 2, 3)]
        cells = tuple(Cell(look, value, 100.0) for look, value in enumerate(values, start=1))
        made.append(DeviceSeries(is_canary, profiles[number % len(profiles)], level, cells))
    return made


def test_levels_of_devices_and_a_surge_of_all_cancel() -> None:
    found = compare_arms(Metric.ERROR_RATIO, fleet(0.0, surge=5.0))
    assert found is not None
    assert abs(found.difference) < 0.01
    assert found.error < 0.01
    assert found.stable_mean == pytest.approx(5 / 3, abs=0.01)


def test_a_device_that_came_late_is_compared_with_the_time_since() -> None:
    """A surge before it came, or after, is not taken for the version."""
    devices = fleet(0.0, surge=5.0)
    late = [
        DeviceSeries(item.canary, item.profile, item.before, item.cells[1:] if item.canary else item.cells)
        for item in devices
    ]
    found = compare_arms(Metric.ERROR_RATIO, late)
    assert found is not None
    assert abs(found.difference) < 0.01


def test_what_the_canary_alone_shows_is_found() -> None:
    found = compare_arms(Metric.ERROR_RATIO, fleet(0.1))
    assert found is not None
    assert found.difference == pytest.approx(0.1, abs=0.01)
    assert found.p_value(0.05) < 1e-6
    assert found.p_value(0.2) == 1.0


def test_arms_are_compared_on_the_same_hardware() -> None:
    """Slow boards, of which the stable arm has more, worsen with the season: the canary's mix of boards counts."""
    devices = [
        DeviceSeries(n < 20, "slow" if slow else "fast", 0.0, (Cell(1, 1.0 if slow else 0.0, 10.0),))
        for n in range(120)
        for slow in [n % 2 == 0 if n < 20 else n % 10 > 0]
    ]
    found = compare_arms(Metric.LATENCY_P95, devices)
    assert found is not None
    assert found.difference == pytest.approx(0.0, abs=1e-9)
    other = [DeviceSeries(n < 5, "new" if n < 5 else "old", 0.0, (Cell(1, 0.0, 1.0),)) for n in range(20)]
    assert compare_arms(Metric.LATENCY_P95, other) is None


def test_two_boards_alike_by_chance_do_not_look_exact() -> None:
    rng = random.Random(3)
    stable = [DeviceSeries(False, "a", 0.0, (Cell(1, rng.gauss(0, 1), 1.0),)) for _ in range(100)]
    canary = [DeviceSeries(True, "a", 0.0, (Cell(1, 1.0, 1.0),)) for _ in range(2)]
    found = compare_arms(Metric.ERROR_RATIO, canary + stable)
    assert found is not None
    assert found.error == pytest.approx(math.sqrt(0.5), rel=0.3)


def test_so_few_devices_can_show_only_so_much() -> None:
    found = compare_arms(Metric.ERROR_RATIO, fleet(0.5)[17:24])  # three against four
    assert found is not None
    assert found.smallest_p() == pytest.approx(1 / 35)


@pytest.mark.parametrize(
    ("statistic", "freedom", "tail"),
    [(0.0, 5, 0.5), (2.015048, 5, 0.05), (-2.015048, 5, 0.95), (10.21453, 3, 0.001), (3.090232, 1e9, 0.001)],
)
def test_students_tail_is_as_in_tables(statistic: float, freedom: float, tail: float) -> None:
    assert student_tail(statistic, freedom) == pytest.approx(tail, rel=2e-5)
    if tail < 0.5:
        assert student_quantile(tail, freedom) == pytest.approx(statistic, rel=1e-4)


# Bad devices.


def test_the_e_value_is_the_mean_ratio_of_likelihoods() -> None:
    one = weigh_newly_bad(50, 500, [BadDevice(1.0, "a", True)])
    assert one.e_value == pytest.approx(sum(r * 550 / (r * 50 + 500) for r in HAZARD_RATIOS) / 3)
    assert weigh_newly_bad(50, 500, []).e_value == 1.0
    assert weigh_newly_bad(50, 0, [BadDevice(1.0, "a", True)]).e_value == 1.0
    with pytest.raises(ValueError, match="2 of 1"):
        weigh_newly_bad(1, 5, [BadDevice(1.0, "a", True), BadDevice(2.0, "b", True)])


def test_its_mean_is_one_where_nothing_differs() -> None:
    """Over every way in which three bad devices may fall on two and four."""
    total = weight = 0.0
    for arms in [(a, b, c) for a in (1, 0) for b in (1, 0) for c in (1, 0)]:
        chance, canary, stable = 1.0, 2, 4
        for arm in arms:
            chance *= (canary if arm else stable) / (canary + stable)
            canary, stable = canary - arm, stable - (1 - arm)
        if chance > 0:
            bad = [BadDevice(float(at), str(at), bool(arm)) for at, arm in enumerate(arms)]
            total, weight = total + chance * weigh_newly_bad(2, 4, bad).e_value, weight + chance
    assert weight == pytest.approx(1.0)
    assert total == pytest.approx(1.0)


# What is measured on one device.


def test_metrics_of_counts() -> None:
    latency = [0] * 34
    latency[3], latency[7] = 90, 10  # up to 283 µs and 1,131 µs
    sums = DeviceSums(200, 10, 50, (150, 50), tuple(latency), 30.0, 20, 15, 0.0)
    assert measure(Metric.ERROR_RATIO, sums) == (0.05, 200)
    assert measure(Metric.REJECTED_RATIO, sums) == (0.2, 250)
    assert measure(Metric.ACCURACY, sums) == (0.25, 20)
    value = measure(Metric.LATENCY_P95, sums)
    assert value is not None
    assert math.exp(value[0]) == pytest.approx(951, rel=0.01)  # half way through the last bucket
    memory = measure(Metric.MEMORY, sums)
    assert memory is not None
    assert math.exp(memory[0]) == pytest.approx(30.0)
    same, other = measure(Metric.PREDICTION_PSI, sums, (750, 250)), measure(Metric.PREDICTION_PSI, sums, (250, 750))
    assert same is not None
    assert other is not None
    assert same[0] < 0.01 < 0.25 < other[0]
    empty = DeviceSums()
    assert [measure(metric, empty) for metric in Metric] == [None] * len(Metric)
    values = DeviceSums(rows=9, labels=10, abs_error=5.0)  # of a regression: none of them is "right"
    assert measure(Metric.ACCURACY, values) is None
    assert measure(Metric.ABS_ERROR, values) == (pytest.approx(math.log(0.5)), 10)


def test_margins_of_latency_are_shares() -> None:
    assert scaled_margin(Metric.LATENCY_P95, 0.5) == pytest.approx(math.log(1.5))
    assert shown_change(Metric.LATENCY_P95, math.log(1.5)) == pytest.approx(0.5)
    assert scaled_margin(Metric.ACCURACY, 0.5) == shown_change(Metric.ACCURACY, 0.5) == 0.5


def test_a_device_is_bad_when_its_rows_are_and_were_not_before() -> None:
    policy = parse_policy({"look_s": 60.0})
    good, bad = DeviceSums(rows=100), DeviceSums(rows=100, errors=50)
    histories = {
        "new": DeviceHistory(None, {2: bad, 3: good}),
        "always": DeviceHistory(bad, {1: bad}),
        "never": DeviceHistory(good, {1: good}),
        "few": DeviceHistory(good, {1: DeviceSums(rows=19, errors=19)}),
    }
    assert find_bad(policy, histories, 1_000.0) == {"new": 1_120.0}
