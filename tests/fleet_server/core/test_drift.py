"""Drift: clean data does not alarm, moved data does, and the sentence says how it moved."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Window, WindowCounts
from fleet_server.core.drift import DriftPolicy, DriftState, Scope, assess_drift, judge_counts
from fleet_server.core.drift_rules import chi_square_p, kolmogorov_p, population_stability

Floats = NDArray[np.float64]
DEVICE_POLICY = DriftPolicy()


def bin_counts(edges: tuple[float, ...], values: Floats) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1))


def baseline_of(rows: Floats, outputs: Floats) -> Baseline:
    features = []
    for column in range(rows.shape[1]):
        values = rows[:, column]
        quantiles = np.unique(np.quantile(values, np.linspace(0, 1, 21)[1:-1]))
        edges = tuple(float(edge) for edge in quantiles if values.min() <= edge < values.max())
        std = float(values.std())
        known = (float(values.min()), float(values.max()), edges, bin_counts(edges, values))
        features.append(FeatureBaseline(f"x{column}", *known, missing=0, mean=float(values.mean()), std=std))
    labels = tuple(int(n) for n in np.bincount(outputs.astype(int), minlength=3))
    return Baseline(len(rows), tuple(features), OutputBaseline((), labels))


def counts_of(baseline: Baseline, rows: Floats, outputs: Floats) -> WindowCounts:
    features = []
    for column, known in enumerate(baseline.features):
        values = rows[:, column]
        finite = values[~np.isnan(values)]
        inside = finite[(finite >= known.low) & (finite <= known.high)]
        z = (finite - known.mean) / (known.std or 1.0)
        features.append(
            FeatureCounts(
                bin_counts(known.edges, inside),
                under=int((finite < known.low).sum()),
                over=int((finite > known.high).sum()),
                missing=int(np.isnan(values).sum()),
                total=float(z.sum()),
                squares=float((z * z).sum()),
            )
        )
    labels = tuple(int(n) for n in np.bincount(outputs.astype(int), minlength=3))
    return WindowCounts(len(rows), 0, 0, tuple(features), labels, (), (0,) * LATENCY_BUCKETS)


def window(number: int, counts: WindowCounts) -> Window:
    return Window("dev", 1, number, "m", 1, "a" * 64, number * 1000, number * 1000 + 999, counts)


class World:
    """Seeded rows: ten columns — normal, skewed, discrete, constant — and three labels."""

    def __init__(self, seed: int = 0, training: int = 2000) -> None:
        self.chance = np.random.default_rng(seed)
        self.baseline = baseline_of(*self.rows(training))

    def rows(self, n: int) -> tuple[Floats, Floats]:
        normal = self.chance.normal(size=(n, 6))
        skewed = self.chance.lognormal(size=(n, 2))
        discrete = self.chance.poisson(0.4, size=(n, 1)).astype(float)
        constant = np.full((n, 1), 4.0)
        return np.hstack([normal, skewed, discrete, constant]), self.chance.choice(3, size=n, p=[0.6, 0.3, 0.1])

    def counts(self, n: int) -> WindowCounts:
        return counts_of(self.baseline, *self.rows(n))

    def moved(self, n: int, shift: float, column: int = 0) -> WindowCounts:
        rows, outputs = self.rows(n)
        rows[:, column] += shift * self.baseline.features[column].std
        return counts_of(self.baseline, rows, outputs)


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("rows", [100, 400, 2000])
def test_clean_windows_alarm_in_one_percent_at_most(scope: Scope, rows: int) -> None:
    world, alarms, tries = World(1), 0, 300
    for _ in range(tries):
        features, output = judge_counts(world.baseline, world.counts(rows), DEVICE_POLICY, scope)
        alarms += any(verdict.drifted for verdict in (*features, output))
    assert alarms <= 0.01 * tries


def test_the_tests_alone_keep_their_level_without_any_floor() -> None:
    world, tries = World(2), 400
    policy = DriftPolicy(alpha=0.05, psi_floor=0.0)
    alarms = 0
    for _ in range(tries):
        features, output = judge_counts(world.baseline, world.counts(500), policy, Scope.DEVICE)
        alarms += any(verdict.drifted for verdict in (*features, output))
    assert alarms <= 0.05 * tries + 3 * (tries * 0.05 * 0.95) ** 0.5


def test_half_a_sigma_is_detected_and_told() -> None:
    world = World(3)
    found = [judge_counts(world.baseline, world.moved(500, 0.5), DEVICE_POLICY, Scope.DEVICE)[0] for _ in range(50)]
    assert sum(features[0].drifted for features in found) >= 49
    assert sum(feature.drifted for features in found for feature in features[1:]) <= 1
    told = found[0][0]
    assert told.explanation.startswith("x0 rose by about 0.")
    assert told.shift_sigma == pytest.approx(0.5, abs=0.15)


def test_a_group_sees_a_smaller_shift_than_a_device() -> None:
    world = World(4)
    counts = world.moved(20_000, -0.24)
    on_group = judge_counts(world.baseline, counts, DEVICE_POLICY, Scope.GROUP)[0][0]
    on_device = judge_counts(world.baseline, counts, DEVICE_POLICY, Scope.DEVICE)[0][0]
    assert on_group.drifted
    assert "fell by about 0.3 σ" in on_group.explanation
    assert not on_device.drifted
    assert "too little to matter" in on_device.explanation


def test_every_field_of_the_policy_changes_an_outcome() -> None:
    world = World(5)
    slight = world.moved(5000, 0.2)

    def drifted(policy: DriftPolicy, scope: Scope = Scope.GROUP) -> bool:
        return judge_counts(world.baseline, slight, policy, scope)[0][0].drifted

    assert not drifted(DriftPolicy())
    assert drifted(DriftPolicy(group_effect_sigma=0.1))
    assert drifted(DriftPolicy(psi_floor=0.01), Scope.DEVICE)
    assert not drifted(DriftPolicy(psi_floor=0.01, alpha=1e-60), Scope.DEVICE)
    moved = [window(i, world.moved(250, 1.0)) for i in range(2)]
    clean = [window(i + 2, world.counts(250)) for i in range(1)]
    assert assess_drift(world.baseline, moved + clean).state is DriftState.DRIFT
    assert assess_drift(world.baseline, moved + clean, DriftPolicy(confirm=3)).state is DriftState.WATCH
    assert assess_drift(world.baseline, moved + clean, DriftPolicy(of=2)).state is DriftState.WATCH
    assert assess_drift(world.baseline, moved + clean, DriftPolicy(look_rows=2000)).state is DriftState.LEARNING


def test_states_learn_watch_drift_and_recover() -> None:
    world = World(6)
    windows = [window(0, world.counts(60))]
    states = [assess_drift(world.baseline, windows).state]
    for number in range(1, 5):
        windows.append(window(number, world.counts(200)))
    states.append(assess_drift(world.baseline, windows).state)
    for number in range(5, 8):
        windows.append(window(number, world.moved(200, 2.0)))
        states.append(assess_drift(world.baseline, windows).state)
    windows += [window(number, world.counts(200)) for number in range(8, 12)]
    states.append(assess_drift(world.baseline, windows).state)
    watch, drift = DriftState.WATCH, DriftState.DRIFT
    assert states == [DriftState.LEARNING, DriftState.OK, watch, drift, drift, DriftState.OK]


def test_small_windows_are_merged_into_looks() -> None:
    world = World(7)
    report = assess_drift(world.baseline, [window(i, world.moved(25, 1.5)) for i in range(20)])
    assert (report.state, report.rows, report.windows) == (DriftState.DRIFT, 500, 20)


def test_windows_of_another_shape_are_left_out() -> None:
    world = World(8)
    foreign = replace(world.counts(300), outputs=(1, 2))
    report = assess_drift(world.baseline, [window(0, foreign), window(1, world.counts(300))])
    assert (report.windows, report.ignored, report.state) == (1, 1, DriftState.OK)
    assert assess_drift(world.baseline, [window(0, foreign)]).output is None
    assert assess_drift(world.baseline, []).state is DriftState.LEARNING


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("stuck", "is stuck near one value"),
        ("outside", "lies above the training range in 100%"),
        ("missing", "is missing in 30% of the rows"),
        ("wide", "times as wide"),
        ("constant", "was constant in training"),
    ],
)
def test_sensor_faults_are_found_and_told(change: str, told: str) -> None:
    world = World(9)
    rows, outputs = world.rows(600)
    column = 9 if change == "constant" else 1
    match change:
        case "stuck":
            rows[:, column] = 0.1
        case "outside":
            rows[:, column] = 50.0
        case "missing":
            rows[:180, column] = np.nan
        case "wide":
            rows[:, column] *= 2
        case _:
            rows[:, column] = 5.0
    verdict = judge_counts(world.baseline, counts_of(world.baseline, rows, outputs), DEVICE_POLICY, Scope.DEVICE)[0][
        column
    ]
    assert verdict.drifted
    assert told in verdict.explanation


def test_a_column_that_is_missing_altogether_is_drift() -> None:
    world = World(10)
    rows, outputs = world.rows(300)
    rows[:, 2] = np.nan
    verdict = judge_counts(world.baseline, counts_of(world.baseline, rows, outputs))[0][2]
    assert verdict.drifted
    assert verdict.missing_ratio == 1.0


def test_the_output_drifts_by_itself() -> None:
    world = World(11)
    rows, _ = world.rows(400)
    _, output = judge_counts(world.baseline, counts_of(world.baseline, rows, np.full(400, 2)))
    assert output.drifted
    assert "answers label 2 in 100% of the rows" in output.explanation


def test_psi_is_free_of_sampling_noise_on_average() -> None:
    chance = np.random.default_rng(12)
    shares = np.full(20, 0.05)
    found = [
        population_stability(chance.multinomial(400, shares), chance.multinomial(2000, shares)) for _ in range(300)
    ]
    assert float(np.mean(found)) < 0.01  # 0.048 without the correction


def test_known_figures() -> None:
    # ln-ratios by hand, at a size where smoothing and sampling noise are nothing.
    n = 10**9
    psi = population_stability((6 * n, 4 * n), (5 * n, 5 * n))
    assert psi == pytest.approx(0.1 * np.log(6 / 5) - 0.1 * np.log(4 / 5), rel=1e-6)
    # 2 x 2 table [[30, 70], [50, 50]]: Pearson's statistic is 25/3.
    assert chi_square_p((30, 70), (50, 50)) == pytest.approx(0.003892, rel=1e-3)
    assert chi_square_p((0, 0), (5, 5)) == kolmogorov_p((0, 0), (5, 5)) == 1.0
    assert chi_square_p((5, 0), (5, 0)) == 1.0
