"""Lowering of clusterings that place new rows: distances to their centres; and why the others cannot be."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Metric, Reduction
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering


def _add_distances(b: Builder, source: int, centres: Floats) -> int:
    return b.apply(b.distance(source, np.asarray(centres, dtype=np.float64), Metric.SQUARED), Function.SQRT)


def lower_centres(estimator: Any, b: Builder, source: int) -> int:
    """KMeans, MiniBatchKMeans, MeanShift, AffinityPropagation: the distance to each of `cluster_centers_`."""
    return _add_distances(b, source, estimator.cluster_centers_)


def lower_subclusters(estimator: Any, b: Builder, source: int) -> int:
    """Birch: the distance to each of `subcluster_centers_` (without n_clusters each of them is a cluster)."""
    return _add_distances(b, source, estimator.subcluster_centers_)


def lower_bisecting(estimator: Any, b: Builder, source: int) -> int:
    """BisectingKMeans: the distance to each centre, where going down its tree finds the nearest one.

    With two clusters it does. With more the tree may lead a row to a centre that is not the nearest.
    """
    if len(estimator.cluster_centers_) > 2:
        raise CannotLower(
            "predict() of BisectingKMeans goes down a tree, which need not end at the nearest centre",
            "use KMeans, whose label is the nearest centre",
        )
    return lower_centres(estimator, b, source)


def lower_agglomeration(estimator: Any, b: Builder, source: int) -> int:
    """FeatureAgglomeration: `pooling_func` (mean, max, min, sum) of the columns of each cluster in `labels_`."""
    clusters = [np.flatnonzero(estimator.labels_ == label) for label in np.unique(estimator.labels_)]
    pool = estimator.pooling_func
    if pool in (np.mean, np.sum):
        weights = np.zeros((len(estimator.labels_), len(clusters)))
        for index, columns in enumerate(clusters):
            weights[columns, index] = 1.0 / len(columns) if pool is np.mean else 1.0
        return b.dense(source, weights)
    if pool not in (np.max, np.min):
        raise CannotLower(
            "no lowering for this pooling_func of FeatureAgglomeration", "use numpy.mean, max, min or sum"
        )
    reduction = Reduction.MAX if pool is np.max else Reduction.MIN
    return b.join(*(b.reduce(b.pick(source, columns), reduction) for columns in clusters))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.cluster.KMeans": lower_centres,
    "sklearn.cluster.MiniBatchKMeans": lower_centres,
    "sklearn.cluster.BisectingKMeans": lower_bisecting,
    "sklearn.cluster.MeanShift": lower_centres,
    "sklearn.cluster.AffinityPropagation": lower_centres,
    "sklearn.cluster.Birch": lower_subclusters,
    "sklearn.cluster.FeatureAgglomeration": lower_agglomeration,
}
FEATURES: Mapping[str, Lowering] = {
    "sklearn.cluster.KMeans": lower_centres,
    "sklearn.cluster.MiniBatchKMeans": lower_centres,
    "sklearn.cluster.BisectingKMeans": lower_centres,
    "sklearn.cluster.Birch": lower_subclusters,
}
