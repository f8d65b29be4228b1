"""Lowering of what rescales columns or rows: the scalers, normalizer, binarizer, power and quantile transformers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from edge_agent.kernels.rounding import floor_singles
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.kernels import add_normalized
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_above, add_expm1, add_interpolated

# A power this small is indistinguishable from the logarithm, in float32 and in float64.
_NO_POWER = 1e-12


def _zeros(estimator: Any) -> Any:
    return np.zeros(estimator.n_features_in_)


def lower_standard(estimator: Any, b: Builder, source: int) -> int:
    """StandardScaler: `(x - mean_) / scale_`, where each is switched on."""
    center = estimator.mean_ if estimator.with_mean else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_std else _zeros(estimator) + 1.0
    return b.scale(source, center, factor)


def lower_min_max(estimator: Any, b: Builder, source: int) -> int:
    """MinMaxScaler: `x * scale_ + min_`, written around the point that it maps to 0; clipped to `feature_range`."""
    scaled = b.scale(source, -estimator.min_ / estimator.scale_, estimator.scale_)
    return _add_bounds(b, scaled, *estimator.feature_range) if estimator.clip else scaled


def lower_max_abs(estimator: Any, b: Builder, source: int) -> int:
    """MaxAbsScaler: `x / scale_`, clipped to -1 … 1 where that is switched on."""
    scaled = b.scale(source, _zeros(estimator), 1.0 / estimator.scale_)
    return _add_bounds(b, scaled, -1.0, 1.0) if getattr(estimator, "clip", False) else scaled


def _add_bounds(b: Builder, value: int, low: float, high: float) -> int:
    raised = b.combine(value, Operation.MAX, b.constant(float(low)))
    return b.combine(raised, Operation.MIN, b.constant(float(high)))


def lower_robust(estimator: Any, b: Builder, source: int) -> int:
    """RobustScaler: `(x - center_) / scale_`, where each is switched on."""
    center = estimator.center_ if estimator.with_centering else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_scaling else _zeros(estimator) + 1.0
    return b.scale(source, center, factor)


def lower_normalizer(estimator: Any, b: Builder, source: int) -> int:
    """Normalizer: each row over its `norm`."""
    return add_normalized(b, source, estimator.norm)


def lower_binarizer(estimator: Any, b: Builder, source: int) -> int:
    """Binarizer: 1 above `threshold`."""
    return add_above(b, source, np.full(b.width(source), estimator.threshold))


def lower_power(estimator: Any, b: Builder, source: int) -> int:
    """PowerTransformer: Yeo-Johnson or Box-Cox with `lambdas_`, then its scaler where `standardize`.

    With u = log(1 + x) (Box-Cox: log x) a power is `(exp(λu) - 1) / λ`; written so, small λ cost no digits. What lies
    below 0 takes the same way mirrored, with 2 - λ (Yeo and Johnson, Biometrika 87, 2000).
    """
    powers = np.asarray(estimator.lambdas_, dtype=np.float64)
    if estimator.method == "box-cox":
        powers = _some_power(powers)
        logs = b.apply(source, Function.LOG)
        values = b.scale(add_expm1(b, b.scale(logs, 0.0, powers)), 0.0, 1 / powers)
    else:
        both = _some_power(np.concatenate([powers, 2 - powers]))
        sides = b.join(b.apply(source, Function.RELU), b.apply(b.apply(source, Function.NEGATE), Function.RELU))
        logs = b.apply(b.scale(sides, -1.0, 1.0), Function.LOG)
        parts = b.scale(add_expm1(b, b.scale(logs, 0.0, both)), 0.0, 1 / both)
        columns = np.arange(len(powers))
        values = b.combine(b.pick(parts, columns), Operation.SUB, b.pick(parts, columns + len(powers)))
    return lower_standard(estimator._scaler, b, values) if estimator.standardize else values  # noqa: SLF001 - kept there


def _some_power(powers: Any) -> Any:
    return np.where(np.abs(powers) < _NO_POWER, _NO_POWER, powers)


def lower_quantile(estimator: Any, b: Builder, source: int) -> int:
    """QuantileTransformer to the uniform distribution: interpolation between `quantiles_` and `references_`.

    On the least quantile it gives 0 and on the greatest 1, also where these are repeated.
    """
    if estimator.output_distribution != "uniform":
        raise CannotLower(
            "QuantileTransformer to the normal distribution needs the inverse of its integral",
            "use output_distribution='uniform', or PowerTransformer",
        )
    references = np.asarray(estimator.references_, dtype=np.float64)
    columns = np.asarray(estimator.quantiles_, dtype=np.float64).T
    return add_interpolated(b, source, [(_without_halves(quantiles), references) for quantiles in columns])


def _without_halves(quantiles: Floats) -> Floats:
    """Move repeated quantiles at either end by half a float32 step, so that the jump has no place of its own."""
    moved = quantiles.copy()
    if quantiles[0] == quantiles[1]:
        below = floor_singles(quantiles[:1])[0]
        moved[quantiles == quantiles[0]] = (float(below) + float(np.nextafter(below, np.float32(np.inf)))) / 2
    if quantiles[-1] == quantiles[-2] != quantiles[0]:
        above = -floor_singles(-quantiles[-1:])[0]
        moved[quantiles == quantiles[-1]] = (float(above) + float(np.nextafter(above, np.float32(-np.inf)))) / 2
    return moved


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.preprocessing.StandardScaler": lower_standard,
    "sklearn.preprocessing.MinMaxScaler": lower_min_max,
    "sklearn.preprocessing.MaxAbsScaler": lower_max_abs,
    "sklearn.preprocessing.RobustScaler": lower_robust,
    "sklearn.preprocessing.Normalizer": lower_normalizer,
    "sklearn.preprocessing.Binarizer": lower_binarizer,
    "sklearn.preprocessing.PowerTransformer": lower_power,
    "sklearn.preprocessing.QuantileTransformer": lower_quantile,
}
