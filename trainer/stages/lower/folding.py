"""Moves the thresholds of trees in front of the scalers that stand before them.

A scaler computes in float64 and a device in float32, so a scaled value may fall on the other side of a threshold. But
a scaler keeps the order of its column: there is one largest float32 input that still goes left, and it can be found by
bisection. The trees then ask for the input itself, and the scaler is not computed at all. What is left is the last bit
of a float64: for trees that compare in float64 (histogram boosting) it decides on rows that are the threshold itself.

House rules: columns are followed through Pick, Join and Scale by a positive factor, and through nothing else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Join, Pick, Scale
from trainer.core.arrays import Floats, Indices

# The order of float32 numbers as integers, from -inf to +inf.
_LEAST, _MOST = -0x7F800000, 0x7F800000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a column comes from: a column of another value, through `(x - center) * factor` steps in their order."""

    value: int
    column: int
    steps: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """What the inner nodes of trees ask for: `x[feature] <= threshold`, of one value."""

    source: int
    feature: Indices
    threshold: Floats


def fold(b: Builder, splits: Splits, *, rounded: bool) -> Splits:
    """Return the same splits of a value further in front, or what was given where there is none.

    `rounded` says that the estimator rounds what it takes to float32, as the trees of `sklearn.tree` do.
    """
    origins = {int(column): trace(b, splits.source, int(column)) for column in np.unique(splits.feature)}
    values = {origin.value for origin in origins.values()}
    if len(values) != 1 or values == {splits.source}:
        return splits
    feature, threshold = splits.feature.copy(), splits.threshold.copy()
    for column, origin in origins.items():
        here = splits.feature == column
        feature[here] = origin.column
        if origin.steps:
            threshold[here] = last_left(splits.threshold[here], origin.steps, rounded=rounded)
    return Splits(values.pop(), feature, threshold)


def trace(b: Builder, value: int, column: int) -> Origin:
    """Follow a column back to where it is made by anything but picking, joining and scaling."""
    steps: tuple[tuple[float, float], ...] = ()
    while True:
        match b.node(value):
            case Pick(source, columns):
                value, column = source, int(columns[column])
            case Join(sources):
                for part in sources:
                    if column < b.width(part):
                        value = part
                        break
                    column -= b.width(part)
            case Scale(source, center, factor) if factor[column] > 0 and np.isfinite(factor[column]):
                steps = ((float(center[column]), float(factor[column])), *steps)
                value = source
            case _:
                return Origin(value, column, steps)


def last_left(thresholds: Floats, steps: tuple[tuple[float, float], ...], *, rounded: bool) -> Floats:
    """Return the largest float32 numbers that are at most a threshold after the steps."""
    low = np.full(thresholds.shape, _LEAST, dtype=np.int64)
    high = np.full(thresholds.shape, _MOST, dtype=np.int64)
    # Invariant: what is below `low` goes left, what is above `high` goes right.
    while (low <= high).any():
        middle = (low + high) >> 1
        left = _scaled(_float_of(middle), steps, rounded=rounded) <= thresholds
        low, high = np.where(left & (low <= high), middle + 1, low), np.where(~left & (low <= high), middle - 1, high)
    return _float_of(np.maximum(high, _LEAST))


def _scaled(x: Floats, steps: tuple[tuple[float, float], ...], *, rounded: bool) -> Floats:
    for center, factor in steps:
        x = (x - center) * factor
    with np.errstate(over="ignore"):
        return x.astype(np.float32).astype(np.float64) if rounded else x


def _float_of(order: NDArray[Any]) -> Floats:
    """Return the float32 numbers at places of their order: 0 is +0.0, -1 the first below it."""
    bits = np.abs(order).astype(np.uint32)
    magnitude = bits.view(np.float32).astype(np.float64)
    signed: Floats = np.where(order < 0, -magnitude, magnitude)
    return signed
