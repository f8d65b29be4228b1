"""Lowering of the detectors of outliers: their decision functions, 0 being the border."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.errors import CannotLower
from trainer.stages.lower.neighbors import add_distances
from trainer.stages.lower.registry import Lowering


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
    k = estimator.n_neighbors_
    density = np.asarray(estimator._lrd, dtype=np.float64)  # noqa: SLF001 - kept nowhere else
    border = np.asarray(estimator._distances_fit_X_, dtype=np.float64)[:, k - 1]
    distances = add_distances(estimator, b, source, squared=False)
    found = b.nearest(distances, k, np.column_stack([border, density]))
    near, borders, densities = (b.pick(found, np.arange(k) + start) for start in (0, k, 2 * k))
    mean = np.full((k, 1), 1.0 / k)
    reach = b.dense(b.combine(near, Operation.MAX, borders), mean, 1e-10)
    factor = b.combine(b.dense(densities, mean), Operation.MUL, reach)
    return b.scale(factor, -estimator.offset_, -1.0)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.covariance.EllipticEnvelope": lower_envelope,
    "sklearn.neighbors.LocalOutlierFactor": lower_local,
}
