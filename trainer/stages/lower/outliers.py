"""Lowering of the detectors of outliers: their decision functions, 0 being the border."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.errors import CannotLower
from trainer.stages.lower.neighbors import add_distances
from trainer.stages.lower.registry import Lowering

# The rule picks the k nearest out of all training rows by a square matrix of them: 4 MB at this many.
_MOST_ROWS = 1024


def lower_envelope(estimator: Any, b: Builder, source: int) -> int:
    """EllipticEnvelope: minus the squared Mahalanobis distance (`location_`, `precision_`), less `offset_`."""
    precision = np.asarray(estimator.get_precision(), dtype=np.float64)
    values, vectors = np.linalg.eigh((precision + precision.T) / 2)
    if values.min() < -1e-9 * values.max():
        raise CannotLower("the precision matrix of EllipticEnvelope is not positive", "fit it with more rows")
    turned = b.dense(b.scale(source, estimator.location_, 1.0), vectors * np.sqrt(np.maximum(values, 0.0)))
    distance = b.reduce(b.apply(turned, Function.SQUARE), Reduction.SUM)
    return b.scale(distance, -estimator.offset_, -1.0)


def lower_local(estimator: Any, b: Builder, source: int) -> int:
    """LocalOutlierFactor(novelty=True): the mean of the neighbours' density (`_lrd`) over the row's own.

    The row's own density is the inverse of the mean reachability `max(distance, k-distance of the neighbour)`.
    """
    if not estimator.novelty:
        raise CannotLower(
            "LocalOutlierFactor without novelty=True judges its own training rows only", "set novelty=True"
        )
    rows, k = estimator.n_samples_fit_, estimator.n_neighbors_
    if rows > _MOST_ROWS:
        raise CannotLower(
            f"LocalOutlierFactor keeps {rows} training rows, over {_MOST_ROWS}",
            "fit it on fewer, or use IsolationForest",
        )
    density = np.asarray(estimator._lrd, dtype=np.float64)  # noqa: SLF001 - kept nowhere else
    border = np.asarray(estimator._distances_fit_X_, dtype=np.float64)[:, k - 1]
    distances = add_distances(estimator, b, source, squared=False)
    # One vote for both: the neighbours' mean density, and which rows they are (1 / k each).
    found = b.vote(distances, k, np.hstack([density[:, None], np.eye(rows)]))
    reached = b.combine(distances, Operation.MAX, b.constant(border))
    chosen = b.combine(reached, Operation.MUL, b.pick(found, range(1, rows + 1)))
    reach = b.scale(b.reduce(chosen, Reduction.SUM), -1e-10, 1.0)
    factor = b.combine(b.pick(found, [0]), Operation.MUL, reach)
    return b.scale(factor, -estimator.offset_, -1.0)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.covariance.EllipticEnvelope": lower_envelope,
    "sklearn.neighbors.LocalOutlierFactor": lower_local,
}
