"""Lowering of the linear models: one matrix product, and the function that turns margins into probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering


def _coefficients(estimator: Any) -> tuple[Floats, Floats]:
    """Return weights (inputs, outputs) and bias (outputs,) of a linear model, whatever the shape it keeps them in."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), (weights.shape[1],))
    return weights, bias.copy()


def lower_both_sides(weights: Floats, bias: Floats, b: Builder, source: int) -> int:
    """Add the two probabilities of a margin z: the logistic functions of -z and z."""
    both = b.dense(source, np.hstack([-weights, weights]), np.concatenate([-bias, bias]))
    return b.apply(both, Function.LOGISTIC)


def lower_values(estimator: Any, b: Builder, source: int) -> int:
    """Linear regressors: `x @ coef_ + intercept_`, one column a target."""
    return b.dense(source, *_coefficients(estimator))


def lower_margins(estimator: Any, b: Builder, source: int) -> int:
    """Linear classifiers without probabilities: their decision function, one column for two classes."""
    return b.dense(source, *_coefficients(estimator))


def lower_logistic(estimator: Any, b: Builder, source: int) -> int:
    """LogisticRegression: softmax over the classes; for two classes the logistic function of the margin."""
    weights, bias = _coefficients(estimator)
    if weights.shape[1] == 1:
        return lower_both_sides(weights, bias, b, source)
    return b.apply(b.dense(source, weights, bias), Function.SOFTMAX)


def lower_sgd_classifier(estimator: Any, b: Builder, source: int) -> int:
    """SGDClassifier: margins, or one logistic function against the rest each, as shares of their sum."""
    if estimator.loss == "modified_huber":
        raise CannotLower("no lowering for SGDClassifier with loss='modified_huber' yet")
    if estimator.loss != "log_loss":
        return lower_margins(estimator, b, source)
    weights, bias = _coefficients(estimator)
    if weights.shape[1] == 1:
        return lower_both_sides(weights, bias, b, source)
    return b.apply(b.apply(b.dense(source, weights, bias), Function.LOGISTIC), Function.SHARE)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.linear_model.LinearRegression": lower_values,
    "sklearn.linear_model.Ridge": lower_values,
    "sklearn.linear_model.RidgeCV": lower_values,
    "sklearn.linear_model.Lasso": lower_values,
    "sklearn.linear_model.LassoCV": lower_values,
    "sklearn.linear_model.ElasticNet": lower_values,
    "sklearn.linear_model.ElasticNetCV": lower_values,
    "sklearn.linear_model.SGDRegressor": lower_values,
    "sklearn.svm.LinearSVR": lower_values,
    "sklearn.linear_model.LogisticRegression": lower_logistic,
    "sklearn.linear_model.LogisticRegressionCV": lower_logistic,
    "sklearn.linear_model.SGDClassifier": lower_sgd_classifier,
    "sklearn.linear_model.RidgeClassifier": lower_margins,
    "sklearn.svm.LinearSVC": lower_margins,
}
