"""A simulated fleet under a rollout: what its devices count, look by look, for the promises of the canary's evidence.

Fifty devices have the new version, five hundred wait; three hardware profiles. Every device has rates of its own
(log-normal), which wander (autocorrelation 0.9 from look to look) besides what the whole fleet has in common; rows are
binomial. What is wrong is said by `Harm`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.canary import Observed
from fleet_server.core.differences import Cell, DeviceSeries, compare_arms
from fleet_server.core.policies import Amount, Metric, Policy
from fleet_server.core.rollout_rules import Verdict, decide_rollout
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutView

CANARY, STABLE, LOOKS = 50, 500, 24
BEFORE_LOOKS = 24
LOOK_S = 3600.0
ERROR_RATE, WRONG_RATE = 0.02, 0.10
DEVICE_SPREAD, WANDER, AUTOCORRELATION, COMMON = 0.5, 0.2, 0.9, 0.1
ROWS, ROWS_SPREAD, LABELS = 500, 0.4, 50
LATENCY_WANDER, LATENCY_COMMON = 0.05, 0.05
BAD_PER_LOOK = 0.001
SURGE_LOOK, SURGE_LOOKS, SURGE, BAD_SURGE = 6, 6, 3.0, 30.0
_PROFILES = np.array(["pi-3", "pi-4", "pi-zero-2w"])
_Numbers = NDArray[np.float64]

# Nothing but the evidence stops it: the hard stop has tests of its own.
POLICY = Policy(
    (Amount(50, percent=False), Amount(100, percent=True)),
    max_failures=Amount(100, percent=True),
    phase_timeout_s=1e9,
    promotion=None,
    min_soak_s=1e9,
)


@dataclass(frozen=True)
class Harm:
    """What befalls: factors on the canary's rates, devices of it that go bad in the first look, a surge for all."""

    errors: float = 1.0
    wrong: float = 1.0
    latency: float = 1.0
    bad_share: float = 0.0
    bad_devices: int = 0
    surge: bool = False


@dataclass
class Fleet:
    """Counts of one rollout's devices: (device, look), the canary's first; looks before are one."""

    rows: _Numbers
    errors: _Numbers
    rows_before: _Numbers
    errors_before: _Numbers
    values: dict[Metric, tuple[_Numbers, _Numbers]]
    bad_look: NDArray[np.int64]
    profiles: list[str]
    _cells: dict[Metric, list[list[Cell]]] = field(default_factory=dict)
    _seen: list[tuple[tuple[RolloutDevice, ...], Observed]] = field(default_factory=list)

    def views(self, policy: Policy = POLICY) -> Iterator[tuple[RolloutView, Observed, float]]:
        """Return what is decided from at the end of each look."""
        rollout = Rollout("r", "digits", 2, "all", policy, phase_started=1.0)
        for look in range(1, LOOKS + 1):
            if look > len(self._seen):
                self._seen.append(self._observe(look))
            members, observed = self._seen[look - 1]
            yield RolloutView(rollout, members), observed, 1.0 + look * LOOK_S

    def _observe(self, look: int) -> tuple[tuple[RolloutDevice, ...], Observed]:
        differences = []
        for metric, (values, weights) in self.values.items():
            cells = self._cells.setdefault(metric, [[] for _ in self.profiles])
            for mine, value, weight in zip(cells, values[:, look].tolist(), weights[:, look].tolist(), strict=True):
                mine.append(Cell(look, value, weight))
            differences.append(compare_arms(metric, self._series(metric, cells)))
        found = tuple(item for item in differences if item is not None)
        bad = {f"d{n:03}": 1.0 + int(at) * LOOK_S for n, at in enumerate(self.bad_look) if at <= look}
        return self._members(look), Observed({}, {}, bad, look, found)

    def _series(self, metric: Metric, cells: list[list[Cell]]) -> list[DeviceSeries]:
        before = self.values[metric][0][:, 0]
        return [
            DeviceSeries(number < CANARY, self.profiles[number], float(before[number]), tuple(mine))
            for number, mine in enumerate(cells)
        ]

    def _members(self, look: int) -> tuple[RolloutDevice, ...]:
        made = []
        for number, bad in enumerate(self.bad_look):
            name, canary = f"d{number:03}", number < CANARY
            state = DeviceState.SUCCEEDED if canary else DeviceState.WAITING
            failed, at = canary and bad <= look, 1.0 + float(bad) * LOOK_S
            made.append(
                RolloutDevice(
                    name,
                    0 if canary else 1,
                    DeviceState.FAILED if failed else state,
                    from_version=1,
                    changed_at=1.0,
                    failed=failed,
                    offered_at=1.0 if canary else 0.0,
                    failed_at=at if failed else 0.0,
                )
            )
        return tuple(made)


def draw_fleet(rng: np.random.Generator, harm: Harm = Harm()) -> Fleet:
    """Return the counts of one rollout by chance."""
    n = CANARY + STABLE
    profiles = _PROFILES[rng.integers(0, 3, n)]
    base = ERROR_RATE * np.exp(rng.normal(0, DEVICE_SPREAD, n) - DEVICE_SPREAD**2 / 2)
    wander, common = _wander(rng, n, WANDER), rng.normal(0, COMMON, LOOKS + 1)
    rates = base[:, None] * np.exp(wander + common)
    surged = np.zeros(LOOKS + 1, bool)
    surged[SURGE_LOOK : SURGE_LOOK + SURGE_LOOKS] = harm.surge
    rates[:, surged] *= SURGE
    rates[:CANARY, 1:] *= harm.errors
    rows = np.maximum(1, ROWS * np.exp(rng.normal(0, ROWS_SPREAD, (n, 1)) * np.ones(LOOKS + 1))).astype(int)
    rows[:, 0] *= BEFORE_LOOKS
    errors = rng.binomial(rows, np.minimum(rates, 0.9))
    wrong_rate = WRONG_RATE * np.exp(rng.normal(0, DEVICE_SPREAD, (n, 1)) - DEVICE_SPREAD**2 / 2 + _wander(rng, n, 0.1))
    wrong_rate[:, surged] *= 1.5
    wrong_rate[:CANARY, 1:] *= harm.wrong
    labels = np.full((n, LOOKS + 1), LABELS)
    labels[:, 0] *= BEFORE_LOOKS
    wrong = rng.binomial(labels, np.minimum(wrong_rate, 0.9))
    latency = rng.normal(7, 0.5, (n, 1)) + _wander(rng, n, LATENCY_WANDER) + rng.normal(0, LATENCY_COMMON, LOOKS + 1)
    latency[:, surged] += 0.4
    latency[:CANARY, 1:] += np.log(harm.latency)
    values = {
        Metric.ERROR_RATIO: (errors / rows, rows.astype(float)),
        Metric.ACCURACY: (wrong / labels, labels.astype(float)),
        Metric.LATENCY_P95: (latency, rows.astype(float)),
    }
    bad = _draw_bad(rng, n, harm, surged)
    return Fleet(rows[:, 1:], errors[:, 1:], rows[:, 0], errors[:, 0], values, bad, [str(name) for name in profiles])


def halted_at(fleet: Fleet, policy: Policy = POLICY, looks: int = LOOKS) -> int:
    """Return the look at which the rollout is rolled back, or 0."""
    for look, (view, observed, now) in enumerate(fleet.views(policy), start=1):
        if decide_rollout(view, now, observed).verdict is Verdict.HALT:
            return look
        if look == looks:
            break
    return 0


def _wander(rng: np.random.Generator, n: int, sigma: float) -> _Numbers:
    """An AR(1) series for each device with a standard deviation of `sigma`; look 0 is the mean of those before."""
    steps = np.empty((n, BEFORE_LOOKS + LOOKS))
    steps[:, 0] = rng.normal(0, sigma, n)
    for look in range(1, steps.shape[1]):
        noise = rng.normal(0, sigma * np.sqrt(1 - AUTOCORRELATION**2), n)
        steps[:, look] = AUTOCORRELATION * steps[:, look - 1] + noise
    return np.concatenate([steps[:, :BEFORE_LOOKS].mean(axis=1, keepdims=True), steps[:, BEFORE_LOOKS:]], axis=1)


def _draw_bad(rng: np.random.Generator, n: int, harm: Harm, surged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the look in which each device goes bad; LOOKS + 1 for never."""
    hazard = np.full((n, LOOKS), BAD_PER_LOOK)
    hazard[:, surged[1:]] *= BAD_SURGE / SURGE_LOOKS
    hazard[:CANARY, 0] += harm.bad_share
    happens = rng.random((n, LOOKS)) < hazard
    happens[: harm.bad_devices, 0] = True
    return np.where(happens.any(axis=1), happens.argmax(axis=1) + 1, LOOKS + 1)
