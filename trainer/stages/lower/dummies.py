"""Lowering of models of one column or none: constants, and isotonic regression."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Operation
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_above, add_at_least, add_fixed, add_interpolated, add_known


def lower_dummy_classifier(estimator: Any, b: Builder, source: int) -> int:
    """DummyClassifier: the same probabilities for every row (`class_prior_`, `constant`)."""
    if estimator.n_outputs_ != 1:
        raise CannotLower("DummyClassifier was fitted with several labels a row", "fit one classifier a label")
    prior, classes = np.asarray(estimator.class_prior_), np.asarray(estimator.classes_)
    match estimator.strategy:
        case "prior":
            return add_fixed(b, source, prior)
        case "most_frequent":
            return add_fixed(b, source, np.arange(len(classes)) == prior.argmax())
        case "constant":
            return add_fixed(b, source, classes == np.asarray(estimator.constant).reshape(-1)[0])
        case other:
            raise CannotLower(f"DummyClassifier(strategy={other!r}) answers by chance", "use strategy='prior'")


def lower_dummy_regressor(estimator: Any, b: Builder, source: int) -> int:
    """DummyRegressor: `constant_`."""
    return add_fixed(b, source, estimator.constant_)


def lower_isotonic(estimator: Any, b: Builder, source: int) -> int:
    """IsotonicRegression: interpolation between `X_thresholds_` and `y_thresholds_`.

    Beyond them the nearest value where `out_of_bounds` is "clip", else NaN, which a device refuses to answer.
    """
    x, y = np.asarray(estimator.X_thresholds_, np.float64), np.asarray(estimator.y_thresholds_, np.float64)
    value = add_interpolated(b, source, [(x, y)])
    if estimator.out_of_bounds == "clip" or len(x) == 1:
        return value
    beyond = b.combine(add_above(b, source, x[-1:]), Operation.ADD, b.scale(add_at_least(b, source, x[:1]), 1.0, -1.0))
    return add_known(b, value, b.scale(beyond, 1.0, -1.0))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.dummy.DummyClassifier": lower_dummy_classifier,
    "sklearn.dummy.DummyRegressor": lower_dummy_regressor,
    "sklearn.isotonic.IsotonicRegression": lower_isotonic,
}
FEATURES: Mapping[str, Lowering] = {"sklearn.isotonic.IsotonicRegression": lower_isotonic}
