"""Distances, votes and the nearest in numpy.

A squared distance is the sum of squared differences: the expanded square loses all digits to points that are near.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.kernels.primitives import Metric, Weighting
from edge_agent.kernels.rounding import Singles

# As many differences (rows times points times columns) are kept at once.
DIFFERENCES = 1 << 18


def make_distance(points: Singles, metric: Metric) -> Callable[[Singles], Singles]:
    """Return the function from rows to their distances to each of `points`."""
    at_once = max(1, DIFFERENCES // points.size)

    def measure(x: Singles) -> Any:
        apart = x[:, None, :] - points[None]
        match metric:
            case Metric.SQUARED:
                return np.einsum("ijk,ijk->ij", apart, apart)
            case Metric.MANHATTAN:
                return np.abs(apart).sum(axis=2)
            case Metric.CHEBYSHEV:
                return np.abs(apart).max(axis=2)

    def measure_in_parts(x: Singles) -> Singles:
        parts = [measure(x[begin : begin + at_once]) for begin in range(0, max(len(x), 1), at_once)]
        together: Singles = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return together

    return measure_in_parts


def make_vote(k: int, values: Singles, weighting: Weighting) -> Callable[[Singles], Singles]:
    """Return the function from distances to the mean of the k nearest's values."""

    def vote(distances: Singles) -> Any:
        nearest = distances.argsort(axis=1, kind="stable")[:, :k]
        words = values.take(nearest, axis=0)
        if weighting is Weighting.UNIFORM:
            return words.mean(axis=1, dtype=np.float64).astype(np.float32)
        near = np.take_along_axis(distances, nearest, axis=1)
        touching = near == 0
        weights = np.where(touching.any(axis=1, keepdims=True), touching, 1 / np.where(touching, 1, near))
        shares = weights / weights.sum(axis=1, keepdims=True)
        return np.einsum("ij,ijk->ik", shares, words).astype(np.float32)

    return vote


def make_nearest(k: int, values: Singles) -> Callable[[Singles], Singles]:
    """Return the function from columns to the k least of them, and to what belongs to those."""
    columns = [np.ascontiguousarray(column) for column in values.T]

    def find(x: Singles) -> Singles:
        places = x.argsort(axis=1, kind="stable")[:, :k]
        least = np.take_along_axis(x, places, axis=1)
        return np.concatenate([least, *(column.take(places) for column in columns)], axis=1)

    return find
