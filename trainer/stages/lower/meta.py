"""Lowering of estimators around another one: searches, thresholds, calibration, one against the rest or one other.

House rules: what only chose or changed how its estimator is fitted is that estimator; what changes its answer says so
in a formula of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.preprocessing import FunctionTransformer

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.errors import CannotLower
from trainer.stages.lower.compose import lower_function
from trainer.stages.lower.methods import lower_label_indices, lower_margins
from trainer.stages.lower.registry import Lowering, lower_features, lower_part


def unwrapped(name: str, method: Callable[[Any, Builder, int], int]) -> Lowering:
    """Return the lowering of an estimator that answers as the fitted one in its attribute `name` does."""
    return lambda estimator, b, source: method(getattr(estimator, name), b, source)


def lower_transformed_target(estimator: Any, b: Builder, source: int) -> int:
    """TransformedTargetRegressor: the inverse of `transformer_` on what `regressor_` says."""
    value = lower_part(estimator.regressor_, b, source)
    transformer = estimator.transformer_
    inverse = _INVERSES.get(type(transformer).__name__)
    if inverse is None:
        raise CannotLower(
            f"the inverse of {type(transformer).__name__} is not known here",
            f"transform the target with one of {', '.join(sorted(_INVERSES))}",
        )
    return inverse(transformer, b, value)


def _undo_function(transformer: Any, b: Builder, value: int) -> int:
    return lower_function(FunctionTransformer(transformer.inverse_func, kw_args=transformer.inv_kw_args), b, value)


def _undo_standard(transformer: Any, b: Builder, value: int) -> int:
    scaled = b.scale(value, 0.0, transformer.scale_) if transformer.with_std else value
    return b.scale(scaled, -transformer.mean_, 1.0) if transformer.with_mean else scaled


def _undo_min_max(transformer: Any, b: Builder, value: int) -> int:
    return b.scale(value, transformer.min_, 1.0 / transformer.scale_)


def _undo_max_abs(transformer: Any, b: Builder, value: int) -> int:
    return b.scale(value, 0.0, transformer.scale_)


def _undo_robust(transformer: Any, b: Builder, value: int) -> int:
    scaled = b.scale(value, 0.0, transformer.scale_) if transformer.with_scaling else value
    return b.scale(scaled, -transformer.center_, 1.0) if transformer.with_centering else scaled


_INVERSES: Mapping[str, Callable[[Any, Builder, int], int]] = {
    "FunctionTransformer": _undo_function,
    "StandardScaler": _undo_standard,
    "MinMaxScaler": _undo_min_max,
    "MaxAbsScaler": _undo_max_abs,
    "RobustScaler": _undo_robust,
}


def lower_rest(estimator: Any, b: Builder, source: int) -> int:
    """OneVsRestClassifier: each class's probability against the rest, as shares of their sum (`estimators_`).

    Where every probability is 0 they stay 0, as in scikit-learn. Without probabilities: the decision functions.
    """
    if estimator.multilabel_:
        raise CannotLower("OneVsRestClassifier gives several labels a row", "fit one estimator for each label")
    if not hasattr(estimator, "predict_proba"):
        return lower_rest_margins(estimator, b, source)
    if len(estimator.estimators_) == 1:
        return lower_part(estimator.estimators_[0], b, source)
    own = b.join(*(_lower_positive(member, b, source) for member in estimator.estimators_))
    total = b.reduce(own, Reduction.SUM)
    empty = b.combine(total, Operation.EQ, b.constant(0.0))
    return b.combine(own, Operation.DIV, b.combine(total, Operation.ADD, empty))


def _lower_positive(member: Any, b: Builder, source: int) -> int:
    if type(member).__name__ == "_ConstantPredictor":
        value = float(np.asarray(member.y_).reshape(-1)[0])
        return b.dense(b.pick(source, [0]), [[0.0]], [value])
    return b.pick(lower_part(member, b, source), [1])


def lower_rest_margins(estimator: Any, b: Builder, source: int) -> int:
    """OneVsRestClassifier's decision function: that of each class against the rest."""
    if any(type(member).__name__ == "_ConstantPredictor" for member in estimator.estimators_):
        raise CannotLower("a class of OneVsRestClassifier is in every row or in none", "fit it on rows of each class")
    return b.join(*(lower_margins(member, b, source) for member in estimator.estimators_))


def lower_pairs(estimator: Any, b: Builder, source: int) -> int:
    """OneVsOneClassifier: the pairs' votes, and to break ties their confidences squeezed into (-1/3, 1/3).

    Reads `estimators_` (for classes 0 and 1, 0 and 2, …, 1 and 2, …) and `classes_`.
    """
    if estimator.pairwise_indices_ is not None:
        raise CannotLower("OneVsOneClassifier was fitted on a precomputed kernel", "fit it on the features")
    sides, votes = [], []
    for member in estimator.estimators_:
        if hasattr(member, "decision_function"):
            sides.append(lower_margins(member, b, source))
            votes.append(b.combine(sides[-1], Operation.GT, b.constant(0.0)))
        else:
            sides.append(b.pick(lower_part(member, b, source), [1]))
            votes.append(lower_label_indices(member, b, source))
    count = len(estimator.classes_)
    pairs = [(first, second) for first in range(count) for second in range(first + 1, count)]
    signs = np.zeros((len(pairs), count))
    for place, (first, second) in enumerate(pairs):
        signs[place, first], signs[place, second] = -1.0, 1.0
    trust = b.dense(b.join(*sides), signs)
    # A vote of 0 is one for the first class of a pair: count all of those, then move what went to the second.
    counted = b.dense(b.join(*votes), signs, (signs < 0).sum(axis=0).astype(np.float64))
    squeezed = b.combine(trust, Operation.DIV, b.scale(b.apply(trust, Function.ABS), -1.0, 3.0))
    margins = b.combine(counted, Operation.ADD, squeezed)
    return b.pick(margins, [1]) if count == 2 else margins


def lower_several_targets(estimator: Any, b: Builder, source: int) -> int:
    """MultiOutputRegressor: one regressor a target (`estimators_`)."""
    return b.join(*(lower_part(member, b, source) for member in estimator.estimators_))


def lower_chain(estimator: Any, b: Builder, source: int) -> int:
    """RegressorChain: each regressor takes the input and what those before it said (`estimators_`, `order_`)."""
    said: list[int] = []
    for member in estimator.estimators_:
        said.append(lower_part(member, b, b.join(source, *said)))
    return b.pick(b.join(*said), np.argsort(estimator.order_))


_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
_WRAPPERS: Mapping[str, str] = {
    **{f"sklearn.model_selection.{name}": "best_estimator_" for name in _SEARCHES},
    "sklearn.model_selection.FixedThresholdClassifier": "estimator_",
    "sklearn.model_selection.TunedThresholdClassifierCV": "estimator_",
    "sklearn.semi_supervised.SelfTrainingClassifier": "estimator_",
    "sklearn.frozen.FrozenEstimator": "estimator",
}
LOWERINGS: Mapping[str, Lowering] = {
    **{name: unwrapped(attribute, lower_part) for name, attribute in _WRAPPERS.items()},
    "sklearn.compose.TransformedTargetRegressor": lower_transformed_target,
    "sklearn.multiclass.OneVsRestClassifier": lower_rest,
    "sklearn.multiclass.OneVsOneClassifier": lower_pairs,
    "sklearn.multioutput.MultiOutputRegressor": lower_several_targets,
    "sklearn.multioutput.RegressorChain": lower_chain,
}
MARGINS: Mapping[str, Lowering] = {
    **{name: unwrapped(attribute, lower_margins) for name, attribute in _WRAPPERS.items()},
    "sklearn.multiclass.OneVsRestClassifier": lower_rest_margins,
}
FEATURES: Mapping[str, Lowering] = {name: unwrapped(attribute, lower_features) for name, attribute in _WRAPPERS.items()}
