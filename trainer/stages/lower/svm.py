"""Lowering of the support vector machines: kernels with the support vectors, and weighted sums of them.

House rules: libsvm decides between every two classes; its margins become those of scikit-learn's `ovr` form by votes,
and of several classes with as many votes it gives the first, which the decision function does not know.
Probabilities are found by iteration until a tolerance of 0.0025, also for two classes: no graph repeats that exactly.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.core.arrays import Floats
from trainer.core.votes import LIFT
from trainer.errors import CannotLower
from trainer.stages.lower.kernels import Kernel, add_kernel_sums
from trainer.stages.lower.linear import lower_margins, lower_values
from trainer.stages.lower.registry import Lowering


def _add_sums(estimator: Any, b: Builder, source: int, coefficients: Floats, bias: Floats) -> int:
    """Add `kernel(x, support_vectors_) @ coefficients + bias`; a linear kernel becomes one small product."""
    vectors = _dense(estimator.support_vectors_)
    if isinstance(estimator.kernel, str) and len(vectors) == 0:
        raise CannotLower("it has no support vectors", "fit it with other parameters: this one is a constant")
    gamma = estimator._gamma  # noqa: SLF001 - kept nowhere else
    kernel = Kernel(estimator.kernel, gamma, estimator.degree, estimator.coef0)
    return add_kernel_sums(b, source, vectors, kernel, coefficients, bias)


def _dense(matrix: Any) -> Floats:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """SVR, NuSVR: `dual_coef_` over the kernels with `support_vectors_`, plus `intercept_`."""
    return _add_sums(estimator, b, source, _dense(estimator.dual_coef_).T, estimator.intercept_)


def lower_one_class(estimator: Any, b: Builder, source: int) -> int:
    """OneClassSVM: its decision function, in the same form as a regression."""
    return lower_regressor(estimator, b, source)


def _pair_coefficients(estimator: Any) -> Floats:
    """Return (support vectors, pairs) from `dual_coef_`: libsvm's layout, see its README on `sv_coef`."""
    dual = _dense(estimator.dual_coef_)
    ends = np.cumsum(estimator.n_support_)
    runs = [slice(end - size, end) for end, size in zip(ends, estimator.n_support_, strict=True)]
    pairs = list(combinations(range(len(runs)), 2))
    coefficients = np.zeros((dual.shape[1], len(pairs)))
    for index, (first, second) in enumerate(pairs):
        coefficients[runs[first], index] = dual[second - 1, runs[first]]
        coefficients[runs[second], index] = dual[first, runs[second]]
    return coefficients


def lower_decision(estimator: Any, b: Builder, source: int) -> int:
    """SVC, NuSVC: the decision function; of more than two classes the votes of all pairs with their confidences."""
    if len(estimator.classes_) == 2:
        return _add_sums(estimator, b, source, _dense(estimator.dual_coef_).T, estimator.intercept_)
    margins = _add_pairs(estimator, b, source)
    if estimator.decision_function_shape == "ovo":
        return margins
    votes, confidence = _add_votes(b, margins, len(estimator.classes_))
    return b.combine(votes, Operation.ADD, confidence)


def _add_pairs(estimator: Any, b: Builder, source: int) -> int:
    return _add_sums(estimator, b, source, _pair_coefficients(estimator), estimator.intercept_)


def _add_votes(b: Builder, margins: int, classes: int) -> tuple[int, int]:
    """Add from margins of all pairs (positive: the first of the two) each class's votes and its confidence.

    The confidence is `s / (3 (|s| + 1))` where s sums the margins (sklearn.utils.multiclass, `_ovr_decision_function`).
    """
    pairs = list(combinations(range(classes), 2))
    signs = np.zeros((len(pairs), classes))
    for index, (first, second) in enumerate(pairs):
        signs[index, first], signs[index, second] = 1, -1
    lost = b.combine(margins, Operation.LT, b.constant(0.0))
    votes = b.dense(lost, -signs, (signs > 0).sum(axis=0).astype(np.float64))
    total = b.dense(margins, signs)
    size = b.scale(b.apply(total, Function.ABS), -1.0, 3.0)
    return votes, b.combine(total, Operation.DIV, size)


def _add_lift(b: Builder, votes: int) -> int:
    """Add LIFT for the first of the classes that share most votes, and 0 elsewhere: see `trainer.core.votes`."""
    count = b.width(votes)
    # Votes are whole, but for what eight bits make of them.
    leads = b.combine(votes, Operation.GE, b.scale(b.reduce(votes, Reduction.MAX), 0.5, 1.0))
    # Over count: the class leads, none before it does (-2 count each), and some after it do (1 each).
    order = np.sign(np.subtract.outer(np.arange(count), np.arange(count)))
    weights = np.select([order < 0, order > 0], [-2.0 * count, 1.0], float(count))
    return b.scale(b.combine(b.dense(leads, weights), Operation.GT, b.constant(count + 0.5)), 0.0, LIFT)


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """SVC, NuSVC: the decision function, in which the class that libsvm's votes choose is lifted over its equals.

    Raises:
        CannotLower: it was fitted for probabilities.
    """
    if hasattr(estimator, "predict_proba"):
        raise CannotLower(
            "the probabilities of an SVM are found by iteration until a tolerance",
            "fit it with probability=False, or wrap it in CalibratedClassifierCV",
        )
    if len(estimator.classes_) == 2 or estimator.break_ties:
        return lower_decision(estimator, b, source)
    # Whatever the shape of the decision function, predict() counts votes.
    votes, confidence = _add_votes(b, _add_pairs(estimator, b, source), len(estimator.classes_))
    return b.combine(b.combine(votes, Operation.ADD, confidence), Operation.ADD, _add_lift(b, votes))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.svm.LinearSVC": lower_margins,
    "sklearn.svm.LinearSVR": lower_values,
    "sklearn.svm.SVC": lower_classifier,
    "sklearn.svm.NuSVC": lower_classifier,
    "sklearn.svm.SVR": lower_regressor,
    "sklearn.svm.NuSVR": lower_regressor,
    "sklearn.svm.OneClassSVM": lower_one_class,
}
MARGINS: Mapping[str, Lowering] = {
    "sklearn.svm.SVC": lower_decision,
    "sklearn.svm.NuSVC": lower_decision,
}
