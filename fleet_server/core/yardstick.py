"""What windows are measured by: a baseline as arrays, and the figures of each window for each column.

House rules: the columns are the input's features, then the answers, then the confidence where there is one. A column is
ordered or not (categories, labels). The figures of an ordered column are its level and spread in normal scores, so
that a level is read in σ whatever the column's distribution is, and one wild value cannot move it; of any column, the
shares of outside, missing and invalid values; of an unordered one, the share of each category.

Normal scores: B. L. van der Waerden (1952), Order tests for the two-sample problem, Indagationes Mathematicae 14. A bin
between the shares a and b of training has the mean of a standard normal variable between its quantiles there,
(φ(Φ⁻¹(a)) - φ(Φ⁻¹(b))) / (b - a).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline
from fleet_server.core.count_arrays import INVALID, MISSING, OVER, UNDER, CountArrays
from fleet_server.core.packed_counts import EXTRA, Shape

Floats = NDArray[np.float64]
LEVEL, SPREAD, OUTSIDE, ABSENT, BROKEN = range(5)
FIGURES = 5
OUTPUT, CONFIDENCE = "output", "confidence"
# Labels beyond so many are counted together: what is rare shows in none of them by itself.
MAX_LABELS = 32
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """A baseline as arrays over C columns of at most W bins.

    `training` (C, W) counts; `scores` (C, W + 2) of the bins, under and over; `ordered` (C,);
    `stds` (C,) of the values; `labels` the answers' places that have a bin of their own, the others share the last one.
    """

    shape: Shape
    names: tuple[str, ...]
    training: Floats
    missing: Floats
    scores: Floats
    ordered: NDArray[np.bool_]
    stds: Floats
    labels: NDArray[np.intp] | None

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return len(self.names)

    @property
    def width(self) -> int:
        """Bins of the widest column."""
        return int(self.training.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Windows by column: `bins` (windows, C, W), `extras` (windows, C, 4) as in `CountArrays`, `shift` (windows, C).

    `shift` is the mean of the values themselves, in σ of training; 0 for what has none.
    """

    bins: Floats
    extras: Floats
    shift: Floats

    @property
    def n(self) -> Floats:
        """(windows, C): values that were counted, outside ones included."""
        found: Floats = self.bins.sum(axis=2) + self.extras[:, :, UNDER] + self.extras[:, :, OVER]
        return found


def yardstick_of(baseline: Baseline) -> Yardstick:
    """Return the arrays of a baseline."""
    output = baseline.output
    shape = Shape(tuple(len(item.counts) for item in baseline.features), len(output.counts), len(output.confidence))
    answers = np.array(output.counts, np.float64)
    labels = None
    if not output.edges and len(answers) > MAX_LABELS:
        labels = np.argsort(-answers, kind="stable")[: MAX_LABELS - 1]
        answers = np.append(answers[labels], answers.sum() - answers[labels].sum())
    known = [np.array(item.counts, np.float64) for item in baseline.features] + [answers]
    ordered = [not item.categories for item in baseline.features] + [bool(output.edges)]
    names = [item.name for item in baseline.features] + [OUTPUT]
    if output.confidence:
        known.append(np.array(output.confidence, np.float64))
        ordered.append(True)
        names.append(CONFIDENCE)
    width = max(len(item) for item in known)
    training = np.zeros((len(known), width))
    scores = np.zeros((len(known), width + 2))
    for column, counts in enumerate(known):
        training[column, : len(counts)] = counts
        if ordered[column]:
            scores[column] = _normal_scores(training[column])
    missing, stds = np.zeros(len(known)), np.zeros(len(known))
    missing[: len(baseline.features)] = [item.missing for item in baseline.features]
    stds[: len(baseline.features)] = [item.std for item in baseline.features]
    return Yardstick(shape, tuple(names), training, missing, scores, np.array(ordered), stds, labels)


def columns_of(yardstick: Yardstick, counts: CountArrays) -> Columns:
    """Return windows by column.

    Raises:
        ValueError: they are of another shape than the baseline.
    """
    if counts.shape != yardstick.shape:
        raise ValueError("windows of another shape than the baseline")
    windows, features = len(counts), len(counts.shape.bins)
    bins = np.zeros((windows, yardstick.columns, yardstick.width))
    extras = np.zeros((windows, yardstick.columns, EXTRA))
    shift = np.zeros((windows, yardstick.columns))
    bins[:, :features, : counts.shape.width] = counts.bins
    extras[:, :features] = counts.extras
    answers = counts.outputs
    if yardstick.labels is not None:
        told = answers[:, yardstick.labels]
        answers = np.column_stack([told, answers.sum(axis=1) - told.sum(axis=1)])
    bins[:, features, : answers.shape[1]] = answers
    if counts.shape.confidence:
        bins[:, features + 1, : counts.shape.confidence] = counts.confidence
    found = Columns(bins, extras, shift)
    varied = yardstick.stds[:features] > 0
    totals = np.nan_to_num(counts.moments[:, 0], posinf=0.0, neginf=0.0)  # a device's own sums are not to be trusted
    np.divide(totals, found.n[:, :features], out=shift[:, :features], where=(found.n[:, :features] > 0) & varied)
    return found


def measure(yardstick: Yardstick, columns: Columns) -> tuple[Floats, Floats]:
    """Return (windows, C, 5) figures, and (windows, C, W) shares of the bins."""
    n = np.maximum(columns.n, 1.0)
    seen = np.concatenate([columns.bins, columns.extras[:, :, [UNDER, OVER]]], axis=2)
    share = seen / n[:, :, None]
    level = np.einsum("ncb,cb->nc", share, yardstick.scores)
    spread = np.einsum("ncb,cb->nc", share, yardstick.scores**2) - level**2
    absent, broken = columns.extras[:, :, MISSING], columns.extras[:, :, INVALID]
    rows = np.maximum(columns.n + absent + broken, 1.0)
    outside = (columns.extras[:, :, UNDER] + columns.extras[:, :, OVER]) / n
    figures = np.stack([level, spread, outside, absent / rows, broken / rows], axis=2)
    return figures, share[:, :, : yardstick.width]


def _normal_scores(counts: Floats) -> Floats:
    """Return the scores of the bins, of under and of over; centred on training."""
    whole = float(counts.sum())
    scores = np.zeros(len(counts) + 2)
    if whole <= 0:
        return scores
    ends = np.concatenate([[0.0], np.cumsum(counts) / whole])
    density = [_NORMAL.pdf(_NORMAL.inv_cdf(end)) if 0 < end < 1 else 0.0 for end in ends]
    held = counts > 0
    scores[:-2][held] = (np.array(density)[:-1] - np.array(density)[1:])[held] / (counts[held] / whole)
    # Beyond all of m training values: about where the largest of m + 1 is to be expected.
    scores[-1] = _NORMAL.inv_cdf(1 - 0.5 / (whole + 1))
    scores[-2] = -scores[-1]
    # A bin that training left empty lies between its neighbours.
    for place in np.flatnonzero(~held):
        scores[place] = _NORMAL.inv_cdf(min(max(float(ends[place]), 0.5 / whole), 1 - 0.5 / whole))
    return scores
