"""The lowered form of an estimator: a small typed graph of primitives that every back-end knows.

House rules: weights are float64 as fitted and are rounded by the back-end; a matrix is (inputs, outputs). Values are
numbered: value 0 is the input matrix, value i + 1 is what node i gives; a node's `source` comes before it.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trainer.core.arrays import Floats


class Function(StrEnum):
    """Functions without weights: element by element, or along each row."""

    RELU = "relu"
    LOGISTIC = "logistic"
    TANH = "tanh"
    SOFTMAX = "softmax"
    # Each row divided by its sum.
    SHARE = "share"


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """`(x - center) * factor`, column by column; in this order, since a large mean would drown in float32 otherwise."""

    source: int
    center: Floats
    factor: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """`x @ weights + bias`."""

    source: int
    weights: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of one value."""

    source: int
    function: Function


Node = Scale | Dense | Apply


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in order; the last one gives the scores."""

    columns: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        width = [self.columns]
        for index, node in enumerate(self.nodes):
            if not 0 <= node.source <= index:
                raise ValueError(f"node {index} takes value {node.source}, which does not come before it")
            width.append(_width(node, width[node.source], index))
        if not self.nodes:
            raise ValueError("a graph has one node at least")

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of every value, the input first."""
        width = [self.columns]
        for index, node in enumerate(self.nodes):
            width.append(_width(node, width[node.source], index))
        return tuple(width)


def _width(node: Node, incoming: int, index: int) -> int:
    match node:
        case Scale(_, center, factor):
            if center.shape != (incoming,) or factor.shape != (incoming,):
                raise ValueError(f"node {index} scales {len(center)} columns, not {incoming}")
            return incoming
        case Dense(_, weights, bias):
            if weights.ndim != 2 or weights.shape[0] != incoming or bias.shape != (weights.shape[1],):
                raise ValueError(f"node {index}: weights {weights.shape} and bias {bias.shape} do not fit {incoming}")
            return int(weights.shape[1])
        case Apply():
            return incoming


def chain(columns: int, *parts: "Part") -> Graph:
    """Return the graph in which every part takes what the part before it gives."""
    return Graph(columns, tuple(part.at(index) for index, part in enumerate(parts)))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A node that does not know yet what it takes: what lowerings return and pipelines string together."""

    node: Node

    def at(self, source: int) -> Node:
        """Return the node with its source."""
        match self.node:
            case Scale(_, center, factor):
                return Scale(source, center, factor)
            case Dense(_, weights, bias):
                return Dense(source, weights, bias)
            case Apply(_, function):
                return Apply(source, function)


def scale(center: Floats, factor: Floats) -> Part:
    """Return the part `(x - center) * factor`."""
    return Part(Scale(0, np.asarray(center, dtype=np.float64), np.asarray(factor, dtype=np.float64)))


def dense(weights: Floats, bias: Floats) -> Part:
    """Return the part `x @ weights + bias`."""
    return Part(Dense(0, np.asarray(weights, dtype=np.float64), np.asarray(bias, dtype=np.float64)))


def apply(function: Function) -> Part:
    """Return the part that applies a function."""
    return Part(Apply(0, function))


def count_weights(graph: Graph) -> int:
    """Return how many matrix weights the graph has."""
    return sum(node.weights.size for node in graph.nodes if isinstance(node, Dense))
