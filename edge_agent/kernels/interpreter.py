"""Computes a lowered graph with numpy alone: the runtime of boards that have no other.

House rules: everything is float32, except that sums over trees and neighbours, and products that give a few columns
only, are added in float64 and rounded once. A value is dropped after its last use. An interpreter keeps no state
between calls: any number of threads may share one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_agent.kernels import neighbours, walk
from edge_agent.kernels.graph import Graph, sources
from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Function,
    Join,
    Lookup,
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
)
from edge_agent.kernels.rounding import Singles, to_singles

# Products of so few columns cost no more in float64, and are where many terms cancel: scores, and sums over kernels.
FEW_SUMS = 4

# From the values that a node takes to the value that it gives. One of a single row stands for every row.
Kernel = Callable[..., Singles]


@dataclass(frozen=True, slots=True)
class _Step:
    kernel: Kernel
    sources: tuple[int, ...]
    done: tuple[int, ...]


class Interpreter:
    """A graph that is ready to run."""

    def __init__(self, graph: Graph) -> None:
        self.columns = graph.columns
        self.width = graph.widths[-1]
        self._steps = _plan(graph)
        self._alike = _is_alike(graph)

    def run(self, x: Singles) -> Singles:
        """Return the scores, float32 (rows, width), of float32 rows `x` (rows, columns).

        Raises:
            ValueError: `x` is no matrix of that many columns.
            MemoryError: there is not enough memory for so many rows.
        """
        if x.ndim != 2 or x.shape[1] != self.columns:
            raise ValueError(f"rows of {self.columns} columns are wanted, not an array of shape {x.shape}")
        values: list[Singles | None] = [np.ascontiguousarray(x, dtype=np.float32)]
        with np.errstate(all="ignore"):
            for step in self._steps:
                values.append(step.kernel(*[values[source] for source in step.sources]))
                for source in step.done:
                    values[source] = None
        scores = values[-1]
        assert scores is not None  # noqa: S101 - nothing takes the last value, so nothing dropped it
        if self._alike:
            scores = np.repeat(scores, len(x), axis=0)
        return np.ascontiguousarray(scores, dtype=np.float32)


def _plan(graph: Graph) -> tuple[_Step, ...]:
    last = {source: index for index, node in enumerate(graph.nodes) for source in sources(node)}
    return tuple(
        _Step(make_kernel(node), sources(node), tuple(source for source, use in last.items() if use == index))
        for index, node in enumerate(graph.nodes)
    )


def _is_alike(graph: Graph) -> bool:
    """Return whether the scores come from constants alone."""
    alike = [False]
    for node in graph.nodes:
        alike.append(all(alike[source] for source in sources(node)))
    return alike[-1]


def make_kernel(node: Node) -> Kernel:  # noqa: C901 - one case a primitive
    """Return the function that computes a node, with its weights rounded and laid out."""
    match node:
        case Constant(values):
            row = to_singles(values)
            return lambda: row
        case Scale(_, center, factor):
            moved, by = to_singles(center), to_singles(factor)
            return lambda x: (x - moved) * by
        case Dense(_, weights, bias, scale):
            return _make_product(to_singles(weights, scale), to_singles(bias))
        case Apply(_, function):
            return FUNCTIONS[function]
        case Pick(_, columns):
            return lambda x: x.take(columns, axis=1)
        case Join():
            return _join
        case Combine(_, operation, _):
            return OPERATIONS[operation]
        case Reduce(_, reduction):
            return REDUCTIONS[reduction]
        case Trees():
            return walk.make_walk(node)
        case Distance(_, points, metric, scale):
            return neighbours.make_distance(to_singles(points, scale), metric)
        case Vote():
            return neighbours.make_vote(node.k, to_singles(node.values), node.weighting)
        case Nearest(_, k, values):
            return neighbours.make_nearest(k, to_singles(values))
        case Fill(_, values):
            filler = to_singles(values)
            return lambda x: np.where(np.isnan(x), filler, x)
        case Missing():
            return lambda x: np.isnan(x).astype(np.float32)
        case Lookup(_, table):
            entries = to_singles(table)
            return lambda x: entries.take(_indices(x, len(entries)), axis=0)


def _make_product(matrix: Singles, start: Singles) -> Kernel:
    if matrix.shape[1] > FEW_SUMS:
        return lambda x: x @ matrix + start
    wide, base = matrix.astype(np.float64), start.astype(np.float64)
    return lambda x: (x @ wide + base).astype(np.float32)


def _join(*parts: Singles) -> Singles:
    rows = next((len(part) for part in parts if len(part) != 1), 1)
    return np.concatenate([np.broadcast_to(part, (rows, part.shape[1])) for part in parts], axis=1)


def _indices(x: Singles, entries: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.intp]]":
    column = x[:, 0]
    return np.minimum(np.where(column > 0, column, 0), entries - 1).astype(np.intp)


def _softmax(x: Singles) -> Singles:
    raised: Singles = np.exp(x - x.max(axis=1, keepdims=True))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def _sign(x: Singles) -> Singles:
    return (x > 0).astype(np.float32) - (x < 0).astype(np.float32)


FUNCTIONS: dict[Function, Kernel] = {
    Function.RELU: lambda x: np.maximum(x, np.float32(0)),
    Function.LOGISTIC: lambda x: np.float32(1) / (np.float32(1) + np.exp(-x)),
    Function.TANH: np.tanh,
    Function.SOFTMAX: _softmax,
    Function.SHARE: lambda x: x / x.sum(axis=1, keepdims=True),
    Function.EXP: np.exp,
    Function.LOG: np.log,
    Function.SQRT: np.sqrt,
    Function.SQUARE: np.square,
    Function.ABS: np.abs,
    Function.SIGN: _sign,
    Function.FLOOR: np.floor,
    Function.NEGATE: np.negative,
    Function.SIN: np.sin,
    Function.COS: np.cos,
}


def _compare(holds: Callable[[Singles, Singles], "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]) -> Kernel:
    return lambda left, right: holds(left, right).astype(np.float32)


OPERATIONS: dict[Operation, Kernel] = {
    Operation.ADD: np.add,
    Operation.SUB: np.subtract,
    Operation.MUL: np.multiply,
    Operation.DIV: np.divide,
    Operation.MAX: np.maximum,
    Operation.MIN: np.minimum,
    Operation.POW: np.power,
    Operation.GE: _compare(np.greater_equal),
    Operation.GT: _compare(np.greater),
    Operation.LE: _compare(np.less_equal),
    Operation.LT: _compare(np.less),
    Operation.EQ: _compare(np.equal),
}

REDUCTIONS: dict[Reduction, Kernel] = {
    Reduction.SUM: lambda x: x.sum(axis=1, keepdims=True),
    Reduction.MAX: lambda x: x.max(axis=1, keepdims=True),
    Reduction.MIN: lambda x: x.min(axis=1, keepdims=True),
    Reduction.ARGMAX: lambda x: x.argmax(axis=1, keepdims=True).astype(np.float32),
    Reduction.ARGMIN: lambda x: x.argmin(axis=1, keepdims=True).astype(np.float32),
}
