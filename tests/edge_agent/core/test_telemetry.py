"""The vectorised fold against a naive reference, and figures drawn from tallies."""

import itertools
import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.windows import LATENCY_BUCKETS, WindowCounts, merge
from edge_agent.core import telemetry, telemetry_health

VALUES = st.one_of(
    st.floats(-6, 6, width=32), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, math.nan, math.inf, -math.inf])
)


@st.composite
def baselines(draw: st.DrawFn) -> Baseline:
    features = []
    for index in range(draw(st.integers(1, 4))):
        edges = sorted(set(draw(st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), max_size=6))))
        low = draw(st.sampled_from([-5.0, -2.0]))
        high = draw(st.sampled_from([2.0, 5.0]))
        std = draw(st.sampled_from([0.0, 0.5, 2.0]))
        feature = FeatureBaseline(f"f{index}", low, high, tuple(edges), (1,) * (len(edges) + 1), 0, 0.25, std)
        features.append(draw(st.sampled_from([feature, categorical(edges or [1.0], index)])))
    return Baseline(10, tuple(features), OutputBaseline((), (5, 5), (1,) * 10))


def categorical(values: list[float], index: int = 0) -> FeatureBaseline:
    """A column that had these values in training, and no others."""
    edges = tuple((a + b) / 2 for a, b in itertools.pairwise(values))
    return FeatureBaseline(
        f"f{index}", values[0], values[-1], edges, (1,) * len(values), 0, 0.25, 0.5, categories=tuple(values)
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Baseline, np.ndarray]:
    baseline = draw(baselines())
    width = len(baseline.features)
    rows = draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=30))
    return baseline, np.array(rows, np.float32)


def _naive(feature: FeatureBaseline, column: np.ndarray) -> tuple[list[int], int, int, int, int, float, float]:
    bins = [0] * (len(feature.edges) + 1)
    under = over = missing = invalid = 0
    total = squares = 0.0
    for value in column.tolist():
        if math.isnan(value):
            missing += 1
            continue
        if math.isinf(value):
            invalid += 1
            continue
        z = (value - feature.mean) / (feature.std or 1.0)
        total += z
        squares += z * z
        if feature.categories:
            if value in feature.categories:
                bins[feature.categories.index(value)] += 1
            else:
                over += 1
        elif value < feature.low:
            under += 1
        elif value > feature.high:
            over += 1
        else:
            bins[bisect_left(feature.edges, value)] += 1
    return bins, under, over, missing, invalid, total, squares


def _folded(baseline: Baseline, x: np.ndarray) -> WindowCounts:
    tally = telemetry.new_tally(telemetry.table_of(baseline, labels=2))
    telemetry.fold_inputs(tally, x)
    tally.rows += len(x)
    return telemetry.counts_of(tally)


@settings(max_examples=200)
@given(cases())
def test_a_fold_counts_as_one_value_at_a_time_would(case: tuple[Baseline, np.ndarray]) -> None:
    baseline, x = case
    for column, (feature, counts) in enumerate(zip(baseline.features, _folded(baseline, x).features, strict=True)):
        bins, under, over, missing, invalid, total, squares = _naive(feature, x[:, column])
        assert list(counts.bins) == bins
        assert (counts.under, counts.over, counts.missing, counts.invalid) == (under, over, missing, invalid)
        assert counts.total == pytest.approx(total, abs=0.005 + 1e-6)  # rounded to 0.01 on the wire
        assert counts.squares == pytest.approx(squares, abs=0.005 + 1e-6)


@given(cases(), st.integers(0, 30))
def test_folding_parts_and_merging_is_folding_the_whole(case: tuple[Baseline, np.ndarray], cut: int) -> None:
    baseline, x = case
    whole = _folded(baseline, x)
    parts = merge(_folded(baseline, x[:cut]), _folded(baseline, x[cut:]))
    assert parts.rows == whole.rows
    for a, b in zip(parts.features, whole.features, strict=True):
        assert (a.bins, a.under, a.over, a.missing, a.invalid) == (b.bins, b.under, b.over, b.missing, b.invalid)
        assert a.total == pytest.approx(b.total, abs=0.015 + 1e-6)  # three roundings to 0.01


def test_an_unseen_category_is_over_wherever_it_lies() -> None:
    baseline = Baseline(10, (categorical([1.0, 2.0, 7.0]),), OutputBaseline((), (5, 5)))
    x = np.array([[1], [2], [2], [7], [0], [3], [1.5], [8], [math.nan], [-math.inf]], np.float32)
    (counts,) = _folded(baseline, x).features
    assert (counts.bins, counts.under, counts.over, counts.missing, counts.invalid) == ((1, 2, 1), 0, 4, 1, 1)


def test_a_stuck_sensor_is_one_full_bin_and_sums_without_spread() -> None:
    feature = FeatureBaseline("f", -3.0, 3.0, (-1.0, 0.0, 1.0), (5, 5, 5, 5), 0, 0.0, 1.0)
    (counts,) = _folded(
        Baseline(20, (feature,), OutputBaseline((), (5, 5))), np.full((50, 1), 0.5, np.float32)
    ).features
    assert counts.bins == (0, 0, 50, 0)
    assert counts.squares / counts.n - (counts.total / counts.n) ** 2 == pytest.approx(0.0, abs=1e-3)


def test_many_rows_of_many_columns_count_as_their_parts_do() -> None:
    """More than is counted at once, of more columns than the work array holds."""
    chance = np.random.default_rng(5)
    feature = FeatureBaseline("f", -3.0, 3.0, (-1.0, 0.0, 1.0), (5, 5, 5, 5), 0, 10.0, 0.5)
    wide = Baseline(20, (feature,) * 300, OutputBaseline((), (5, 5)))
    x = chance.standard_normal((700, 300)).astype(np.float32)
    x[chance.random(x.shape) < 0.01] = np.nan
    x[3, 7] = np.inf
    whole = _folded(wide, x)
    for column in (0, 7, 123, 299):
        bins, under, over, missing, invalid, total, squares = _naive(feature, x[:, column])
        counts = whole.features[column]
        assert list(counts.bins) == bins
        assert (counts.under, counts.over, counts.missing, counts.invalid) == (under, over, missing, invalid)
        assert counts.total == pytest.approx(total, abs=0.0051)
        assert counts.squares == pytest.approx(squares, abs=0.0051)


def test_a_training_value_at_the_end_of_the_range_is_inside_although_float32_rounds_it_up() -> None:
    feature = FeatureBaseline("f", 0.0, 0.1, (), (10,), 0, 0.0, 1.0)
    counts = _folded(Baseline(10, (feature,), OutputBaseline((), (5, 5))), np.array([[0.1]], np.float32))
    assert counts.features[0].bins == (1,)


def test_labels_confidence_and_values_are_counted() -> None:
    feature = FeatureBaseline("f", 0.0, 1.0, (), (10,), 0, 0.0, 1.0)
    by_label = telemetry.new_tally(
        telemetry.table_of(Baseline(10, (feature,), OutputBaseline((), (5, 5), (1,) * 10)), labels=2)
    )
    telemetry.fold_labels(by_label, np.array([0, 1, 1]), np.array([0.0, 0.55, 1.0], np.float32))
    counts = telemetry.counts_of(by_label)
    assert counts.outputs == (1, 2)
    assert counts.confidence == (1, 0, 0, 0, 0, 1, 0, 0, 0, 1)
    assert telemetry_health.mean_confidence((by_label,)) == pytest.approx(1.55 / 3)
    by_value = telemetry.new_tally(
        telemetry.table_of(Baseline(10, (feature,), OutputBaseline((0.0, 1.0), (1, 1, 1))), labels=0)
    )
    telemetry.fold_values(by_value, np.array([-1.0, 0.0, 0.5, 1.0, 2.0], np.float32))
    assert telemetry.counts_of(by_value).outputs == (2, 2, 1)


def _normal_tally(rows: int, shift: float) -> tuple[telemetry.CountingTable, np.ndarray, telemetry.Tally]:
    chance = np.random.default_rng(3)
    train = chance.standard_normal((2000, 3)).astype(np.float32)
    features = []
    for index, column in enumerate(train.T):
        edges = np.quantile(column, np.arange(1, 20) / 20)
        counts = np.bincount(np.searchsorted(edges, column, side="left"), minlength=20)
        features.append(
            FeatureBaseline(
                f"f{index}",
                float(column.min()),
                float(column.max()),
                tuple(edges.tolist()),
                tuple(counts.tolist()),
                0,
                0.0,
                1.0,
            )
        )
    baseline = Baseline(2000, tuple(features), OutputBaseline((), (5, 5)))
    table = telemetry.table_of(baseline, labels=2)
    tally = telemetry.new_tally(table)
    x = chance.standard_normal((rows, 3)).astype(np.float32)
    x[:, 1] += shift
    telemetry.fold_inputs(tally, x)
    return table, telemetry_health.training_counts(baseline, table), tally


@pytest.mark.parametrize(
    ("rows", "shift", "low", "high"), [(199, 5.0, 0, 0), (1000, 0.0, 0, 0.02), (1000, 1.0, 0.5, 2), (1000, 50.0, 5, 20)]
)
def test_psi_is_debiased_sees_a_shift_and_waits_for_rows(rows: int, shift: float, low: float, high: float) -> None:
    table, training, tally = _normal_tally(rows, shift)
    assert low <= telemetry_health.max_psi(training, table, (tally,)) <= high


def test_ratios_of_missing_and_out_of_range_values() -> None:
    _table, _training, tally = _normal_tally(10, 50.0)
    telemetry.count_flawed(tally, 0, missing=True)
    telemetry.count_flawed(tally, 2, missing=False)
    missing, out_of_range = telemetry_health.missing_and_range_ratio((tally,))
    assert missing == pytest.approx(1 / 32)
    assert out_of_range >= 10 / 30
    assert telemetry_health.latency_counts((tally, tally)) == (0,) * LATENCY_BUCKETS
