"""Lowering of the scalers: each is `(x - center) * factor`, column by column."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering


def _zeros(estimator: Any) -> Any:
    return np.zeros(estimator.n_features_in_)


def lower_standard(estimator: Any, b: Builder, source: int) -> int:
    """StandardScaler: `(x - mean_) / scale_`, where each is switched on."""
    center = estimator.mean_ if estimator.with_mean else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_std else _zeros(estimator) + 1.0
    return b.scale(source, center, factor)


def lower_min_max(estimator: Any, b: Builder, source: int) -> int:
    """MinMaxScaler: `x * scale_ + min_`, written around the point that it maps to 0."""
    if estimator.clip:
        raise CannotLower("no lowering for MinMaxScaler with clip=True yet")
    return b.scale(source, -estimator.min_ / estimator.scale_, estimator.scale_)


def lower_max_abs(estimator: Any, b: Builder, source: int) -> int:
    """MaxAbsScaler: `x / scale_`."""
    return b.scale(source, _zeros(estimator), 1.0 / estimator.scale_)


def lower_robust(estimator: Any, b: Builder, source: int) -> int:
    """RobustScaler: `(x - center_) / scale_`, where each is switched on."""
    center = estimator.center_ if estimator.with_centering else _zeros(estimator)
    factor = 1.0 / estimator.scale_ if estimator.with_scaling else _zeros(estimator) + 1.0
    return b.scale(source, center, factor)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.preprocessing.StandardScaler": lower_standard,
    "sklearn.preprocessing.MinMaxScaler": lower_min_max,
    "sklearn.preprocessing.MaxAbsScaler": lower_max_abs,
    "sklearn.preprocessing.RobustScaler": lower_robust,
}
