"""What an estimator of scikit-learn does and which of its functions gives the scores.

House rules: judged by what the fitted estimator *is* (its mixins and methods), never by its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.utils import get_tags

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind, Task
from trainer.core.arrays import Floats, as_matrix
from trainer.core.labels import label_text, label_type
from trainer.core.votes import prefer_first
from trainer.errors import RejectedError
from trainer.stages.lower.refusals import REFUSALS
from trainer.stages.onnx_graph import OUTPUT_NAME
from trainer.stages.thresholds import counts_votes, decision_threshold, normality_threshold

# How to get the scores of estimators that have them with other parameters only.
_WITH_SCORES = "choose parameters with which it has scores, such as voting='soft' or novelty=True"
# The modules whose estimators are sums over trees: the parity gate knows that these come in another order.
_TREES = ("sklearn.tree", "sklearn.ensemble", "xgboost", "lightgbm")


@dataclass(frozen=True, slots=True)
class Signature:
    """The task, the output, and the function from rows to scores (float64, rows × columns)."""

    task: Task
    output: OutputSpec
    scores: Callable[[Floats], Floats]
    trees: bool


def final_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def read_signature(estimator: Any) -> Signature:
    """Judge a fitted estimator.

    Raises:
        RejectedError: it neither classifies, regresses, clusters nor detects outliers, or has no scores.
    """
    labels: tuple[str, ...]
    if is_classifier(estimator):
        task, output, function = Task.CLASSIFICATION, *_classifier(estimator)
    elif is_outlier_detector(estimator):
        labels = ("-1", "1")
        threshold = normality_threshold(estimator)
        output = OutputSpec(OUTPUT_NAME, ScoreKind.NORMALITY, 1, labels, LabelType.INTEGER, threshold)
        task, function = Task.ANOMALY, _method(estimator, "decision_function")
    elif is_clusterer(estimator):
        task, output, function = Task.CLUSTERING, *_clusterer(estimator)
    elif get_tags(estimator).estimator_type == "density_estimator" and hasattr(estimator, "predict_proba"):
        count = int(final_step(estimator).n_components)
        if count < 2:
            raise RejectedError(f"{type(final_step(estimator)).__name__} has one component, which tells nothing apart")
        output = OutputSpec(OUTPUT_NAME, ScoreKind.PROBABILITY, count, _numbers(count), LabelType.INTEGER)
        task, function = Task.CLUSTERING, estimator.predict_proba
    elif is_regressor(estimator):
        if not hasattr(estimator, "n_features_in_"):
            name = type(estimator).__name__
            raise RejectedError(f"{name} does not say how many columns it takes", "put it behind a step in a Pipeline")
        task, output = Task.REGRESSION, OutputSpec(OUTPUT_NAME, ScoreKind.VALUE, _width(estimator, "predict"))
        function = estimator.predict
    else:
        name = type(final_step(estimator)).__name__
        raise RejectedError(f"{name} is no classifier, regressor, clusterer or outlier detector", _instead_of(name))
    trees = type(final_step(estimator)).__module__.startswith(_TREES)
    return Signature(task, output, lambda x: as_matrix(function(x)), trees)


def _method(estimator: Any, name: str) -> Any:
    function = getattr(estimator, name, None)
    if function is None:
        final = type(final_step(estimator)).__name__
        raise RejectedError(f"{final} has no {name}(), which gives its scores", _WITH_SCORES)
    return function


def _instead_of(name: str) -> str:
    """Return what to use instead of an estimator that predicts nothing."""
    told = (what_to_do for known, (_, what_to_do) in REFUSALS.items() if known.endswith(f".{name}"))
    return next(told, "put an estimator that predicts behind it in a Pipeline")


def _width(estimator: Any, name: str) -> int:
    """Return how many columns a method gives. The last step is asked alone: one before it may refuse a row of zeros."""
    final = final_step(estimator)
    answer = getattr(final, name)(np.zeros((1, getattr(final, "n_features_in_", 1))))
    return int(as_matrix(answer).shape[1])


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(index) for index in range(count))


def _clusterer(estimator: Any) -> tuple[OutputSpec, Any]:
    """Judge a clusterer by its distances: its own, or those to the `cluster_centers_` that it predicts by."""
    final = final_step(estimator)
    name = type(final).__name__
    centres = np.asarray(getattr(final, "cluster_centers_", ()))
    if not hasattr(final, "predict"):
        raise RejectedError(
            f"{name} has no predict(): it knows its training rows only",
            "use KMeans, or fit a classifier to the clusters that it found",
        )
    if hasattr(estimator, "transform"):
        function, count = estimator.transform, int(final.n_clusters or len(final.subcluster_labels_))
        if _width(estimator, "transform") != count:
            raise RejectedError(
                f"a cluster of {name} has several centres, so that no distance is its own", "use KMeans"
            )
    else:
        function, count = _distances(estimator, centres), len(centres)
    if count < 1:
        raise RejectedError(f"{name} found no cluster", "fit it with other parameters")
    return OutputSpec(OUTPUT_NAME, ScoreKind.DISTANCE, count, _numbers(max(count, 2)), LabelType.INTEGER), function


def _distances(estimator: Any, centres: Floats) -> Callable[[Floats], Floats]:
    from sklearn.metrics import euclidean_distances

    before = estimator[:-1].transform if len(getattr(estimator, "steps", ())) > 1 else np.asarray
    return lambda x: np.asarray(euclidean_distances(before(x), centres))


def _classifier(estimator: Any) -> tuple[OutputSpec, Any]:
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1 or (classes.dtype == object and not all(isinstance(item, str) for item in classes)):
        raise RejectedError("labels are neither numbers nor text, or there are several a row")
    labels, kind = tuple(label_text(item) for item in classes), label_type(classes)
    threshold = decision_threshold(estimator)
    if hasattr(estimator, "predict_proba"):
        output = OutputSpec(OUTPUT_NAME, ScoreKind.PROBABILITY, len(labels), labels, kind, threshold)
        return output, estimator.predict_proba
    function = _method(estimator, "decision_function")
    columns = _width(estimator, "decision_function")
    if columns not in (1, len(labels)):
        raise RejectedError(f"{columns} margins for {len(labels)} classes (one against one) are not supported")
    if columns == 1 and threshold is None:
        threshold = 0.0
    margins = (lambda x: prefer_first(function(x))) if counts_votes(estimator) else function
    return OutputSpec(OUTPUT_NAME, ScoreKind.MARGIN, columns, labels, kind, threshold), margins
