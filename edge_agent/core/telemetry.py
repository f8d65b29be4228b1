"""Counting what a model saw and answered: many rows at once, into the shape of `contract.windows`.

House rules: arrays in, integers added; no clock, no lock (the worker's meter has both). All comparisons of inputs are
in float32, the type in which rows reach a model, so that a training value at an edge or at the end of the range is
counted on the side where training had it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline, FeatureBaseline
from edge_agent.contract.windows import (
    CONFIDENCE_BINS,
    LATENCY_BUCKETS,
    FeatureCounts,
    Feedback,
    WindowCounts,
)

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

# Rows that are counted at once, by their number of columns; and numbers in the work array of the moments, 128 KiB.
FOLD_ROWS_MIN, FOLD_ROWS_MAX, FOLD_VALUES = 256, 4096, 65_536
_WORK_VALUES = 16_384
# The mark of a tally that is empty.
NOTHING = (0, 0, 0)
# Slots of a feature's counts after its bins.
UNDER, OVER, MISSING, INVALID = -4, -3, -2, -1
_EXTRA = 4
# Digits of a window's sums after the point: far under what sampling adds, and a quarter less on the wire.
_MOMENT_DIGITS = 2


@dataclass(frozen=True)
class CountingTable:
    """A baseline as arrays, made once per model, with the work array of a fold: one thread at a time.

    `steps` has a line a feature, rising: of a sorted column, how many values are at most each step says how many are
    between any two. The first is just below the training range, the last is its end; a shorter line repeats its last.
    Of a categorical column they are each category and what is just below it, so that every second gap is a category.
    """

    features: int
    bins: tuple[int, ...]
    width: int
    steps: tuple[Floats, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    categorical: NDArray[np.intp]
    outputs: int
    output_edges: Floats | None
    confidence: int
    fold_rows: int
    work: NDArray[np.float64]


@dataclass
class Tally:
    """Counts under way. Everything in it adds; `counts` has a row for each feature: bins, then `UNDER` to `INVALID`."""

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
    memory_mb: float = 0.0

    @property
    def mark(self) -> tuple[int, int, int]:
        """What has grown where anything was counted since."""
        return self.rows, self.rejected, self.feedback_n

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return self.mark == NOTHING


def table_of(baseline: Baseline, *, labels: int) -> CountingTable:
    """Return the arrays of a baseline; with `labels` 0 the outputs are bins of the first column's value."""
    features = baseline.features
    return CountingTable(
        features=len(features),
        bins=tuple(len(feature.counts) for feature in features),
        width=max(len(feature.counts) for feature in features) + _EXTRA,
        steps=_steps(features),
        mean=np.array([[feature.mean] for feature in features], np.float64),
        scale=np.array([1.0 / (feature.std or 1.0) for feature in features], np.float64),
        categorical=np.array([column for column, one in enumerate(features) if one.categories], np.intp),
        outputs=labels or len(baseline.output.edges) + 1,
        output_edges=None if labels else np.array(baseline.output.edges, np.float32),
        confidence=CONFIDENCE_BINS if baseline.output.confidence else 0,
        fold_rows=min(FOLD_ROWS_MAX, max(FOLD_ROWS_MIN, FOLD_VALUES // len(features))),
        work=np.empty(_WORK_VALUES),
    )


def _steps(features: tuple[FeatureBaseline, ...]) -> tuple[Floats, ...]:
    """Return the steps of `CountingTable`."""
    lines = []
    for feature in features:
        values = np.array(feature.categories or (feature.low,), np.float32)
        below = np.nextafter(values, np.float32(-np.inf))
        if feature.categories:
            lines.append(np.column_stack((below, values)).ravel())
        else:
            lines.append(np.array([*below, *feature.edges, feature.high], np.float32))
    most = max(map(len, lines))
    return tuple(np.pad(line, (0, most - len(line)), mode="edge") for line in lines)


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
    size = tally.table.fold_rows
    for start in range(0, len(x), size):
        _fold_some(tally, x[start : start + size])


def _fold_some(tally: Tally, x: Floats) -> None:
    """Count at most `fold_rows` rows: each column is sorted once, and its steps are found in it."""
    table, counts = tally.table, tally.counts
    columns = np.array(x.T, order="C")
    columns.sort(axis=1)
    lines = [column.searchsorted(steps, "right") for column, steps in zip(columns, table.steps, strict=True)]
    at_most = np.frombuffer(b"".join(lines), np.intp).reshape(len(lines), -1)
    # NaN sorts last, after infinity: the ends of a column say whether all of it is finite.
    flawed = _set_flawed_aside(columns) if not np.isfinite(columns[:, [0, -1]]).all() else None
    gaps = at_most[:, 1:] - at_most[:, :-1]
    under, over = at_most[:, 0], len(x) - at_most[:, -1]
    if flawed is not None:
        missing, above, below = flawed
        counts[:, MISSING] += missing
        counts[:, INVALID] += above + below
        under, over = under - below, over - above - missing
    most = min(gaps.shape[1], table.width - _EXTRA)
    if len(chosen := table.categorical):
        gaps, under, over = _of_categories(gaps, under, over, chosen)
    counts[:, :most] += gaps[:, :most]
    counts[:, UNDER] += under
    counts[:, OVER] += over
    _add_moments(tally, columns)


def _of_categories(
    gaps: Counts, under: Counts, over: Counts, chosen: NDArray[np.intp]
) -> tuple[Counts, Counts, Counts]:
    """Return the counts with those of categorical columns in place: every second gap; all else is over."""
    inside = gaps[chosen, ::2]
    outside = under[chosen] + over[chosen] + gaps[chosen, 1::2].sum(axis=1)
    gaps, under, over = gaps.copy(), under.copy(), over.copy()
    gaps[chosen] = 0
    gaps[chosen, : inside.shape[1]] = inside
    under[chosen], over[chosen] = 0, outside
    return gaps, under, over


def _set_flawed_aside(columns: Floats) -> tuple[Counts, Counts, Counts]:
    """Count NaN, infinity and its negative by column, and make them NaN."""
    missing = np.isnan(columns).sum(axis=1)
    above, below = (columns == np.inf).sum(axis=1), (columns == -np.inf).sum(axis=1)
    columns[~np.isfinite(columns)] = np.nan
    return missing, above, below


def _add_moments(tally: Tally, columns: Floats) -> None:
    """Add the sums of (x - mean) / std and of its square over the values that are no NaN."""
    table = tally.table
    step = max(1, len(table.work) // columns.shape[1])
    for start in range(0, table.features, step):
        some = slice(start, start + step)
        block = columns[some]
        off = table.work[: block.size].reshape(block.shape)
        np.subtract(block, table.mean[some], out=off)
        total = off.sum(axis=1)
        if not np.isfinite(total).all():
            off[np.isnan(off)] = 0.0
            total = off.sum(axis=1)
        scale = table.scale[some]
        tally.total[some] += total * scale
        tally.squares[some] += np.einsum("ij,ij->i", off, off) * scale * scale


def fold_labels(tally: Tally, labels: NDArray[np.intp], confidences: Floats | None) -> None:
    """Count answered labels by index, and the largest probability of each row where scores are probabilities."""
    tally.outputs += np.bincount(labels, minlength=tally.table.outputs)
    if confidences is not None and tally.table.confidence:
        bins = (confidences * CONFIDENCE_BINS).astype(np.intp)
        np.minimum(bins, CONFIDENCE_BINS - 1, out=bins)
        np.maximum(bins, 0, out=bins)
        tally.confidence += np.bincount(bins, minlength=CONFIDENCE_BINS)
        tally.confidence_sum += float(confidences.sum(dtype=np.float64))


def fold_values(tally: Tally, values: Floats) -> None:
    """Count answered values of a regression (its first target) into the bins of the baseline's outputs."""
    bins = np.searchsorted(_output_edges(tally.table), values, side="left")
    tally.outputs += np.bincount(bins, minlength=tally.table.outputs)


def count_flawed(tally: Tally, feature: int, *, missing: bool) -> None:
    """Count one value of a refused row: missing, or invalid (no finite number)."""
    tally.counts[feature, MISSING if missing else INVALID] += 1


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
        memory_mb=round(tally.memory_mb, 1),
    )


def _feature_counts(tally: Tally, index: int) -> FeatureCounts:
    row, bins = tally.counts[index], tally.table.bins[index]
    under, over, missing, invalid = (int(row[slot]) for slot in (UNDER, OVER, MISSING, INVALID))
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
