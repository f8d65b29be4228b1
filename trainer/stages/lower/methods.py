"""Lowering of one named method of an estimator, for the estimators that are made of others."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Operation, Reduction
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Table, find, lower_features, lower_part


def lower_margins(estimator: Any, b: Builder, source: int) -> int:
    """Add the decision function: one column for two classes, else one a class.

    Raises:
        CannotLower: there is none, or it has no lowering.
    """
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps[:-1]:
            source = lower_features(step, b, source)
        return lower_margins(estimator.steps[-1][1], b, source)
    lowering = find(Table.MARGINS, estimator)
    if lowering is not None:
        return lowering(estimator, b, source)
    if hasattr(estimator, "predict_proba"):
        raise CannotLower(f"no lowering for the decision function of {type(estimator).__name__} yet")
    return lower_part(estimator, b, source)


def lower_label_indices(estimator: Any, b: Builder, source: int) -> int:
    """Add, in one column, the index in `classes_` of the class that a classifier predicts by its scores.

    Raises:
        CannotLower: it has no lowering.
    """
    scores = lower_part(estimator, b, source)
    if b.width(scores) > 1:
        return b.reduce(scores, Reduction.ARGMAX)
    return b.combine(scores, Operation.GT, b.constant(0.0))


def lower_method(estimator: Any, method: str, b: Builder, source: int) -> int:
    """Add what the method of that name gives: of a classifier's `predict` the labels, which must be numbers.

    Raises:
        CannotLower: it has no lowering, or its labels are text.
    """
    if method == "decision_function":
        return lower_margins(estimator, b, source)
    if method != "predict" or not is_classifier(estimator):
        return lower_part(estimator, b, source)
    classes = np.asarray(estimator.classes_)
    if classes.dtype.kind not in "iufb":
        raise CannotLower(f"{type(estimator).__name__} hands text on as a feature", "give its labels as numbers")
    return b.lookup(lower_label_indices(estimator, b, source), classes.astype(np.float64)[:, None])
