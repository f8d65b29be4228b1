"""Whether a metric became worse on canary devices than on stable ones at the same time: differences in differences.

House rules: the device is the unit; its rows are not independent of each other, so they count as one mean. From every
device's value in an interval its own value before is taken, and what stable devices changed by in that interval: so
what differs between boards cancels, and so does what befalls the whole fleet. Larger is worse.
Sources: B. R. Moulton (1990), An illustration of a pitfall in estimating the effects of aggregate variables, Review of
Economics and Statistics 72(2), and M. Bertrand, E. Duflo and S. Mullainathan (2004), How much should we trust
differences-in-differences estimates?, Quarterly Journal of Economics 119(1), for one mean a unit; B. L. Welch (1947),
Biometrika 34, for unequal variances.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleet_server.core.policies import Metric
from fleet_server.core.tails import student_tail


class Cell(NamedTuple):
    """A device's value in an interval, and the number of rows (or labels) that it rests on."""

    interval: int
    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class DeviceSeries:
    """One device: its arm and profile, its value before, its values since, in the order of intervals."""

    canary: bool
    profile: str
    before: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What one metric came to: devices and mean change of each arm, and the difference of these with its error.

    Means and difference are in the metric's unit; `error` is the standard error, `freedom` its degrees of freedom.
    """

    metric: Metric
    canary_devices: int
    stable_devices: int
    canary_mean: float
    stable_mean: float
    difference: float
    error: float
    freedom: float

    def p_value(self, margin: float) -> float:
        """Return the chance of such a difference, or a larger one, if the true one were `margin`."""
        excess = self.difference - margin
        if excess <= 0:
            return 1.0
        return student_tail(excess / self.error, self.freedom) if self.error > 0 else 0.0

    def smallest_p(self) -> float:
        """Return the least p-value that so few devices can show at all: one arrangement of all that are alike."""
        n, k = self.canary_devices + self.stable_devices, min(self.canary_devices, self.stable_devices)
        return math.exp(math.lgamma(k + 1) + math.lgamma(n - k + 1) - math.lgamma(n + 1))


def compare_arms(metric: Metric, devices: Sequence[DeviceSeries]) -> Difference | None:
    """Return the difference of the arms, or None where either has fewer than two devices that can be compared.

    Stable devices weigh as their profile weighs in the canary; profiles that the canary lacks are left out, and canary
    devices of a profile that no stable device has.
    """
    seen = [item for item in devices if item.cells]
    profiles = {item.profile for item in seen if item.canary} & {item.profile for item in seen if not item.canary}
    canary = [item for item in seen if item.canary and item.profile in profiles]
    stable = [item for item in seen if not item.canary and item.profile in profiles]
    if len(canary) < 2 or len(stable) < 2:
        return None
    weights = _profile_weights(canary, stable)
    shifts = _stable_shifts(stable, weights)
    of_canary = [mean for item in canary if (mean := _mean(item, shifts)) is not None]
    of_stable = [
        (mean, w) for item, w in zip(stable, weights, strict=True) if (mean := _mean(item, shifts)) is not None
    ]
    if len(of_canary) < 2 or len(of_stable) < 2:
        return None
    return _difference(metric, of_canary, of_stable, _typical(shifts, canary))


def _profile_weights(canary: Iterable[DeviceSeries], stable: Sequence[DeviceSeries]) -> list[float]:
    wanted, there = _counts(canary), _counts(stable)
    return [wanted[item.profile] / there[item.profile] for item in stable]


def _counts(devices: Iterable[DeviceSeries]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in devices:
        found[item.profile] = found.get(item.profile, 0) + 1
    return found


def _stable_shifts(stable: Sequence[DeviceSeries], weights: Sequence[float]) -> dict[int, float]:
    """Return by how much stable devices changed in each interval, each device counting the same."""
    totals: dict[int, float] = {}
    whole: dict[int, float] = {}
    for item, share in zip(stable, weights, strict=True):
        before = item.before
        for interval, value, _ in item.cells:
            totals[interval] = totals.get(interval, 0.0) + share * (value - before)
            whole[interval] = whole.get(interval, 0.0) + share
    return {interval: total / whole[interval] for interval, total in totals.items()}


def _mean(item: DeviceSeries, shifts: Mapping[int, float]) -> float | None:
    """Return a device's mean change beyond that of stable devices, by rows, over the intervals that have both."""
    total = whole = 0.0
    before = item.before
    for interval, value, weight in item.cells:
        if interval in shifts:
            total += weight * (value - before - shifts[interval])
            whole += weight
    return total / whole if whole > 0 else None


def _typical(shifts: Mapping[int, float], canary: Iterable[DeviceSeries]) -> float:
    """Return what stable devices changed by while the canary was seen: for people, it cancels in the difference."""
    told = [shifts[cell.interval] for item in canary for cell in item.cells if cell.interval in shifts]
    return sum(told) / len(told) if told else 0.0


def _difference(
    metric: Metric, canary: Sequence[float], stable: Sequence[tuple[float, float]], shift: float
) -> Difference:
    n, m = len(canary), len(stable)
    mean_c = sum(canary) / n
    whole = sum(weight for _, weight in stable)
    mean_s = sum(value * weight for value, weight in stable) / whole
    # Of a weighted mean: sum of w^2 (x - mean)^2, with the correction for its mean; Kish's number of equal weights.
    squares_s = sum((weight / whole * (value - mean_s)) ** 2 for value, weight in stable) * m / (m - 1)
    effective = whole**2 / sum(weight**2 for _, weight in stable)
    variance_c = sum((value - mean_c) ** 2 for value in canary) / (n - 1)
    error, freedom = _error(variance_c, n, squares_s * effective, effective)
    difference = mean_c - mean_s
    return Difference(metric, n, m, difference + shift, shift, difference, error, freedom)


def _error(variance_c: float, n: int, variance_s: float, m: float) -> tuple[float, float]:
    """Return the larger standard error of Welch's and of the pooled one, with its degrees of freedom.

    If nothing changed, both arms are alike and the pooled one holds; where the canary varies more, Welch's does. Two
    equal canary devices by chance must not look exact, nor two different ones be drowned by many stable ones.
    """
    welch = variance_c / n + variance_s / m
    pooled_variance = ((n - 1) * variance_c + (m - 1) * variance_s) / (n + m - 2) if n + m > 2 else 0.0
    pooled = pooled_variance * (1 / n + 1 / m)
    if pooled >= welch or welch == 0:
        return math.sqrt(pooled), max(n + m - 2, 1.0)
    parts = (variance_c / n) ** 2 / (n - 1) + (variance_s / m) ** 2 / max(m - 1, 1.0)
    return math.sqrt(welch), welch**2 / parts
