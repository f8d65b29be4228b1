"""Lowering of the neural networks: matrix products with a function between them, and one at the end."""

from collections.abc import Mapping
from typing import Any

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.errors import CannotLower
from trainer.stages.lower.linear import lower_both_sides
from trainer.stages.lower.registry import Lowering

_FUNCTIONS = {"relu": Function.RELU, "logistic": Function.LOGISTIC, "tanh": Function.TANH}


def _lower_hidden(estimator: Any, b: Builder, source: int) -> int:
    """Add all layers but the last: `coefs_`, `intercepts_`, `activation`."""
    for weights, bias in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        source = b.dense(source, weights, bias)
        if estimator.activation != "identity":
            source = b.apply(source, _FUNCTIONS[estimator.activation])
    return source


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """MLPClassifier: softmax over the classes; for two classes the logistic function of one margin."""
    hidden = _lower_hidden(estimator, b, source)
    weights, bias = estimator.coefs_[-1], estimator.intercepts_[-1]
    if estimator.out_activation_ == "softmax":
        return b.apply(b.dense(hidden, weights, bias), Function.SOFTMAX)
    if estimator.n_outputs_ != 1:
        raise CannotLower("MLPClassifier was fitted with several labels a row", "fit one classifier a label")
    return lower_both_sides(weights, bias, b, hidden)


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """MLPRegressor: the last layer, as it is or (loss='poisson') its exponential."""
    values = b.dense(_lower_hidden(estimator, b, source), estimator.coefs_[-1], estimator.intercepts_[-1])
    if estimator.out_activation_ == "exp":
        return b.apply(values, Function.EXP)
    if estimator.out_activation_ != "identity":
        raise CannotLower(f"no lowering for MLPRegressor that ends in {estimator.out_activation_!r}")
    return values


def lower_boltzmann(estimator: Any, b: Builder, source: int) -> int:
    """BernoulliRBM: the logistic function of `x @ components_.T + intercept_hidden_`."""
    return b.apply(b.dense(source, estimator.components_.T, estimator.intercept_hidden_), Function.LOGISTIC)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.neural_network.MLPClassifier": lower_classifier,
    "sklearn.neural_network.MLPRegressor": lower_regressor,
    "sklearn.neural_network.BernoulliRBM": lower_boltzmann,
}
