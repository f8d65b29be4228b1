"""Lowering of what asks its neighbours: k nearest, nearest centroid, label propagation.

House rules: all training rows go into the graph. Where two neighbours are equally far, the one that was trained first
is the nearer; scikit-learn promises no order, so a vote that hangs on such a tie is for the parity gate to judge.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Metric, Operation, Reduction, Weighting
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering

_MINKOWSKI = {1.0: Metric.MANHATTAN, 2.0: Metric.SQUARED, float("inf"): Metric.CHEBYSHEV}
_METRICS = {
    "euclidean": Metric.SQUARED, "l2": Metric.SQUARED, "sqeuclidean": Metric.SQUARED,
    "manhattan": Metric.MANHATTAN, "l1": Metric.MANHATTAN, "cityblock": Metric.MANHATTAN,
    "chebyshev": Metric.CHEBYSHEV, "infinity": Metric.CHEBYSHEV,
}  # fmt: skip


def metric_of(estimator: Any) -> Metric:
    """Return the metric of an estimator by its `metric`, `p` and `metric_params`.

    Raises:
        CannotLower: it is another one than Euclidean, Manhattan or Chebyshev.
    """
    name, p = estimator.metric, getattr(estimator, "p", 2)
    known = None
    if not getattr(estimator, "metric_params", None):
        known = (
            _MINKOWSKI.get(float(p)) if name == "minkowski" else _METRICS.get(name) if isinstance(name, str) else None
        )
    if known is None:
        what = f"minkowski with p={p}" if name == "minkowski" else name
        raise CannotLower(f"no lowering for the metric {what!r}", "use euclidean, manhattan or chebyshev")
    return known


def add_distances(estimator: Any, b: Builder, source: int, *, squared: bool) -> int:
    """Add the distance to each training row (`_fit_X`), or where only order counts whatever is cheapest to compare."""
    stored = estimator._fit_X  # noqa: SLF001 - kept nowhere else
    points = np.asarray(stored.toarray() if hasattr(stored, "toarray") else stored, dtype=np.float64)
    metric = metric_of(estimator)
    distances = b.distance(source, points, metric)
    if metric is Metric.SQUARED and not squared and estimator.metric != "sqeuclidean":
        return b.apply(distances, Function.SQRT)
    return distances


def _lower_vote(estimator: Any, b: Builder, source: int, values: Floats) -> int:
    if estimator.weights not in ("uniform", "distance", None):
        raise CannotLower("weights are a function of Python", "use weights='uniform' or 'distance'")
    inverse = estimator.weights == "distance"
    distances = add_distances(estimator, b, source, squared=not inverse)
    return b.vote(distances, estimator.n_neighbors, values, Weighting.INVERSE if inverse else Weighting.UNIFORM)


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """KNeighborsClassifier: shares of the classes (`_y`) among the k nearest rows."""
    if estimator.outputs_2d_:
        raise CannotLower("KNeighborsClassifier was fitted with several labels a row", "fit one classifier a label")
    return _lower_vote(estimator, b, source, np.eye(len(estimator.classes_))[estimator._y])  # noqa: SLF001 - as above


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """KNeighborsRegressor: the mean of the values (`_y`) of the k nearest rows."""
    values = np.asarray(estimator._y, dtype=np.float64)  # noqa: SLF001 - as above
    return _lower_vote(estimator, b, source, values.reshape(len(values), -1))


def _add_discriminants(estimator: Any, b: Builder, source: int) -> int:
    """Add `2 log(class_prior_)` less the squared distance in within-class standard deviations, one column a class."""
    if estimator.metric != "euclidean":
        raise CannotLower(f"NearestCentroid has no scores with metric={estimator.metric!r}", "use metric='euclidean'")
    spread = np.asarray(estimator.within_class_std_dev_, dtype=np.float64)
    factor = 1.0 / np.where(spread == 0, 1.0, spread)
    centroids = np.asarray(estimator.centroids_, dtype=np.float64)
    middle = centroids.mean(axis=0)
    placed = b.scale(source, middle, factor)
    distances = b.distance(placed, (centroids - middle) * factor, Metric.SQUARED)
    return b.scale(distances, 2.0 * np.log(np.asarray(estimator.class_prior_)), -1.0)


def _refuse_two_answers(estimator: Any) -> None:
    spread = np.asarray(estimator.within_class_std_dev_)
    even = np.isclose(estimator.class_prior_, 1 / len(estimator.classes_)).all()
    if even and not np.isclose(spread, spread[0]).all():
        raise CannotLower(
            "with even priors predict() of NearestCentroid measures in raw units and predict_proba() in standard "
            "deviations, so that they name different classes",
            "give it uneven priors, or use LinearDiscriminantAnalysis",
        )


def lower_centroid(estimator: Any, b: Builder, source: int) -> int:
    """NearestCentroid: probabilities, by the discriminant scores (Hastie et al., ESL, equation 18.2)."""
    _refuse_two_answers(estimator)
    return b.apply(_add_discriminants(estimator, b, source), Function.SOFTMAX)


def lower_centroid_margins(estimator: Any, b: Builder, source: int) -> int:
    """NearestCentroid: the discriminant scores; for two classes their difference."""
    _refuse_two_answers(estimator)
    scores = _add_discriminants(estimator, b, source)
    return b.dense(scores, [[-1.0], [1.0]]) if len(estimator.classes_) == 2 else scores


def lower_propagation(estimator: Any, b: Builder, source: int) -> int:
    """LabelPropagation, LabelSpreading: shares of `label_distributions_`, weighted by the kernel with `X_`.

    With the rbf kernel all distances are lessened by the least: shares stay the same, and nothing underflows.
    """
    points, shares = np.asarray(estimator.X_, dtype=np.float64), np.asarray(estimator.label_distributions_)
    distances = b.distance(source, points, Metric.SQUARED)
    if estimator.kernel == "knn":
        return b.apply(b.vote(distances, estimator.n_neighbors, shares), Function.SHARE)
    if estimator.kernel != "rbf":
        raise CannotLower("the kernel is a function of Python", "use kernel='rbf' or 'knn'")
    further = b.combine(distances, Operation.SUB, b.reduce(distances, Reduction.MIN))
    weights = b.apply(b.scale(further, 0.0, -estimator.gamma), Function.EXP)
    return b.apply(b.dense(weights, shares), Function.SHARE)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.neighbors.KNeighborsClassifier": lower_classifier,
    "sklearn.neighbors.KNeighborsRegressor": lower_regressor,
    "sklearn.neighbors.NearestCentroid": lower_centroid,
    "sklearn.semi_supervised.LabelPropagation": lower_propagation,
    "sklearn.semi_supervised.LabelSpreading": lower_propagation,
}
MARGINS: Mapping[str, Lowering] = {
    "sklearn.neighbors.NearestCentroid": lower_centroid_margins,
}
