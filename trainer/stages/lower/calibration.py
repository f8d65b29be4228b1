"""Lowering of CalibratedClassifierCV: sigmoid, isotonic and temperature, over the mean of its members."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.core.arrays import Indices
from trainer.errors import CannotLower
from trainer.stages.lower.ensembles import add_mean
from trainer.stages.lower.methods import lower_margins
from trainer.stages.lower.registry import Lowering, lower_part
from trainer.stages.lower.steps import add_interpolated

# What scikit-learn adds to a probability before it takes the logarithm.
_LOG_GUARD = 1e-12
# A step of float32 that changes a calibrated probability by more is a jump that float32 cannot place.
_STEEPEST = 1e-4
# Beyond it the logistic function of float64 is 0.
_LOWEST = -745.0


def lower_calibrated(estimator: Any, b: Builder, source: int) -> int:
    """CalibratedClassifierCV: the mean of `calibrated_classifiers_`, each a classifier with its calibrators."""
    return add_mean([_lower_member(member, b, source) for member in estimator.calibrated_classifiers_], b)


def _lower_member(member: Any, b: Builder, source: int) -> int:
    count = len(member.classes)
    if member.method == "temperature":
        return _lower_temperature(member, count, b, source)
    response = _lower_response(member.estimator, b, source)
    if count == 2:
        return _add_two(member, response, b)
    places = np.searchsorted(member.classes, member.estimator.classes_)
    if len(places) == 2:
        raise CannotLower("a member of CalibratedClassifierCV saw two of several classes only", "use fewer folds")
    if member.method == "sigmoid":
        return _spread(_add_sigmoid_shares(member, response, b), places, count, b)
    return _add_isotonic_shares(_spread(_add_isotonic(member, response, b), places, count, b), count, b)


def _lower_response(estimator: Any, b: Builder, source: int) -> int:
    """Add what the calibrators take: the decision function, else the probabilities, of two classes the second."""
    if hasattr(estimator, "decision_function"):
        return lower_margins(estimator, b, source)
    shares = lower_part(estimator, b, source)
    return b.pick(shares, [1]) if b.width(shares) == 2 else shares


def _add_two(member: Any, response: int, b: Builder) -> int:
    if member.method == "sigmoid":
        slope, shift = float(member.calibrators[0].a_), float(member.calibrators[0].b_)
        return b.apply(b.dense(response, [[slope, -slope]], [shift, -shift]), Function.LOGISTIC)
    second = _add_isotonic(member, response, b)
    return b.dense(second, [[-1.0, 1.0]], [1.0, 0.0])


def _add_sigmoid_shares(member: Any, response: int, b: Builder) -> int:
    """Add each class's logistic function as a share of their sum: softmax of its logarithm, which never becomes 0 / 0.

    log(1 / (1 + exp(-z))) = min(z, 0) - log(1 + exp(-|z|)).
    """
    slopes = np.array([-float(calibrator.a_) for calibrator in member.calibrators])
    shifts = np.array([-float(calibrator.b_) for calibrator in member.calibrators])
    z = b.combine(b.dense(response, np.diag(slopes), shifts), Operation.MAX, b.constant(_LOWEST))
    decay = b.apply(b.apply(b.apply(z, Function.ABS), Function.NEGATE), Function.EXP)
    rest = b.apply(b.scale(decay, -1.0, 1.0), Function.LOG)
    logs = b.combine(b.combine(z, Operation.MIN, b.constant(0.0)), Operation.SUB, rest)
    return b.apply(logs, Function.SOFTMAX)


def _add_isotonic(member: Any, response: int, b: Builder) -> int:
    knots = [
        (np.asarray(fitted.X_thresholds_, dtype=np.float64), np.asarray(fitted.y_thresholds_, dtype=np.float64))
        for fitted in member.calibrators
    ]
    for x, y in knots:
        step = np.spacing(np.abs(x[1:]).astype(np.float32)).astype(np.float64)
        worst = float((np.abs(np.diff(y)) * step / np.maximum(np.diff(x), step)).max(initial=0.0))
        if worst > _STEEPEST:
            raise CannotLower(
                f"an isotonic calibration rises by {worst:.2g} within one step of float32",
                "calibrate by method='sigmoid', or on more rows",
            )
    return add_interpolated(b, response, knots)


def _add_isotonic_shares(values: int, count: int, b: Builder) -> int:
    """Add the values as shares of their sum; where all are 0, equal shares."""
    total = b.reduce(values, Reduction.SUM)
    empty = b.combine(total, Operation.EQ, b.constant(0.0))
    filled = b.combine(values, Operation.ADD, empty)
    return b.combine(filled, Operation.DIV, b.combine(total, Operation.ADD, b.scale(empty, 0.0, float(count))))


def _spread(values: int, places: Indices, count: int, b: Builder) -> int:
    """Add the columns at the places of their classes; a class that was never seen has 0."""
    if len(places) == count:
        return values
    matrix = np.zeros((len(places), count))
    matrix[np.arange(len(places)), places] = 1.0
    return b.dense(values, matrix)


def _lower_temperature(member: Any, count: int, b: Builder, source: int) -> int:
    """Add softmax of the margins, or of the logarithms of the probabilities, times the fitted inverse temperature."""
    beta = float(member.calibrators[0].beta_)
    if len(member.estimator.classes_) != count:
        raise CannotLower("a member of CalibratedClassifierCV never saw one of the classes", "use fewer folds")
    if hasattr(member.estimator, "decision_function"):
        margins = lower_margins(member.estimator, b, source)
        if b.width(margins) == 1:
            return b.apply(b.dense(margins, [[-2.0 * beta, 2.0 * beta]]), Function.LOGISTIC)
        return b.apply(b.scale(margins, 0.0, beta), Function.SOFTMAX)
    logs = b.apply(b.scale(lower_part(member.estimator, b, source), -_LOG_GUARD, 1.0), Function.LOG)
    return b.apply(b.scale(logs, 0.0, beta), Function.SOFTMAX)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.calibration.CalibratedClassifierCV": lower_calibrated,
}
