"""Lowering of LightGBM's estimators, read from `dump_model()` of the fitted booster.

House rules: LightGBM compares in float64 and counts what is within 1e-35 of 0 as 0, so thresholds there are moved to
where float32 numbers go the same way. What it does with NaN is a matter of each node: see `_goes_left`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.boosting import add_probabilities
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.trees import LEAF, Forest, Together, add_forest, join_forests

# kZeroThreshold of LightGBM's meta.h, a float32 there.
_ZERO = float(np.float32(1e-35))
_INFINITY = 1e300
_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_EXPONENTIAL = ("poisson", "gamma", "tweedie")


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """LGBMClassifier: the probabilities of its margins: softmax, or the logistic function of each (`objective`)."""
    model = _read_model(estimator)
    name, words = _objective(model)
    match name:
        case "binary":
            return add_probabilities(_add_margins(model, b, source), b, float(words["sigmoid"]))
        case "multiclass":
            return add_probabilities(_add_margins(model, b, source), b)
        case "multiclassova":
            # Each class has its own odds: they are no shares of a whole, and LightGBM leaves them so.
            return b.apply(b.scale(_add_margins(model, b, source), 0.0, float(words["sigmoid"])), Function.LOGISTIC)
    raise CannotLower(
        f"LightGBM's objective {name!r} gives no probabilities", "fit it with objective='binary' or 'multiclass'"
    )


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """LGBMRegressor: the margin, its exponential, or (`reg_sqrt`) its square with its sign, by `objective`."""
    model = _read_model(estimator)
    name, words = _objective(model)
    if name not in (*_IDENTITY, *_EXPONENTIAL):
        known = ", ".join((*_IDENTITY, *_EXPONENTIAL))
        raise CannotLower(f"LightGBM's objective {name!r} is not known here", f"fit it with one of {known}")
    margin = _add_margins(model, b, source)
    if name in _EXPONENTIAL:
        return b.apply(margin, Function.EXP)
    return b.combine(margin, Operation.MUL, b.apply(margin, Function.ABS)) if "sqrt" in words else margin


def _read_model(estimator: Any) -> Mapping[str, Any]:
    """Return the dump of the rounds that it predicts by: after an early stop those up to the best one."""
    parameters = estimator.get_params()
    if callable(parameters.get("objective")):
        raise CannotLower("its objective is a function of its own", "fit it with an objective of LightGBM")
    if any(parameters.get(name) for name in _STOPS_EARLY):
        raise CannotLower("it stops summing where it is sure of a row", "fit it with pred_early_stop=False")
    dump: Mapping[str, Any] = estimator.booster_.dump_model()
    return dump


_STOPS_EARLY = ("pred_early_stop", "predict_early_stop")


def _objective(model: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """Return the objective's name and its words: `binary sigmoid:1`, `regression sqrt`."""
    name, *rest = model.get("objective", "custom").split()
    pairs = (word.partition(":") for word in rest)
    return name, {key: value for key, _, value in pairs}


def _add_margins(model: Mapping[str, Any], b: Builder, source: int) -> int:
    """Add the sum over the rounds, or (boosting_type='rf') their mean; the rate, dart's too, is in the leaves."""
    count = int(model["num_tree_per_iteration"])
    infos = model["tree_info"]
    forests = [_read_tree(info["tree_structure"], np.eye(count)[index % count]) for index, info in enumerate(infos)]
    if model["average_output"]:
        return add_forest(b, source, join_forests(forests).weighted(count / len(infos)), rounded=False)
    return add_forest(b, source, join_forests(forests, Together.STAGES), rounded=False)


def _read_tree(structure: Mapping[str, Any], spread: Floats) -> Forest:
    """Return one tree whose leaves are multiplied with `spread` (columns,)."""
    nodes: list[Mapping[str, Any]] = [structure]
    left, right = [], []
    # The list grows while it is walked: every child stands after its parent.
    for node in nodes:
        _check(node)
        inner = "split_feature" in node
        left.append(len(nodes) if inner else LEAF)
        right.append(len(nodes) + 1 if inner else LEAF)
        if inner:
            nodes += [node["left_child"], node["right_child"]]
    return Forest(
        roots=np.zeros(1, dtype=np.intp),
        feature=np.array([node.get("split_feature", 0) for node in nodes], dtype=np.intp),
        threshold=_moved(np.array([node.get("threshold", 0.0) for node in nodes], dtype=np.float64)),
        left=np.asarray(left, dtype=np.intp),
        right=np.asarray(right, dtype=np.intp),
        missing_left=np.array([_goes_left(node) for node in nodes], dtype=bool),
        values=np.array([node.get("leaf_value", 0.0) for node in nodes])[:, None] * spread,
    )


def _check(node: Mapping[str, Any]) -> None:
    if "leaf_coeff" in node or "leaf_const" in node:
        raise CannotLower("its leaves are linear models", "fit it with linear_tree=False")
    if node.get("decision_type", "<=") != "<=":
        raise CannotLower(
            "it splits a column by its categories", "fit it on OneHotEncoder's columns, without categorical_feature"
        )
    if node.get("missing_type") == "Zero":
        raise CannotLower("it takes 0 for missing", "fit it with zero_as_missing=False, and hand NaN in")


def _goes_left(node: Mapping[str, Any]) -> bool:
    """Return where NaN goes: as the node says, or where no row had one when it was fitted, as 0 does."""
    if "split_feature" not in node:
        return False
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0)


def _moved(thresholds: Floats) -> Floats:
    """Return the thresholds with which no float32 x within 1e-35 of 0 goes another way than 0 does.

    What parts missing values from all others has 1e300 for infinity in the dump.
    """
    near = np.where(thresholds < 0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    moved = np.where(np.abs(thresholds) <= _ZERO, near, thresholds)
    return np.where(moved >= _INFINITY, np.inf, moved)


LOWERINGS: Mapping[str, Lowering] = {
    "lightgbm.LGBMClassifier": lower_classifier,
    "lightgbm.LGBMRegressor": lower_regressor,
}
