"""Lowering of the linear models: one matrix product, and the function that turns margins into scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.core.arrays import Floats
from trainer.stages.lower.registry import Lowering, lower_part
from trainer.stages.lower.steps import add_above, add_clipped

# Below this margin exp(-z) is infinite in float64, so that scikit-learn's logistic function is 0: -log(2 ** 1024).
_UNDERFLOW = -709.782712893384
# A logarithm so far below all others that its share is 0.
_NONE = 1000.0


def coefficients(estimator: Any) -> tuple[Floats, Floats]:
    """Return weights (inputs, outputs) and bias (outputs,) of a linear model, whatever the shape it keeps them in."""
    stored = estimator.coef_.toarray() if hasattr(estimator.coef_, "toarray") else estimator.coef_
    weights = np.atleast_2d(np.asarray(stored, dtype=np.float64)).T
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), (weights.shape[1],))
    return weights, bias.copy()


def lower_both_sides(weights: Floats, bias: Floats, b: Builder, source: int) -> int:
    """Add the two probabilities of a margin z: the logistic functions of -z and z."""
    both = b.dense(source, np.hstack([-weights, weights]), np.concatenate([-bias, bias]))
    return b.apply(both, Function.LOGISTIC)


def add_logistic_shares(b: Builder, margins: int) -> int:
    """Add the logistic functions of one margin a class as shares of their sum; alike where all of them are 0.

    They are taken as the softmax of their logarithms, `min(z, 0) - log(1 + exp(-|z|))`: float32 holds no logistic
    function of -100, and ONNX Runtime's ends at -18.
    """
    fading = b.apply(b.apply(b.apply(margins, Function.ABS), Function.NEGATE), Function.EXP)
    rest = b.apply(b.scale(fading, -1.0, 1.0), Function.LOG)
    logs = b.combine(b.combine(margins, Operation.MIN, b.constant(0.0)), Operation.SUB, rest)
    told = add_above(b, margins, np.full(b.width(margins), _UNDERFLOW))
    known = b.combine(b.combine(logs, Operation.MUL, told), Operation.ADD, b.scale(told, 1.0, _NONE))
    return b.apply(known, Function.SOFTMAX)


def lower_values(estimator: Any, b: Builder, source: int) -> int:
    """Linear regressors: `x @ coef_ + intercept_`, one column a target."""
    return b.dense(source, *coefficients(estimator))


def lower_margins(estimator: Any, b: Builder, source: int) -> int:
    """Linear classifiers: their decision function, one column for two classes."""
    return b.dense(source, *coefficients(estimator))


def lower_logistic(estimator: Any, b: Builder, source: int) -> int:
    """LogisticRegression, LinearDiscriminantAnalysis: softmax over the classes; for two the logistic function."""
    weights, bias = coefficients(estimator)
    if weights.shape[1] == 1:
        return lower_both_sides(weights, bias, b, source)
    return b.apply(b.dense(source, weights, bias), Function.SOFTMAX)


def lower_sgd_classifier(estimator: Any, b: Builder, source: int) -> int:
    """SGDClassifier: margins, or what its `loss` makes of them as shares of their sum."""
    if estimator.loss == "modified_huber":
        return _lower_huber(estimator, b, source)
    if estimator.loss != "log_loss":
        return lower_margins(estimator, b, source)
    weights, bias = coefficients(estimator)
    if weights.shape[1] == 1:
        return lower_both_sides(weights, bias, b, source)
    return add_logistic_shares(b, b.dense(source, weights, bias))


def _lower_huber(estimator: Any, b: Builder, source: int) -> int:
    """SGDClassifier(loss='modified_huber'): `(clip(margin, -1, 1) + 1) / 2`; alike where all of them are 0."""
    weights, bias = coefficients(estimator)
    binary = weights.shape[1] == 1
    if binary:
        weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
    shares = b.scale(add_clipped(b, b.dense(source, weights, bias), -1.0, 1.0), -1.0, 0.5)
    if binary:
        return shares
    none = b.combine(b.reduce(shares, Reduction.SUM), Operation.EQ, b.constant(0.0))
    return b.apply(b.combine(shares, Operation.ADD, none), Function.SHARE)


def lower_generalized(estimator: Any, b: Builder, source: int) -> int:
    """PoissonRegressor, GammaRegressor, TweedieRegressor: the exponential of a linear value, or it itself.

    Reads `link` and `power` of TweedieRegressor ("auto": identity up to power 0).
    """
    values = lower_values(estimator, b, source)
    link = getattr(estimator, "link", "log")
    if link == "auto":
        link = "identity" if estimator.power <= 0 else "log"
    return values if link == "identity" else b.apply(values, Function.EXP)


def lower_ransac(estimator: Any, b: Builder, source: int) -> int:
    """RANSACRegressor: the regressor that it fitted to the inliers, `estimator_`."""
    return lower_part(estimator.estimator_, b, source)


def lower_one_class(estimator: Any, b: Builder, source: int) -> int:
    """SGDOneClassSVM: `x @ coef_ - offset_`."""
    return b.dense(source, np.atleast_2d(estimator.coef_).T, -np.asarray(estimator.offset_).reshape(-1))


_PLACE = "sklearn.linear_model."
_REGRESSORS = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV",
    "LassoLars", "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
    "HuberRegressor", "TheilSenRegressor", "ARDRegression", "BayesianRidge", "QuantileRegressor", "SGDRegressor",
    "PassiveAggressiveRegressor", "MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV",
)  # fmt: skip
_MARGINS_ONLY = ("Perceptron", "PassiveAggressiveClassifier", "RidgeClassifier", "RidgeClassifierCV")

LOWERINGS: Mapping[str, Lowering] = {
    **{_PLACE + name: lower_values for name in _REGRESSORS},
    **{_PLACE + name: lower_margins for name in _MARGINS_ONLY},
    _PLACE + "LogisticRegression": lower_logistic,
    _PLACE + "LogisticRegressionCV": lower_logistic,
    _PLACE + "SGDClassifier": lower_sgd_classifier,
    _PLACE + "PoissonRegressor": lower_generalized,
    _PLACE + "GammaRegressor": lower_generalized,
    _PLACE + "TweedieRegressor": lower_generalized,
    _PLACE + "RANSACRegressor": lower_ransac,
    _PLACE + "SGDOneClassSVM": lower_one_class,
}
MARGINS: Mapping[str, Lowering] = {
    _PLACE + "LogisticRegression": lower_margins,
    _PLACE + "LogisticRegressionCV": lower_margins,
    _PLACE + "SGDClassifier": lower_margins,
}
