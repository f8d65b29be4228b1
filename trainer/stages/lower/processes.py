"""Lowering of Gaussian process regression: the kernel with the training rows, weighted.

Formulas: Rasmussen and Williams, GPML, algorithm 2.1 and chapter 4; `sklearn.gaussian_process.kernels`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Metric, Operation
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_power


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """GaussianProcessRegressor: the mean, `kernel_(x, X_train_) @ alpha_`, in the units of the target."""
    points = np.asarray(estimator.X_train_, dtype=np.float64)
    weights = np.asarray(estimator.alpha_, dtype=np.float64).reshape(len(points), -1)
    factor, bias = np.asarray(estimator._y_train_std), np.asarray(estimator._y_train_mean)  # noqa: SLF001 - kept there
    kernel = _add(estimator.kernel_, b, source, points)
    if kernel is None:
        raise CannotLower("the kernel of GaussianProcessRegressor is noise alone", "add another kernel")
    return b.dense(kernel, weights * factor, np.broadcast_to(bias.reshape(-1), (weights.shape[1],)))


def _add(kernel: Any, b: Builder, source: int, points: Floats) -> int | None:
    """Add the kernel with each of `points` (rows, m); nothing where it is 0 for every new row (noise)."""
    match type(kernel).__name__:
        case "WhiteKernel":
            return None
        case "ConstantKernel":
            return b.dense(b.pick(source, [0]), np.zeros((1, len(points))), np.full(len(points), kernel.constant_value))
        case "RBF":
            return b.apply(b.scale(_add_distances(kernel, b, source, points), 0.0, -0.5), Function.EXP)
        case "Matern":
            return _add_matern(kernel, b, source, points)
        case "RationalQuadratic":
            squares = b.distance(source, points, Metric.SQUARED)
            base = b.scale(
                squares, -2 * kernel.alpha * kernel.length_scale**2, 0.5 / (kernel.alpha * kernel.length_scale**2)
            )
            return b.combine(base, Operation.POW, b.constant(-kernel.alpha))
        case "DotProduct":
            return b.dense(source, points.T, kernel.sigma_0**2)
        case "Exponentiation" if float(kernel.exponent).is_integer() and kernel.exponent >= 1:
            inner = _add(kernel.kernel, b, source, points)
            return None if inner is None else add_power(b, inner, int(kernel.exponent))
        case "Sum" | "Product":
            return _add_pair(kernel, b, source, points)
        case other:
            raise CannotLower(f"no lowering for the kernel {other}", "use RBF, Matern, RationalQuadratic or DotProduct")


def _add_pair(kernel: Any, b: Builder, source: int, points: Floats) -> int | None:
    left, right = (_add(part, b, source, points) for part in (kernel.k1, kernel.k2))
    if type(kernel).__name__ == "Product":
        return None if left is None or right is None else b.combine(left, Operation.MUL, right)
    if left is None or right is None:
        return right if left is None else left
    return b.combine(left, Operation.ADD, right)


def _add_distances(kernel: Any, b: Builder, source: int, points: Floats) -> int:
    """Add squared distances in units of `length_scale` (one for all columns, or one each)."""
    length = np.broadcast_to(np.asarray(kernel.length_scale, dtype=np.float64), (points.shape[1],))
    return b.distance(b.scale(source, 0.0, 1 / length), points / length, Metric.SQUARED)


def _add_matern(kernel: Any, b: Builder, source: int, points: Floats) -> int:
    squares = _add_distances(kernel, b, source, points)
    if kernel.nu == np.inf:
        return b.apply(b.scale(squares, 0.0, -0.5), Function.EXP)
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise CannotLower(f"no lowering for Matern with nu={kernel.nu}", "use nu=0.5, 1.5, 2.5 or inf")
    far = b.scale(b.apply(squares, Function.SQRT), 0.0, np.sqrt(2 * kernel.nu))
    fading = b.apply(b.apply(far, Function.NEGATE), Function.EXP)
    if kernel.nu == 0.5:
        return fading
    rising = b.scale(far, -1.0, 1.0)
    if kernel.nu == 2.5:
        rising = b.combine(rising, Operation.ADD, b.scale(squares, 0.0, 5.0 / 3.0))
    return b.combine(rising, Operation.MUL, fading)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.gaussian_process.GaussianProcessRegressor": lower_regressor,
}
