"""Lowering of the linear models: one matrix product, and the function that turns margins into probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.core.arrays import Floats
from trainer.core.graph import Function, Part, apply, dense
from trainer.errors import UnbuildableError
from trainer.stages.lower.registry import Lowering


def _coefficients(estimator: Any) -> tuple[Floats, Floats]:
    """Return weights (inputs, outputs) and bias (outputs,) of a linear model, whatever the shape it keeps them in."""
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), (weights.shape[1],))
    return weights, bias.copy()


def _both_sides(weights: Floats, bias: Floats) -> Part:
    """Return the product whose two columns are -z and z: their logistic functions are the two probabilities."""
    return dense(np.hstack([-weights, weights]), np.concatenate([-bias, bias]))


def lower_values(estimator: Any) -> tuple[Part, ...]:
    """Linear regressors: `x @ coef_ + intercept_`, one column a target."""
    return (dense(*_coefficients(estimator)),)


def lower_margins(estimator: Any) -> tuple[Part, ...]:
    """Linear classifiers without probabilities: their decision function, one column for two classes."""
    return (dense(*_coefficients(estimator)),)


def lower_logistic(estimator: Any) -> tuple[Part, ...]:
    """LogisticRegression: softmax over the classes; for two classes the logistic function of the margin."""
    weights, bias = _coefficients(estimator)
    if weights.shape[1] == 1:
        return _both_sides(weights, bias), apply(Function.LOGISTIC)
    return dense(weights, bias), apply(Function.SOFTMAX)


def lower_sgd_classifier(estimator: Any) -> tuple[Part, ...]:
    """SGDClassifier: margins, or one logistic function against the rest each, as shares of their sum."""
    if estimator.loss == "modified_huber":
        raise UnbuildableError("no lowering for SGDClassifier with loss='modified_huber' yet")
    if estimator.loss != "log_loss":
        return lower_margins(estimator)
    weights, bias = _coefficients(estimator)
    if weights.shape[1] == 1:
        return _both_sides(weights, bias), apply(Function.LOGISTIC)
    return dense(weights, bias), apply(Function.LOGISTIC), apply(Function.SHARE)


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
