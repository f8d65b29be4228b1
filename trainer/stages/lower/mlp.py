"""Lowering of the multi-layer perceptrons: matrix products with a function between them, and one at the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.core.graph import Function, Part, apply, dense
from trainer.errors import UnbuildableError
from trainer.stages.lower.registry import Lowering

_FUNCTIONS = {"relu": Function.RELU, "logistic": Function.LOGISTIC, "tanh": Function.TANH}


def _layers(estimator: Any) -> tuple[Part, ...]:
    parts: list[Part] = []
    last = len(estimator.coefs_) - 1
    for index, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        parts.append(dense(weights, bias))
        if index < last and estimator.activation != "identity":
            parts.append(apply(_FUNCTIONS[estimator.activation]))
    return tuple(parts)


def lower_classifier(estimator: Any) -> tuple[Part, ...]:
    """MLPClassifier: softmax over the classes; for two classes the logistic function of one margin."""
    parts = _layers(estimator)
    if estimator.out_activation_ == "softmax":
        return (*parts, apply(Function.SOFTMAX))
    if estimator.n_outputs_ != 1:
        raise UnbuildableError("no lowering for MLPClassifier with several labels a row yet")
    *before, _ = parts
    weights, bias = estimator.coefs_[-1], estimator.intercepts_[-1]
    both = dense(np.hstack([-weights, weights]), np.concatenate([-bias, bias]))
    return (*before, both, apply(Function.LOGISTIC))


def lower_regressor(estimator: Any) -> tuple[Part, ...]:
    """MLPRegressor: the last layer as it is."""
    if estimator.out_activation_ != "identity":
        raise UnbuildableError(f"no lowering for MLPRegressor that ends in {estimator.out_activation_!r} yet")
    return _layers(estimator)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.neural_network.MLPClassifier": lower_classifier,
    "sklearn.neural_network.MLPRegressor": lower_regressor,
}
