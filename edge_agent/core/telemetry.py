"""Counting what a model saw and answered: many rows at once, into the shape of `contract.windows`.

House rules: arrays in, integers added; no clock, no lock (the worker's meter has both). All comparisons of inputs are
in float32, the type in which rows reach a model, so that a training value at an edge or at the end of the range is
counted on the side where training had it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline
from edge_agent.contract.windows import (
    CONFIDENCE_BINS,
    LATENCY_BUCKETS,
    FeatureCounts,
    Feedback,
    WindowCounts,
)

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

FOLD_ROWS = 1024
# Slots of a feature's counts after its bins.
_UNDER, _OVER, _MISSING, _INVALID, _EXTRA = 0, 1, 2, 3, 4
# Digits of a window's sums after the point: far under what sampling adds, and a quarter less on the wire.
_MOMENT_DIGITS = 2


@dataclass(frozen=True)
class CountingTable:
    """A baseline as arrays, made once per model: `edges` are (steps, features), padded with +inf."""

    features: int
    bins: tuple[int, ...]
    width: int
    low: Floats
    high: Floats
    edges: Floats
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    outputs: int
    output_edges: Floats | None
    confidence: int


@dataclass
class Tally:
    """Counts under way. Everything in it adds; `counts` has a row of bins, under, over, missing, invalid a feature."""

    table: CountingTable
    counts: Counts
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    outputs: Counts
    confidence: Counts
    confidence_sum: float = 0.0
    rows: int = 0
    errors: int = 0
    rejected: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * LATENCY_BUCKETS)
    feedback_n: int = 0
    feedback_correct: int = 0
    feedback_abs_error: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.rows or self.rejected or self.feedback_n)


def table_of(baseline: Baseline, *, labels: int) -> CountingTable:
    """Return the arrays of a baseline; with `labels` 0 the outputs are bins of the first column's value."""
    features = baseline.features
    steps = max(len(feature.edges) for feature in features)
    edges = np.full((steps, len(features)), np.inf, np.float32)
    for column, feature in enumerate(features):
        edges[: len(feature.edges), column] = feature.edges
    return CountingTable(
        features=len(features),
        bins=tuple(len(feature.counts) for feature in features),
        width=steps + 1 + _EXTRA,
        low=np.array([feature.low for feature in features], np.float32),
        high=np.array([feature.high for feature in features], np.float32),
        edges=edges,
        mean=np.array([feature.mean for feature in features], np.float64),
        std=np.array([feature.std or 1.0 for feature in features], np.float64),
        outputs=labels or len(baseline.output.edges) + 1,
        output_edges=None if labels else np.array(baseline.output.edges, np.float32),
        confidence=CONFIDENCE_BINS if baseline.output.confidence else 0,
    )


def new_tally(table: CountingTable) -> Tally:
    """Return empty counts."""
    return Tally(
        table=table,
        counts=np.zeros((table.features, table.width), np.int64),
        total=np.zeros(table.features),
        squares=np.zeros(table.features),
        outputs=np.zeros(table.outputs, np.int64),
        confidence=np.zeros(table.confidence, np.int64),
    )


def fold_inputs(tally: Tally, x: Floats) -> None:
    """Count rows of inputs (rows, features) into their bins; all features at once."""
    table = tally.table
    width = table.width
    first_extra = width - _EXTRA
    slot = np.zeros(x.shape, np.intp)
    for step in table.edges:  # the number of edges below x is its bin; a padded edge is never below
        slot += x > step
    slot[x < table.low] = first_extra + _UNDER
    slot[x > table.high] = first_extra + _OVER
    finite = np.isfinite(x)
    if not finite.all():
        slot[np.isnan(x)] = first_extra + _MISSING
        slot[np.isinf(x)] = first_extra + _INVALID
    slot += np.arange(table.features) * width
    tally.counts += np.bincount(slot.ravel(), minlength=table.features * width).reshape(table.features, width)
    z = np.where(finite, (x - table.mean) / table.std, 0.0)
    tally.total += z.sum(axis=0)
    tally.squares += np.einsum("ij,ij->j", z, z)


def fold_labels(tally: Tally, labels: NDArray[np.intp], confidences: Floats | None) -> None:
    """Count answered labels by index, and the largest probability of each row where scores are probabilities."""
    tally.outputs += np.bincount(labels, minlength=tally.table.outputs)
    if confidences is not None and tally.table.confidence:
        bins = np.clip((confidences * CONFIDENCE_BINS).astype(np.intp), 0, CONFIDENCE_BINS - 1)
        tally.confidence += np.bincount(bins, minlength=CONFIDENCE_BINS)
        tally.confidence_sum += float(confidences.sum(dtype=np.float64))


def fold_values(tally: Tally, values: Floats) -> None:
    """Count answered values of a regression (its first target) into the bins of the baseline's outputs."""
    bins = np.searchsorted(_output_edges(tally.table), values, side="left")
    tally.outputs += np.bincount(bins, minlength=tally.table.outputs)


def count_flawed(tally: Tally, feature: int, *, missing: bool) -> None:
    """Count one value of a refused row: missing, or invalid (no finite number)."""
    tally.counts[feature, tally.table.width - _EXTRA + (_MISSING if missing else _INVALID)] += 1


def counts_of(tally: Tally) -> WindowCounts:
    """Return the counts as they go on the wire."""
    return WindowCounts(
        rows=tally.rows,
        errors=tally.errors,
        rejected=tally.rejected,
        features=tuple(_feature_counts(tally, index) for index in range(tally.table.features)),
        outputs=_ints(tally.outputs),
        confidence=_ints(tally.confidence),
        latency=tuple(tally.latency),
        feedback=Feedback(tally.feedback_n, tally.feedback_correct, tally.feedback_abs_error),
    )


def _feature_counts(tally: Tally, index: int) -> FeatureCounts:
    row, bins = tally.counts[index], tally.table.bins[index]
    under, over, missing, invalid = _ints(row[-_EXTRA:])
    return FeatureCounts(
        bins=_ints(row[:bins]),
        under=under,
        over=over,
        missing=missing,
        invalid=invalid,
        total=round(float(tally.total[index]), _MOMENT_DIGITS),
        squares=round(float(tally.squares[index]), _MOMENT_DIGITS),
    )


def _output_edges(table: CountingTable) -> Floats:
    if table.output_edges is None:
        raise ValueError("labels are counted by index, not by value")
    return table.output_edges


def _ints(array: NDArray[Any]) -> tuple[int, ...]:
    return tuple(array.tolist())
