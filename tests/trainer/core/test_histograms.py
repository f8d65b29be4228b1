"""Baseline histograms: every value in exactly one bin, by the rule of the contract, whatever the column."""

import dataclasses
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_agent.contract.baseline import BINS, BINS_SMALL, Baseline, OutputBaseline
from edge_agent.contract.manifest import OutputSpec, ScoreKind
from edge_agent.core import telemetry
from trainer.core.histograms import bins_for, feature_baseline, output_baseline

SINGLES = st.floats(-1e6, 1e6, width=32)
FEW_VALUES = st.sampled_from([0.0, 1.0, 16.0])
COLUMNS = arrays.arrays(np.float32, st.integers(1, 1500), elements=SINGLES | FEW_VALUES | st.just(float("nan")))


@given(column=COLUMNS.filter(lambda column: bool(np.isfinite(column).any())))
def test_a_device_that_counts_the_training_rows_finds_the_same_bins(column: np.ndarray) -> None:
    described = feature_baseline("c", column)
    counted = [0] * len(described.counts)
    for value in column[np.isfinite(column)].tolist():
        assert described.low <= value <= described.high
        counted[bisect_left(described.edges, value)] += 1
    assert tuple(counted) == described.counts
    assert sum(described.counts) + described.missing == len(column)


@given(column=COLUMNS.filter(lambda column: bool(np.isfinite(column).any())))
def test_edges_rise_and_no_bin_is_empty(column: np.ndarray) -> None:
    described = feature_baseline("c", column)
    assert len(described.counts) <= bins_for(len(column))
    assert all(count > 0 for count in described.counts)
    assert list(described.edges) == sorted(set(described.edges))


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([0, 1] * 10, (0.0, 1.0)),
        ([-2, 5, 7] * 10, (-2.0, 5.0, 7.0)),
        ([1, 2] * 9, ()),  # too few rows a value
        ([4] * 50, ()),  # a constant says more by what is under and over it
        ([0, 0.5] * 50, ()),  # no whole numbers
        (list(range(13)) * 50, ()),  # too many
        ([0, 2**23] * 50, ()),  # halves are lost there
    ],
)
def test_few_whole_values_are_categories(values: list[float], categories: tuple[float, ...]) -> None:
    described = feature_baseline("c", np.array([*values, np.nan], np.float32))
    assert described.categories == categories
    assert sum(described.counts) == len(values)
    if categories:
        assert described.counts == (len(values) // len(categories),) * len(categories)


def test_a_device_counts_the_training_rows_of_a_categorical_column_the_same() -> None:
    column = np.random.default_rng(1).choice([0.0, 3.0, 9.0], (500, 1)).astype(np.float32)
    described = feature_baseline("c", column[:, 0])
    for known in (described, dataclasses.replace(described, categories=())):  # an agent of today, and an older one
        tally = telemetry.new_tally(telemetry.table_of(Baseline(500, (known,), OutputBaseline((), (1, 1))), labels=2))
        telemetry.fold_inputs(tally, column)
        (counts,) = telemetry.counts_of(tally).features
        assert (counts.bins, counts.under, counts.over) == (described.counts, 0, 0)


def test_distinct_values_fill_the_bins_evenly() -> None:
    described = feature_baseline("c", np.arange(2000, dtype=np.float32))
    assert len(described.counts) == BINS
    assert max(described.counts) - min(described.counts) <= 1
    assert len(feature_baseline("c", np.arange(999, dtype=np.float32)).counts) == BINS_SMALL


def test_a_point_mass_is_one_bin() -> None:
    column = np.concatenate([np.zeros(600), np.arange(1, 401)]).astype(np.float32)
    described = feature_baseline("c", column)
    assert described.edges[0] == 0.0
    assert described.counts[0] == 600


def test_a_constant_column_has_one_bin() -> None:
    described = feature_baseline("c", np.full(50, 3.5, dtype=np.float32))
    assert (described.edges, described.counts, described.std) == ((), (50,), 0.0)


def test_a_column_without_values_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'weight' has no value"):
        feature_baseline("weight", np.full(3, np.nan, dtype=np.float32))


def test_outputs_count_labels_and_confidence() -> None:
    output = OutputSpec("scores", ScoreKind.PROBABILITY, 2, ("no", "yes"))
    described = output_baseline(output, np.array([[1.0, 0.0], [0.45, 0.55], [0.0, 1.0]]))
    assert described.counts == (1, 2)
    assert described.confidence == (0, 0, 0, 0, 0, 1, 0, 0, 0, 2)


def test_values_get_bins_of_their_own() -> None:
    described = output_baseline(OutputSpec("scores", ScoreKind.VALUE, 1), np.arange(100.0).reshape(-1, 1))
    assert sum(described.counts) == 100
    assert len(described.edges) == BINS_SMALL - 1
