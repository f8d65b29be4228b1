"""Figures against training: clean columns stand still, moved ones are told in words with their size."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, WindowCounts
from fleet_server.core.drift import FeatureVerdict, compare_with_training
from fleet_server.core.drift_rules import chi_square_p, kolmogorov_p, population_stability

Floats = NDArray[np.float64]


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


def verdicts(
    baseline: Baseline, counts: WindowCounts, drifted: frozenset[str] = frozenset()
) -> tuple[FeatureVerdict, ...]:
    features, output = compare_with_training(baseline, counts, drifted)
    return (*features, output)


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


@pytest.mark.parametrize("rows", [100, 400, 2000])
def test_clean_windows_stand_still_in_ninety_nine_percent(rows: int) -> None:
    world, told, tries = World(1), 0, 200
    for _ in range(tries):
        found = verdicts(world.baseline, world.counts(rows))
        told += any("as in training" not in item.explanation for item in found)
    assert told <= 0.01 * tries + 3 * (tries * 0.01 * 0.99) ** 0.5


def test_half_a_sigma_is_told_in_words_and_the_verdict_is_the_monitors() -> None:
    world = World(3)
    told = verdicts(world.baseline, world.moved(500, 0.5), frozenset({"x0"}))[0]
    assert told.drifted
    assert told.explanation.startswith("x0 rose by about 0.")
    assert told.shift_sigma == pytest.approx(0.5, abs=0.15)
    assert not verdicts(world.baseline, world.moved(500, 0.5))[0].drifted


def test_a_shift_too_small_to_matter_is_told_as_such() -> None:
    world = World(4)
    found = verdicts(world.baseline, world.moved(20_000, -0.2))[0]
    assert "too little to matter" in found.explanation


def test_categories_have_no_order_and_no_level() -> None:
    column = FeatureBaseline("mode", 0.0, 2.0, (0.5, 1.5), (600, 300, 100), 0, 0.5, 0.67, (0.0, 1.0, 2.0))
    baseline = Baseline(1000, (column,), OutputBaseline((), (500, 500)))
    counts = FeatureCounts((100, 300, 80), over=20, total=500.0, squares=900.0)
    window = WindowCounts(500, 0, 0, (counts,), (250, 250), (), (0,) * LATENCY_BUCKETS)
    found = verdicts(baseline, window)[0]
    assert found.p_value < 1e-6
    assert found.shift_sigma == 0.0
    assert "unknown category in 4%" in found.explanation
    assert "is 0 in 20% of the rows, 60% before" in found.explanation


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
    verdict = verdicts(world.baseline, counts_of(world.baseline, rows, outputs))[column]
    assert verdict.p_value < 1e-3
    assert told in verdict.explanation


def test_a_column_that_is_missing_altogether_is_drift() -> None:
    world = World(10)
    rows, outputs = world.rows(300)
    rows[:, 2] = np.nan
    verdict = verdicts(world.baseline, counts_of(world.baseline, rows, outputs))[2]
    assert verdict.p_value < 1e-3
    assert verdict.missing_ratio == 1.0


def test_the_output_drifts_by_itself() -> None:
    world = World(11)
    rows, _ = world.rows(400)
    output = verdicts(world.baseline, counts_of(world.baseline, rows, np.full(400, 2)))[-1]
    assert output.p_value < 1e-3
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
