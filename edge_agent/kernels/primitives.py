"""The primitives of a lowered model: the only things that a back-end has to know.

House rules: every value is a float32 matrix (rows, width), and every primitive works row by row. Weights are kept as
they were fitted (float64), and each back-end rounds them once; thresholds of trees are rounded *down* (`rounding`).
A node checks its own arrays when it is made, and `width` checks that they fit what it takes. What NaN gives is
promised by Pick, Join, Fill, Missing, Trees and Lookup only, and a subnormal number may count as 0.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.checks import expect, expect_walks, refuse_nan

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.int32]
Int8s: TypeAlias = NDArray[np.int8]
# Weights in 16 or in 8 bits, beside the scale that they are multiplied with.
Smalls: TypeAlias = NDArray[np.int16] | NDArray[np.int8]
Flags: TypeAlias = NDArray[np.bool_]


class Function(StrEnum):
    """Functions without weights: element by element, or (SOFTMAX, SHARE) along each row."""

    RELU = "relu"
    LOGISTIC = "logistic"
    TANH = "tanh"
    SOFTMAX = "softmax"
    # Each row divided by its sum.
    SHARE = "share"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    SQUARE = "square"
    ABS = "abs"
    # -1, 0 or 1.
    SIGN = "sign"
    FLOOR = "floor"
    NEGATE = "negate"
    SIN = "sin"
    COS = "cos"


class Operation(StrEnum):
    """Operations of two values; a comparison gives 1 where it holds, else 0."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MAX = "max"
    MIN = "min"
    POW = "pow"
    GE = "ge"
    GT = "gt"
    LE = "le"
    LT = "lt"
    EQ = "eq"


class Reduction(StrEnum):
    """What becomes of the columns of a row; an index is that of the first among equals."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    ARGMAX = "argmax"
    ARGMIN = "argmin"


class Metric(StrEnum):
    """Distances of two points; SQUARED is the square of the Euclidean one."""

    SQUARED = "squared"
    MANHATTAN = "manhattan"
    CHEBYSHEV = "chebyshev"


class Weighting(StrEnum):
    """What a neighbour's word counts: all alike, or 1 / distance (where one lies at 0, only those at 0 count)."""

    UNIFORM = "uniform"
    INVERSE = "inverse"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """The same row for every row: `values` (1, width)."""

    values: Floats

    def __post_init__(self) -> None:
        expect(self.values.ndim == 2 and self.values.shape[0] == 1, f"a constant is one row, not {self.values.shape}")
        refuse_nan(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """`(x - center) * factor`, column by column; in this order, since a large mean would drown in float32 otherwise."""

    source: int
    center: Floats
    factor: Floats

    def __post_init__(self) -> None:
        same = self.center.ndim == 1 and self.center.shape == self.factor.shape
        expect(same, f"center {self.center.shape} and factor {self.factor.shape} differ")
        refuse_nan(self.center, self.factor)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """`x @ (weights * scale) + bias`: weights (inputs, outputs), bias (outputs,); int8 weights have a scale."""

    source: int
    weights: Floats | Int8s
    bias: Floats
    scale: float = 1.0

    def __post_init__(self) -> None:
        fits = self.weights.ndim == 2 and self.bias.shape == (self.weights.shape[1],)
        expect(fits, f"weights {self.weights.shape} and bias {self.bias.shape} do not fit")
        refuse_nan(self.weights, self.bias)


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of one value."""

    source: int
    function: Function


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """Columns of a value, in any order, with repeats."""

    source: int
    columns: Ints

    def __post_init__(self) -> None:
        expect(self.columns.ndim == 1 and self.columns.size > 0, "a pick names one column at least")


@dataclass(frozen=True, slots=True)
class Join:
    """The columns of several values, side by side."""

    sources: tuple[int, ...]

    def __post_init__(self) -> None:
        expect(len(self.sources) > 0, "a join takes one value at least")


@dataclass(frozen=True, slots=True)
class Combine:
    """Two values of one width, element by element; one of width 1 meets every column of the other."""

    left: int
    operation: Operation
    right: int


@dataclass(frozen=True, slots=True)
class Reduce:
    """One column from all columns of a value."""

    source: int
    reduction: Reduction


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The sum over all trees of the row of `table * scale` that each row's leaf names, plus `base`.

    `roots` (trees,), the other node arrays (nodes,), `table` (entries, k), `base` (k,). A node whose `left` is negative
    is a leaf. Else a row goes left where `x[feature] <= threshold`; where that is NaN, as `missing_left` says, and
    nothing is promised where there is no `missing_left`.
    """

    source: int
    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: Flags | None
    leaf: Ints
    table: Floats | Smalls
    base: Floats
    scale: float = 1.0

    def __post_init__(self) -> None:
        nodes = self.feature.shape
        arrays = (self.threshold, self.left, self.right, self.missing_left, self.leaf)
        expect(len(nodes) == 1 and nodes[0] > 0, "trees have one node at least")
        expect(all(array is None or array.shape == nodes for array in arrays), "the nodes' arrays differ in length")
        expect(self.roots.ndim == 1 and self.roots.size > 0, "trees have one root at least")
        expect(self.table.ndim == 2 and self.base.shape == (self.table.shape[1],), "table and base do not fit")
        refuse_nan(self.threshold, self.table, self.base)
        inner = self.left >= 0
        expect_walks(self.roots, self.left, self.right, inner)
        leaf = self.leaf[~inner]
        expect(bool(((leaf >= 0) & (leaf < len(self.table))).all()), "a leaf is not in the table")
        expect(bool((self.feature[inner] >= 0).all()), "a node asks for a column below 0")


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """The distance to each of `points * scale` (m, n): (rows, m), by differences."""

    source: int
    points: Floats | Int8s
    metric: Metric
    scale: float = 1.0

    def __post_init__(self) -> None:
        expect(self.points.ndim == 2 and self.points.size > 0, f"points are a matrix, not {self.points.shape}")
        refuse_nan(self.points)


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """The weighted mean of the rows of `values` (m, c) that belong to the `k` least of m distances: (rows, c).

    Among equal distances the lower index is the nearer.
    """

    source: int
    k: int
    values: Floats
    weighting: Weighting

    def __post_init__(self) -> None:
        expect(self.values.ndim == 2 and self.values.size > 0, f"values are a matrix, not {self.values.shape}")
        expect(1 <= self.k <= len(self.values), f"{self.k} of {len(self.values)} neighbours cannot vote")
        refuse_nan(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The `k` least of m columns, ascending, then what belongs to them: (rows, k + c k) with `values` (m, c).

    Each column of `values` gives k columns. Among equals the lower index comes first.
    """

    source: int
    k: int
    values: Floats

    def __post_init__(self) -> None:
        expect(self.values.ndim == 2 and self.values.size > 0, f"values are a matrix, not {self.values.shape}")
        expect(1 <= self.k <= len(self.values), f"there are no {self.k} least of {len(self.values)}")
        refuse_nan(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """NaN replaced by the column's entry of `values` (width,)."""

    source: int
    values: Floats

    def __post_init__(self) -> None:
        expect(self.values.ndim == 1, f"one value fills each column, not {self.values.shape}")
        refuse_nan(self.values)


@dataclass(frozen=True, slots=True)
class Missing:
    """1 where NaN, else 0."""

    source: int


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """The row of `table` (entries, k) that an index names; below 0 or NaN it is the first, beyond the end the last."""

    source: int
    table: Floats

    def __post_init__(self) -> None:
        expect(self.table.ndim == 2 and self.table.size > 0, f"a table is a matrix, not {self.table.shape}")
        refuse_nan(self.table)


# fmt: off
Node: TypeAlias = (
    Constant | Scale | Dense | Apply | Pick | Join | Combine | Reduce
    | Trees | Distance | Vote | Nearest | Fill | Missing | Lookup
)
# fmt: on
