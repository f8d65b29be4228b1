"""Lowering of XGBoost's estimators, read from the model's own JSON (its documentation, "Introduction to Model IO").

House rules: XGBoost rounds what it takes to float32 and goes left where it is *less* than the threshold, so each
threshold becomes the float32 number before it. Sums of leaves are in the margin's space, the start is not.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.core.arrays import Floats, Indices
from trainer.errors import CannotLower
from trainer.stages.lower.boosting import add_probabilities
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.trees import LEAF, Forest, Together, add_forest, join_forests

# What makes an answer of the margin, by objective. What is not here gives labels, ranks or hazards.
_IDENTITY = (
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
)
_LOGISTIC = ("reg:logistic", "binary:logistic")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_SOFTMAX = ("multi:softprob", "multi:softmax")
_LEAST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """XGBClassifier, XGBRFClassifier: the probabilities of their margins: softmax, or for two the logistic function."""
    model = _read_model(estimator)
    if model.objective not in (*_SOFTMAX, "binary:logistic"):
        raise CannotLower(
            f"XGBoost's objective {model.objective!r} gives no probabilities", "fit it with binary:logistic"
        )
    if model.targets > 1:
        raise CannotLower("it gives several labels a row", "fit one estimator for each label")
    return add_probabilities(_add_margins(model, estimator, b, source), b)


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """XGBRegressor, XGBRFRegressor: the margin, its exponential or its logistic function, by `objective`."""
    model = _read_model(estimator)
    if model.objective in _IDENTITY:
        return _add_margins(model, estimator, b, source)
    if model.objective in _EXPONENTIAL:
        return b.apply(_add_margins(model, estimator, b, source), Function.EXP)
    if model.objective == "reg:logistic":
        return b.apply(_add_margins(model, estimator, b, source), Function.LOGISTIC)
    known = ", ".join((*_IDENTITY, *_EXPONENTIAL, "reg:logistic"))
    raise CannotLower(f"XGBoost's objective {model.objective!r} is not known here", f"fit it with one of {known}")


class _Model:
    """What is needed of a model's JSON; texts that are numbers there are numbers here."""

    def __init__(self, learner: Mapping[str, Any]) -> None:
        self.objective: str = learner["objective"]["name"]
        parameters = learner["learner_model_param"]
        self.targets = max(int(parameters.get("num_target", 1)), 1)
        # How many margins there are: one a class of several, or one a target.
        self.groups = max(int(parameters["num_class"]), self.targets)
        self.start = np.array([float(part) for part in parameters["base_score"].strip("[]").split(",")])
        booster = learner["gradient_booster"]
        self.booster: str = booster["name"]
        # With the dart booster the trees stand one level deeper, beside what each of them still counts.
        self.weights: list[float] | None = booster.get("weight_drop")
        self.trees: Mapping[str, Any] = booster.get("gbtree", booster).get("model", {})


def _read_model(estimator: Any) -> _Model:
    if callable(estimator.objective):
        raise CannotLower("its objective is a function of its own", "fit it with an objective of XGBoost")
    if estimator.missing is not None and not np.isnan(estimator.missing):
        raise CannotLower(
            f"it takes the number {estimator.missing} for missing", "fit it with missing=numpy.nan, and hand NaN in"
        )
    model = _Model(json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"])
    if model.booster not in ("gbtree", "dart"):
        raise CannotLower(f"XGBoost's booster {model.booster!r} has no trees", "use a linear model of scikit-learn")
    return model


def _add_margins(model: _Model, estimator: Any, b: Builder, source: int) -> int:
    """Add the start and the sum of the leaves; after an early stop, of the rounds up to the best one."""
    best = getattr(estimator, "best_iteration", None)
    count = model.trees["iteration_indptr"][-1 if best is None else best + 1]
    weights = np.ones(count) if model.weights is None else np.asarray(model.weights[:count])
    forests = [
        _read_tree(tree, float(weight) * np.eye(model.groups)[[group]])
        for tree, weight, group in zip(model.trees["trees"], weights, model.trees["tree_info"], strict=False)
    ]
    start = np.broadcast_to(_margin(model), model.groups)
    # Several trees a round are a forest of their own, and with dart the rounds weigh each other.
    one_each = model.weights is None and model.trees["iteration_indptr"][1] == model.groups
    return add_forest(b, source, join_forests(forests, Together.STAGES if one_each else Together.WHOLE), start)


def _margin(model: _Model) -> Floats:
    """Return the start in the space of the margin: `base_score` is kept as an answer."""
    if model.objective in _LOGISTIC:
        return np.asarray(np.log(model.start) - np.log1p(-model.start))
    return np.asarray(np.log(model.start)) if model.objective in _EXPONENTIAL else model.start


def _read_tree(tree: Mapping[str, Any], spread: Floats) -> Forest:
    """Return one tree whose leaves are multiplied with `spread` (1, groups)."""
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise CannotLower("a leaf of it has several values", "fit it with multi_strategy='one_output_per_tree'")
    if any(tree["split_type"]):
        raise CannotLower(
            "it splits a column by its categories", "fit it on OneHotEncoder's columns, with enable_categorical=False"
        )
    left, right = (np.asarray(tree[name], dtype=np.intp) for name in ("left_children", "right_children"))
    order = _reachable(left, right)
    place = np.full(len(left) + 1, LEAF, dtype=np.intp)
    place[order] = np.arange(len(order))
    left, right = place[left[order]], place[right[order]]
    inner = left != LEAF
    # A leaf's value stands where an inner node has its threshold.
    conditions = np.asarray(tree["split_conditions"], dtype=np.float32)[order]
    return Forest(
        roots=np.zeros(1, dtype=np.intp),
        feature=np.where(inner, np.asarray(tree["split_indices"], dtype=np.intp)[order], 0),
        threshold=np.where(inner, _before(conditions), 0.0),
        left=left,
        right=right,
        missing_left=inner & np.asarray(tree["default_left"], dtype=bool)[order],
        values=np.where(inner, 0.0, conditions)[:, None] * spread,
    )


def _reachable(left: Indices, right: Indices) -> Indices:
    """Return the nodes level by level, without what pruning has left behind."""
    levels, level = [], np.zeros(1, dtype=np.intp)
    while len(level):
        levels.append(level)
        inner = level[left[level] != LEAF]
        level = np.concatenate([left[inner], right[inner]])
    return np.concatenate(levels)


def _before(thresholds: "np.ndarray[Any, np.dtype[np.float32]]") -> Floats:
    """Return for each threshold t the number u with `x <= u` where `x < t`, for every float32 x that is not subnormal.

    u is not subnormal either, since a back-end may take such a number for 0: then 0 itself would go the other way.
    """
    before = np.nextafter(thresholds, np.float32(-np.inf)).astype(np.float64)
    return np.where(np.abs(before) < _LEAST_NORMAL, np.where(before < 0, -_LEAST_NORMAL, 0.0), before)


LOWERINGS: Mapping[str, Lowering] = {
    "xgboost.XGBClassifier": lower_classifier,
    "xgboost.XGBRFClassifier": lower_classifier,
    "xgboost.XGBRegressor": lower_regressor,
    "xgboost.XGBRFRegressor": lower_regressor,
}
