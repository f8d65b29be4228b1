"""Baseline histograms of training rows, by the bin rule of `edge_agent.contract.baseline`.

House rules: everything is computed on values rounded to float32, since that is what a device counts; an edge is always
a value that occurred in training, so a point mass (a pixel that is mostly 0) is exactly one bin. A column of 2 to 12
distinct whole numbers, with 10 training rows a value in the mean at least, is categorical: each of its values is a bin,
whatever its share, and a value that never occurred is told apart even where it lies between two that did.
"""

from itertools import pairwise

import numpy as np

from edge_agent.contract.baseline import (
    BINS,
    BINS_SMALL,
    SMALL_TRAINING_ROWS,
    Baseline,
    FeatureBaseline,
    OutputBaseline,
)
from edge_agent.contract.manifest import OutputSpec, ScoreKind
from edge_agent.contract.windows import CONFIDENCE_BINS
from trainer.core.arrays import Floats, Singles
from trainer.core.labels import label_indices

MAX_CATEGORIES, ROWS_PER_CATEGORY = 12, 10
# Up to here a float32 has halves, so that agents that know no categories count the same values in the same bins.
MAX_CATEGORY = 2**22


def bins_for(rows: int) -> int:
    """Return how many quantile bins this many rows carry."""
    return BINS_SMALL if rows < SMALL_TRAINING_ROWS else BINS


def quantile_edges(values: Floats, bins: int) -> tuple[float, ...]:
    """Return rising inner edges that cut finite values in at most `bins` bins of about equal count.

    An edge is the smallest value whose share of values at or below it reaches k/bins (the inverse of the empirical
    distribution function); repeated edges fall together, and the largest value is none, since no value is above it.
    """
    shares = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    return tuple(float(edge) for edge in edges[edges < values.max()])


def count_bins(values: Floats, edges: tuple[float, ...]) -> tuple[int, ...]:
    """Count values in `edges[i-1] < x <= edges[i]`."""
    indices = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    return tuple(int(n) for n in np.bincount(indices, minlength=len(edges) + 1))


def find_categories(values: Floats) -> tuple[float, ...]:
    """Return the values of a categorical column, rising; none where it is no such column (see above)."""
    found = np.unique(values)
    few = 2 <= len(found) <= MAX_CATEGORIES and len(values) >= ROWS_PER_CATEGORY * len(found)
    if not few or np.any(found != np.round(found)) or np.abs(found).max() > MAX_CATEGORY:
        return ()
    return tuple(float(value) for value in found)


def feature_baseline(name: str, column: Singles) -> FeatureBaseline:
    """Describe one training column (float32, NaN where a value is missing).

    Raises:
        ValueError: the column has no value at all.
    """
    values = column[np.isfinite(column)].astype(np.float64)
    if not len(values):
        raise ValueError(f"column {name!r} has no value in the training rows")
    categories = find_categories(values)
    halfway = tuple((low + high) / 2 for low, high in pairwise(categories))
    edges = halfway if categories else quantile_edges(values, bins_for(len(column)))
    return FeatureBaseline(
        name=name,
        low=float(values.min()),
        high=float(values.max()),
        edges=edges,
        counts=count_bins(values, edges),
        missing=len(column) - len(values),
        mean=float(values.mean()),
        std=float(values.std()),
        categories=categories,
    )


def output_baseline(output: OutputSpec, scores: Floats) -> OutputBaseline:
    """Describe what a model answered on held-out rows; of several regression targets, the first."""
    if output.kind is ScoreKind.VALUE:
        values = scores[:, 0]
        edges = quantile_edges(values, bins_for(len(values)))
        return OutputBaseline(edges, count_bins(values, edges))
    counts = np.bincount(label_indices(output, scores), minlength=len(output.labels))
    confidence: tuple[int, ...] = ()
    if output.kind is ScoreKind.PROBABILITY:
        top = np.clip((scores.max(axis=1) * CONFIDENCE_BINS).astype(np.intp), 0, CONFIDENCE_BINS - 1)
        confidence = tuple(int(n) for n in np.bincount(top, minlength=CONFIDENCE_BINS))
    return OutputBaseline((), tuple(int(n) for n in counts), confidence)


def feature_baselines(columns: tuple[str, ...], x: Singles) -> tuple[FeatureBaseline, ...]:
    """Describe every training column, in order; see `feature_baseline`."""
    return tuple(feature_baseline(name, x[:, index]) for index, name in enumerate(columns))


def baseline(features: tuple[FeatureBaseline, ...], rows: int, output: OutputSpec, scores: Floats) -> Baseline:
    """Join the description of training inputs with that of a variant's own answers on held-out rows."""
    return Baseline(rows, features, output_baseline(output, scores))
