"""What an estimator of scikit-learn does and which of its functions gives the scores.

House rules: judged by what the fitted estimator *is* (its mixins and methods), never by its name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind, Task
from trainer.core.arrays import Floats, as_matrix
from trainer.core.labels import label_text, label_type
from trainer.errors import RejectedError
from trainer.stages.onnx_graph import OUTPUT_NAME


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
        output = OutputSpec(OUTPUT_NAME, ScoreKind.NORMALITY, 1, labels, LabelType.INTEGER, 0.0)
        task, function = Task.ANOMALY, _method(estimator, "decision_function")
    elif is_clusterer(estimator):
        function = _method(estimator, "transform")
        labels = tuple(str(index) for index in range(int(final_step(estimator).n_clusters)))
        output = OutputSpec(OUTPUT_NAME, ScoreKind.DISTANCE, len(labels), labels, LabelType.INTEGER)
        task = Task.CLUSTERING
    elif is_regressor(estimator):
        function = estimator.predict
        columns = as_matrix(estimator.predict(np.zeros((1, estimator.n_features_in_)))).shape[1]
        task, output = Task.REGRESSION, OutputSpec(OUTPUT_NAME, ScoreKind.VALUE, columns)
    else:
        raise RejectedError(f"{type(estimator).__name__} is no classifier, regressor, clusterer or outlier detector")
    trees = type(final_step(estimator)).__module__.startswith(("sklearn.tree", "sklearn.ensemble"))
    return Signature(task, output, lambda x: as_matrix(function(x)), trees)


def _method(estimator: Any, name: str) -> Any:
    function = getattr(estimator, name, None)
    if function is None:
        raise RejectedError(f"{type(final_step(estimator)).__name__} has no {name}(), which gives its scores")
    return function


def _classifier(estimator: Any) -> tuple[OutputSpec, Any]:
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1 or (classes.dtype == object and not all(isinstance(item, str) for item in classes)):
        raise RejectedError("labels are neither numbers nor text, or there are several a row")
    labels, kind = tuple(label_text(item) for item in classes), label_type(classes)
    if hasattr(estimator, "predict_proba"):
        return OutputSpec(OUTPUT_NAME, ScoreKind.PROBABILITY, len(labels), labels, kind), estimator.predict_proba
    function = _method(estimator, "decision_function")
    columns = as_matrix(function(np.zeros((1, estimator.n_features_in_)))).shape[1]
    if columns not in (1, len(labels)):
        raise RejectedError(f"{columns} margins for {len(labels)} classes (one against one) are not supported")
    threshold = 0.0 if columns == 1 else None
    return OutputSpec(OUTPUT_NAME, ScoreKind.MARGIN, columns, labels, kind, threshold), function
