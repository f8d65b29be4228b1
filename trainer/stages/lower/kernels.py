"""Kernels between the rows and the stored points of a model: what SVMs, kernel ridge, kernel PCA and Nystroem share.

Formulas: scikit-learn, `sklearn.metrics.pairwise` and libsvm's README.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Metric, Operation, Reduction
from trainer.core.arrays import Floats, Indices
from trainer.errors import CannotLower
from trainer.stages.lower.monomials import MOST, add_expanded, count_monomials
from trainer.stages.lower.steps import add_power

KNOWN = "linear, poly, rbf, sigmoid, laplacian and cosine"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel by scikit-learn's name, and its parameters."""

    name: Any
    gamma: float
    degree: float = 3
    coef0: float = 0.0


def kernel_of(estimator: Any, columns: int) -> Kernel:
    """Return the kernel of an estimator that keeps `kernel`, `gamma`, `degree` and `coef0` as it was made.

    Raises:
        CannotLower: the kernel is a function, or has parameters of its own.
    """
    if getattr(estimator, "kernel_params", None):
        raise CannotLower(f"the kernel of {type(estimator).__name__} has kernel_params", "name gamma, degree and coef0")
    gamma = getattr(estimator, "gamma_", None)
    if gamma is None:
        gamma = estimator.gamma if estimator.gamma is not None else 1.0 / columns
    degree = 3 if estimator.degree is None else estimator.degree
    coef0 = 1 if estimator.coef0 is None else estimator.coef0
    return Kernel(estimator.kernel, float(gamma), degree, float(coef0))


def add_kernel(b: Builder, source: int, points: Floats, kernel: Kernel) -> int:
    """Add the kernel of every row with each of `points` (m, width).

    Raises:
        CannotLower: the kernel is precomputed, a function, or not known.
    """
    if not isinstance(kernel.name, str) or kernel.name == "precomputed":
        raise CannotLower("the kernel is precomputed or a function of Python", f"use one of {KNOWN}")
    points = np.asarray(points, dtype=np.float64)
    match kernel.name:
        case "linear":
            return b.dense(source, points.T)
        case "rbf":
            distance = b.distance(source, points, Metric.SQUARED)
            return b.apply(b.scale(distance, 0.0, -kernel.gamma), Function.EXP)
        case "laplacian":
            distance = b.distance(source, points, Metric.MANHATTAN)
            return b.apply(b.scale(distance, 0.0, -kernel.gamma), Function.EXP)
        case "sigmoid":
            return b.apply(b.dense(source, kernel.gamma * points.T, kernel.coef0), Function.TANH)
        case "poly" | "polynomial":
            return _add_polynomial(b, b.dense(source, kernel.gamma * points.T, kernel.coef0), kernel.degree)
        case "cosine":
            lengths = np.linalg.norm(points, axis=1, keepdims=True)
            return b.dense(add_normalized(b, source), (points / np.where(lengths == 0, 1, lengths)).T)
        case _:
            raise CannotLower(f"no lowering for the kernel {kernel.name!r}", f"use one of {KNOWN}")


def add_kernel_sums(b: Builder, source: int, points: Floats, kernel: Kernel, weights: Floats, bias: Any = 0.0) -> int:
    """Add `kernel @ weights + bias` with weights (m, outputs).

    A linear kernel becomes one small product, a polynomial one is written out where that is no more work.

    Raises:
        CannotLower: the kernel is precomputed, a function, or not known.
    """
    points, bias = np.asarray(points, dtype=np.float64), np.broadcast_to(bias, weights.shape[1:])
    if isinstance(kernel.name, str) and kernel.name == "linear":
        return b.dense(source, points.T @ weights, bias)
    if isinstance(kernel.name, str) and kernel.name.startswith("poly") and float(kernel.degree).is_integer():
        degree = int(kernel.degree)
        terms = count_monomials(points.shape[1], degree, lower=kernel.coef0 != 0)
        if degree >= 1 and terms <= min(points.size, MOST):
            return add_expanded(b, source, points, kernel.gamma, kernel.coef0, degree, weights, bias)
    if weights.shape[1] > 1 or len(points) != len(weights):
        # Sums for several classes stay in the order of the classes, whose blocks of zeros a file leaves out; and where
        # there is no point for each weight, the kernel is one that is refused.
        return b.dense(add_kernel(b, source, points, kernel), weights, bias)
    order = _balanced(weights[:, 0])
    return b.dense(add_kernel(b, source, points[order], kernel), weights[order], bias)


def _balanced(weights: Floats) -> Indices:
    """Return an order in which weights add up without going far from 0.

    libsvm keeps the classes apart: all that is negative comes first, and a float32 sum that is far from 0 halfway has
    lost the digits that the result needs. A processor adds every 4th, 8th or 16th by itself; so that those sums stay
    near 0 too, pairs of neighbours are turned by the Thue-Morse sequence, which is itself at every such stride.
    """
    total, order = 0.0, []
    above, below = (list(np.flatnonzero(side)[::-1]) for side in (weights >= 0, weights < 0))
    while above or below:
        side = below if below and (total >= 0 or not above) else above
        order.append(side.pop())
        total += weights[order[-1]]
    for pair in range(len(order) // 2):
        if pair.bit_count() % 2:
            order[2 * pair : 2 * pair + 2] = order[2 * pair + 1], order[2 * pair]
    return np.array(order, dtype=np.intp)


def add_normalized(b: Builder, source: int, norm: str = "l2") -> int:
    """Add every row divided by its norm (l1, l2 or max); a row of zeros stays."""
    if norm == "l2":
        length = b.apply(b.reduce(b.apply(source, Function.SQUARE), Reduction.SUM), Function.SQRT)
    else:
        length = b.reduce(b.apply(source, Function.ABS), Reduction.SUM if norm == "l1" else Reduction.MAX)
    empty = b.combine(length, Operation.EQ, b.constant(0.0))
    return b.combine(source, Operation.DIV, b.combine(length, Operation.ADD, empty))


def _add_polynomial(b: Builder, base: int, degree: float) -> int:
    if degree == 0:
        return b.scale(b.combine(base, Operation.EQ, base), 0.0, 1.0)
    if float(degree).is_integer():
        return add_power(b, base, int(degree))
    return b.combine(base, Operation.POW, b.constant(degree))
