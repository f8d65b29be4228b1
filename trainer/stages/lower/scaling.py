"""Lowering of the scalers: each is `(x - center) * factor`, column by column."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.core.graph import Part, scale
from trainer.errors import UnbuildableError
from trainer.stages.lower.registry import Lowering


def _zeros(estimator: Any) -> Any:
    return np.zeros(estimator.n_features_in_)


def lower_standard(estimator: Any) -> tuple[Part, ...]:
    """StandardScaler: `(x - mean_) / scale_`, where each is switched on."""
    center = estimator.mean_ if estimator.with_mean else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_std else _zeros(estimator) + 1.0
    return (scale(center, factor),)


def lower_min_max(estimator: Any) -> tuple[Part, ...]:
    """MinMaxScaler: `x * scale_ + min_`, written around the point that it maps to 0."""
    if estimator.clip:
        raise UnbuildableError("no lowering for MinMaxScaler with clip=True yet")
    return (scale(-estimator.min_ / estimator.scale_, estimator.scale_),)


def lower_max_abs(estimator: Any) -> tuple[Part, ...]:
    """MaxAbsScaler: `x / scale_`."""
    return (scale(_zeros(estimator), 1.0 / estimator.scale_),)


def lower_robust(estimator: Any) -> tuple[Part, ...]:
    """RobustScaler: `(x - center_) / scale_`, where each is switched on."""
    center = estimator.center_ if estimator.with_centering else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_scaling else _zeros(estimator) + 1.0
    return (scale(center, factor),)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.preprocessing.StandardScaler": lower_standard,
    "sklearn.preprocessing.MinMaxScaler": lower_min_max,
    "sklearn.preprocessing.MaxAbsScaler": lower_max_abs,
    "sklearn.preprocessing.RobustScaler": lower_robust,
}
