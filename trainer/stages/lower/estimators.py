"""Finds the lowering of an estimator, or of one of its methods, and strings a pipeline's together.

House rules: an estimator is looked up by its very class, since a subclass may compute something else from the same
attributes. Families reach the estimators inside of theirs through the functions of this module; the tables are read on
the first use, so that the families and this module may know each other.
"""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Operation, Reduction
from trainer.stages.lower.registry import CannotLower, Lowering

FAMILIES = (
    "scaling",
    "linear",
    "mlp",
    "trees",
)


def lower(estimator: Any, columns: int) -> Graph:
    """Return the graph that computes the scores of a fitted estimator or pipeline over `columns` inputs.

    Raises:
        CannotLower: a step has no lowering; the message is the reason.
    """
    builder = Builder(columns)
    return builder.build(lower_scores(estimator, builder, builder.input))


def lower_scores(estimator: Any, builder: Builder, source: int) -> int:
    """Add what gives the scores: `predict_proba`, else `decision_function`; of regressors and transformers all there is.

    Raises:
        CannotLower: a step has no lowering.
    """
    final, value = _before(estimator, builder, source)
    if _is_nothing(final):
        return value
    return _find("LOWERINGS", final)(final, builder, value)


def lower_margins(estimator: Any, builder: Builder, source: int) -> int:
    """Add what gives the decision function: one column for two classes, else one a class.

    Raises:
        CannotLower: there is none, or it has no lowering.
    """
    final, value = _before(estimator, builder, source)
    table = "MARGINS" if hasattr(final, "predict_proba") else "LOWERINGS"
    return _find(table, final)(final, builder, value)


def lower_labels(estimator: Any, builder: Builder, source: int) -> int:
    """Add the index of the predicted class in `classes_` (one column), by the scores.

    Raises:
        CannotLower: it has no lowering.
    """
    scores = lower_scores(estimator, builder, source)
    if builder.width(scores) > 1:
        return builder.reduce(scores, Reduction.ARGMAX)
    return builder.combine(scores, Operation.GT, builder.constant(0.0))


def lower_response(estimator: Any, method: str, builder: Builder, source: int) -> int:
    """Add what the named method of scikit-learn gives.

    `predict` of a classifier is its label as a number.

    Raises:
        CannotLower: it has no lowering, or its labels are text.
    """
    if method == "decision_function":
        return lower_margins(estimator, builder, source)
    if method != "predict" or not is_classifier(estimator):
        return lower_scores(estimator, builder, source)
    classes = np.asarray(estimator.classes_)
    if classes.dtype.kind not in "iufb":
        raise CannotLower(f"labels of {type(estimator).__name__} are text where numbers are needed")
    return builder.lookup(lower_labels(estimator, builder, source), classes.astype(np.float64)[:, None])


def _before(estimator: Any, builder: Builder, source: int) -> tuple[Any, int]:
    """Return the last step, and the value that it takes after all steps before it."""
    while type(estimator) is _class("sklearn.pipeline.Pipeline"):
        for _, step in estimator.steps[:-1]:
            source = source if _is_nothing(step) else lower_scores(step, builder, source)
        estimator = estimator.steps[-1][1]
    return estimator, source


def _is_nothing(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _find(table: str, estimator: Any) -> Lowering:
    for name, lowering in _tables()[table].items():
        if name.rpartition(".")[2] == type(estimator).__name__ and type(estimator) is _class(name):
            return lowering
    what = "the decision function of " if table == "MARGINS" else ""
    raise CannotLower(f"no lowering for {what}{type(estimator).__name__} yet")


@functools.cache
def _tables() -> Mapping[str, Mapping[str, Lowering]]:
    modules = [importlib.import_module(f"trainer.stages.lower.{family}") for family in FAMILIES]
    return {
        table: {name: lowering for module in modules for name, lowering in getattr(module, table, {}).items()}
        for table in ("LOWERINGS", "MARGINS")
    }


@functools.cache
def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
