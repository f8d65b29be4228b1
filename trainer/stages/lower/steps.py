"""What several families need: rounding of thresholds, one-hot columns, piecewise linear functions, whole powers.

House rules: a comparison with a fitted float64 threshold must come out in float32 as it does in float64, so thresholds
are rounded here to the float32 number that has the same float32 numbers on either side.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from edge_agent.kernels.rounding import floor_singles
from trainer.core.arrays import Floats
from trainer.errors import CannotLower


def add_at_least(b: Builder, value: int, thresholds: ArrayLike) -> int:
    """Add 1 where a column is `>=` its threshold, else 0."""
    return b.combine(value, Operation.GE, b.constant(-floor_singles(-np.asarray(thresholds, dtype=np.float64))))


def add_above(b: Builder, value: int, thresholds: ArrayLike) -> int:
    """Add 1 where a column is `>` its threshold, else 0."""
    return b.combine(value, Operation.GT, b.constant(floor_singles(np.asarray(thresholds, dtype=np.float64))))


def add_clipped(b: Builder, value: int, low: float, high: float) -> int:
    """Add the value with what lies beyond `low` and `high` put on them."""
    raised = b.apply(value, Function.RELU) if low == 0 else b.combine(value, Operation.MAX, b.constant(low))
    return b.combine(raised, Operation.MIN, b.constant(high))


def add_power(b: Builder, value: int, degree: int) -> int:
    """Add a whole power, degree 1 at least, by squares and products: exact signs, and no `pow` of a negative number."""
    result: int | None = None
    square = value
    while True:
        if degree & 1:
            result = square if result is None else b.combine(result, Operation.MUL, square)
        degree >>= 1
        if not degree:
            return value if result is None else result
        square = b.apply(square, Function.SQUARE)


def add_expm1(b: Builder, value: int) -> int:
    """Add `exp(x) - 1` as `tanh(x / 2) (exp(x) + 1)`, which keeps its digits near 0."""
    raised = b.scale(b.apply(value, Function.EXP), -1.0, 1.0)
    return b.combine(b.apply(b.scale(value, 0.0, 0.5), Function.TANH), Operation.MUL, raised)


def add_equals(b: Builder, source: int, categories: Sequence[Any]) -> int:
    """Add, for each column of `source` in turn, one column a category: 1 where the column is that category, else 0.

    Raises:
        CannotLower: a category is no number, or one that float32 does not hold.
    """
    columns, values = [], []
    for index, column in enumerate(categories):
        values.append(numeric_categories(column, index))
        columns.extend([index] * len(values[-1]))
    return b.combine(b.pick(source, columns), Operation.EQ, b.constant(np.concatenate(values)))


def numeric_categories(categories: Any, index: int) -> Floats:
    """Return the categories of column `index` as numbers.

    Raises:
        CannotLower: one is no number, is NaN, or is not held by float32.
    """
    advice = "encode its categories as whole numbers before fitting"
    found = np.asarray(categories)
    if found.dtype.kind not in "iufb":
        raise CannotLower(f"categories of column {index} are not numbers", advice)
    numbers: Floats = found.astype(np.float64)
    if np.isnan(numbers).any():
        raise CannotLower(
            f"NaN is a category of column {index}", "fill missing values with a number before the encoder"
        )
    if (numbers != numbers.astype(np.float32)).any():
        raise CannotLower(f"a category of column {index} is a number that float32 does not hold", advice)
    return numbers


def add_interpolated(b: Builder, source: int, knots: Sequence[tuple[Floats, Floats]]) -> int:
    """Add for each column its piecewise linear function, given as knots (x ascending, y); constant beyond the ends.

    Where an x is repeated the function jumps, and on the very place it is halfway. Each piece is clipped to [0, 1]
    before it is weighted, so no piece cancels another.
    """
    columns, starts, factors, weights = [], [], [], []
    jump_columns, places, reached, passed = [], [], [], []
    for index, (x, y) in enumerate(knots):
        for piece in np.flatnonzero(np.diff(y)):
            first, second, rise = float(x[piece]), float(x[piece + 1]), float(y[piece + 1] - y[piece])
            if np.float32(first) == np.float32(second):
                place, share = _jump(first, second)
                jump_columns.append(index)
                places.append(place)
                reached.append(rise * share)
                passed.append(rise * (1 - share))
            else:
                columns.append(index)
                starts.append(first)
                factors.append(1 / (second - first))
                weights.append(rise)
    base = np.array([y[0] for _, y in knots])
    parts, matrices = [], []
    if columns:
        parts.append(add_clipped(b, b.scale(b.pick(source, columns), starts, factors), 0.0, 1.0))
        matrices.append(_spread_weights(columns, weights, len(knots)))
    if jump_columns:
        picked = b.pick(source, jump_columns)
        parts += [add_at_least(b, picked, places), add_above(b, picked, places)]
        matrices += [_spread_weights(jump_columns, shares, len(knots)) for shares in (reached, passed)]
    if not parts:
        return add_fixed(b, source, base)
    return b.dense(b.join(*parts), np.vstack(matrices), base)


def _jump(first: float, second: float) -> tuple[float, float]:
    """Return where a piece that is no float32 step wide jumps, and the share of the rise that has happened there."""
    place = float(np.float32(first))
    if first == second:
        return first, 0.5
    if first <= place <= second:
        return place, (place - first) / (second - first)
    # No float32 number lies in the piece, and none is this place.
    return second, 1.0


def add_fixed(b: Builder, source: int, row: ArrayLike) -> int:
    """Add the same row of numbers for every row of `source`."""
    values = np.asarray(row, dtype=np.float64).reshape(-1)
    return b.dense(b.pick(source, [0]), np.zeros((1, len(values))), values)


def add_known(b: Builder, value: int, known: int) -> int:
    """Add the value where `known` (one column, whole) is 1; where it is 0, NaN, which a device refuses to answer."""
    return b.combine(value, Operation.MUL, b.combine(known, Operation.DIV, known))


def group_matrix(sizes: Sequence[int]) -> Floats:
    """Return the matrix (sum of sizes, groups) that sums each run of columns."""
    return np.repeat(np.eye(len(sizes)), sizes, axis=0)


def _spread_weights(columns: Sequence[int], weights: ArrayLike, width: int) -> Floats:
    matrix = np.zeros((len(columns), width))
    matrix[np.arange(len(columns)), columns] = weights
    return matrix
