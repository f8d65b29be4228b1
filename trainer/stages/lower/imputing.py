"""Lowering of what deals with missing values: a constant in their place, and columns that say where they were."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Operation, Reduction
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_known


def _add_mask(estimator: Any, b: Builder, source: int) -> int:
    """Add 1 where a value is `missing_values`: NaN, or a number that stands for it."""
    marker = estimator.missing_values
    if not isinstance(marker, (int, float, np.number)):
        raise CannotLower(f"missing_values={marker!r} is no number", "use NaN")
    if math.isnan(marker):
        return b.missing(source)
    if float(np.float32(marker)) != float(marker):
        raise CannotLower(f"missing_values={marker!r} is a number that float32 does not hold", "use NaN")
    return b.combine(source, Operation.EQ, b.constant(float(marker)))


def lower_simple(estimator: Any, b: Builder, source: int) -> int:
    """SimpleImputer: `statistics_` in the place of what is missing; columns that it leaves out; its indicator.

    Columns without any value in training are left out, or filled with what `keep_empty_features` says.
    """
    filled = _add_filled(estimator, b, source)
    indicator = getattr(estimator, "indicator_", None)
    if indicator is None or len(indicator.features_) == 0:
        return filled
    return b.join(filled, b.pick(_add_mask(indicator, b, source), indicator.features_))


def _add_filled(estimator: Any, b: Builder, source: int) -> int:
    try:
        statistics: Floats = np.asarray(estimator.statistics_, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CannotLower("SimpleImputer fills in what is no number", "impute text before it is encoded") from error
    kept = np.flatnonzero(~np.isnan(statistics))
    if not len(kept):
        raise CannotLower("SimpleImputer leaves every column out", "leave the imputer out")
    if len(kept) < len(statistics):
        source, statistics = b.pick(source, kept), statistics[kept]
    if isinstance(estimator.missing_values, float) and math.isnan(estimator.missing_values):
        return b.fill(source, statistics)
    mask = _add_mask(estimator, b, source)
    present = b.combine(source, Operation.MUL, b.scale(mask, 1.0, -1.0))
    return b.combine(present, Operation.ADD, b.scale(mask, 0.0, statistics))


def lower_indicator(estimator: Any, b: Builder, source: int) -> int:
    """MissingIndicator: 1 where a column of `features_` is missing.

    Where scikit-learn raises at a column that never missed in training (`error_on_new`), NaN.
    """
    mask = _add_mask(estimator, b, source)
    features = np.asarray(estimator.features_)
    if not len(features):
        raise CannotLower("MissingIndicator saw no missing values, so that it has no columns", "leave it out")
    picked = b.pick(mask, features)
    others = np.setdiff1d(np.arange(b.width(source)), features)
    if estimator.features == "all" or not estimator.error_on_new or not len(others):
        return picked
    fresh = b.reduce(b.pick(mask, others), Reduction.MAX)
    return add_known(b, picked, b.scale(fresh, 1.0, -1.0))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.impute.SimpleImputer": lower_simple,
    "sklearn.impute.MissingIndicator": lower_indicator,
}
