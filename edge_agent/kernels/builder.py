"""The builder with which a lowering writes a graph: each method adds one node and returns the number of its value.

    b = Builder(columns=4)
    x = b.scale(b.input, mean, 1 / std)
    x = b.dense(x, weights, bias)
    graph = b.build(b.apply(x, Function.SOFTMAX))

House rules: anything like an array is taken and kept as float64 (indices as int32); what does not fit is refused at
once, with what was expected. A value may be taken any number of times; what the result does not need is left out.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from edge_agent.kernels.graph import Graph, measure, sources
from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Floats,
    Function,
    Ints,
    Join,
    Lookup,
    Metric,
    Missing,
    Nearest,
    Node,
    Operation,
    Pick,
    Reduce,
    Reduction,
    Scale,
    Trees,
    Vote,
    Weighting,
)


class Builder:
    """Collects nodes; every method raises ValueError for what does not fit."""

    def __init__(self, columns: int) -> None:
        self._nodes: list[Node] = []
        self._widths = [columns]

    @property
    def input(self) -> int:
        """The number of the input value."""
        return 0

    def width(self, value: int) -> int:
        """Return the columns of a value."""
        return self._widths[value]

    def node(self, value: int) -> Node | None:
        """Return the node that gives a value; nothing for the input."""
        return self._nodes[value - 1] if value else None

    def add(self, node: Node) -> int:
        """Add a node that is already made."""
        self._widths.append(measure(node, self._widths))
        self._nodes.append(node)
        return len(self._nodes)

    def constant(self, values: ArrayLike) -> int:
        """Add one row (w,) or (1, w), or a single number, that is the same for every row."""
        return self.add(Constant(np.atleast_2d(_floats(values))))

    def scale(self, source: int, center: ArrayLike, factor: ArrayLike) -> int:
        """Add `(x - center) * factor`; a single number stands for every column."""
        shape = (self.width(source),)
        return self.add(Scale(source, *(_spread(array, shape) for array in (center, factor))))

    def dense(self, source: int, weights: ArrayLike, bias: ArrayLike = 0.0) -> int:
        """Add `x @ weights + bias`: weights (width, outputs), bias (outputs,) or a single number."""
        matrix = _floats(weights)
        return self.add(Dense(source, matrix, _spread(bias, matrix.shape[1:])))

    def apply(self, source: int, function: Function) -> int:
        """Add a function of one value."""
        return self.add(Apply(source, function))

    def pick(self, source: int, columns: ArrayLike) -> int:
        """Add the columns named, in that order, repeats allowed."""
        return self.add(Pick(source, _ints(columns)))

    def join(self, *parts: int) -> int:
        """Add the columns of all parts side by side; a single part is returned as it is."""
        return parts[0] if len(parts) == 1 else self.add(Join(parts))

    def combine(self, left: int, operation: Operation, right: int) -> int:
        """Add `left operation right`; a value of width 1 meets every column of the other."""
        return self.add(Combine(left, operation, right))

    def reduce(self, source: int, reduction: Reduction) -> int:
        """Add one column out of all columns."""
        return self.add(Reduce(source, reduction))

    def trees(
        self,
        source: int,
        *,
        roots: ArrayLike,
        feature: ArrayLike,
        threshold: ArrayLike,
        left: ArrayLike,
        right: ArrayLike,
        values: ArrayLike,
        missing_left: ArrayLike | None = None,
        base: ArrayLike = 0.0,
    ) -> int:
        """Add the sum over trees of their leaves' `values` (nodes, k), plus `base` (k,).

        All trees stand one after the other in the node arrays, and `left`, `right`, `roots` are indices into the
        whole; a leaf has `left` < 0, and what the other arrays say of it does not count. A child stands after its
        parent. Leave `missing_left` out where the estimator refuses NaN: every back-end is faster without.
        """
        leaves = _ints(left) < 0
        table, leaf = share_rows(np.where(leaves[:, None], _floats(values), 0.0))
        thresholds = np.where(leaves, 0.0, _floats(threshold))
        missing = None if missing_left is None else np.asarray(missing_left, np.bool_) | leaves
        return self.add(
            Trees(
                source,
                roots=_ints(roots),
                feature=np.where(leaves, 0, _ints(feature)).astype(np.int32),
                threshold=thresholds,
                left=_ints(left),
                right=_ints(right),
                missing_left=missing,
                leaf=leaf,
                table=table,
                base=_spread(base, table.shape[1:]),
            )
        )

    def distance(self, source: int, points: ArrayLike, metric: Metric) -> int:
        """Add the distance to each of `points` (m, width)."""
        return self.add(Distance(source, _floats(points), metric))

    def vote(self, source: int, k: int, values: ArrayLike, weighting: Weighting = Weighting.UNIFORM) -> int:
        """Add the weighted mean of the `values` (m, c) of the k nearest of m distances (not their squares: INVERSE)."""
        return self.add(Vote(source, int(k), _floats(values), weighting))

    def nearest(self, source: int, k: int, values: ArrayLike) -> int:
        """Add the k least of m columns, and behind them k columns for each column of their `values` (m, c)."""
        return self.add(Nearest(source, int(k), _floats(values)))

    def fill(self, source: int, values: ArrayLike) -> int:
        """Add the value with NaN replaced, column by column or by a single number."""
        return self.add(Fill(source, _spread(values, (self.width(source),))))

    def missing(self, source: int) -> int:
        """Add 1 where NaN, else 0."""
        return self.add(Missing(source))

    def lookup(self, source: int, table: ArrayLike) -> int:
        """Add the row of `table` (entries, k) that the one column of `source` names."""
        return self.add(Lookup(source, _floats(table)))

    def build(self, value: int) -> Graph:
        """Return the graph that gives `value`, without the nodes that it does not need."""
        if value == self.input:
            value = self.pick(value, range(self.width(value)))
        needed = {value}
        for index in range(value, 0, -1):
            if index in needed:
                needed.update(sources(self._nodes[index - 1]))
        kept = [index for index in range(1, value + 1) if index in needed]
        number = {0: 0} | {index: place + 1 for place, index in enumerate(kept)}
        return Graph(self._widths[0], tuple(_renumber(self._nodes[index - 1], number) for index in kept))


def _renumber(node: Node, number: dict[int, int]) -> Node:
    match node:
        case Constant():
            return node
        case Join(taken):
            return Join(tuple(number[source] for source in taken))
        case Combine(left, operation, right):
            return Combine(number[left], operation, number[right])
        case _:
            return replace(node, source=number[node.source])


def share_rows(matrix: Floats) -> tuple[Floats, Ints]:
    """Return the distinct rows of a matrix, sorted, and for each row which of them it is.

    Rows are told apart by a hash of their bits, which is checked: sorting whole rows takes seconds for a forest.
    """
    # Adding zero makes 0 of -0, which is equal and has other bits.
    rows = np.ascontiguousarray(matrix + 0.0)
    factors = np.random.default_rng(0).integers(1, 1 << 63, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    bits = rows.view(np.uint64)
    mixed = ((bits ^ (bits >> np.uint64(29))) * factors).sum(axis=1, dtype=np.uint64)
    _, first, place = np.unique(mixed, return_index=True, return_inverse=True)
    found = rows[first]
    order = np.lexsort(found.T[::-1])
    number = np.empty(len(order), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    table, places = found[order], number[place.reshape(-1)]
    if (table[places] == rows).all():
        return table, places
    table, inverse = np.unique(rows, axis=0, return_inverse=True)
    return table, inverse.reshape(-1).astype(np.int32)


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _ints(values: ArrayLike) -> Ints:
    return np.asarray(values).astype(np.int32)


def _spread(values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    array = _floats(values)
    return np.full(shape, array) if array.ndim == 0 else array
